"""Events as passages."""

from retrieval.hybrid import STORY, Knobs, rank
from retrieval.index import Index
from retrieval.query import make_query
from retrieval.story import EVENT_PART_SIZE, awakened, event_passages, told_and_hidden
from schemas.request import Persona, StoryEvent

EVENTS = [
    StoryEvent(id="e1", order=1, title="The bridge", text="It fell.", location="Eldmoor"),
    StoryEvent(id="e2", order=2, text="Everyone slept.", keywords=["숲", "/dra[gk]on/i"]),
    StoryEvent(id="e3", order=3, text="A feast was held.", time="Midsummer", keywords=["king"]),
]


def test_every_field_can_be_found() -> None:
    index = Index(event_passages(EVENTS), part_size=EVENT_PART_SIZE)
    for message, event in (("bridge", 0), ("Eldmoor", 0), ("midsummer", 2), ("the king", 2)):
        (hit,) = rank(index, make_query(message), limit=1, knobs=Knobs(weights=STORY))
        assert hit.row == event


def test_keywords_wake_events() -> None:
    assert awakened(EVENTS, ["숲에서 만나자", "The King!"]) == {"e2": "숲", "e3": "king"}
    assert awakened(EVENTS, ["a DRAGON"]) == {"e2": "/dra[gk]on/i"}
    assert awakened(EVENTS, ["은빛숲길", "kingdom"]) == {}


def test_an_event_has_happened_once_the_clock_reaches_it() -> None:
    told, _ = told_and_hidden(EVENTS, Persona(name="Mira"), 2)
    assert told.tolist() == [True, True, False]
    assert told_and_hidden(EVENTS, Persona(name="Mira"), None)[0].all(), "without a clock"

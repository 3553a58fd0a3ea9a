"""What a message makes happen, apart from what it only asks, remembers, supposes or denies."""

from __future__ import annotations

import re

from language.korean import syllables_ending_in
from routing import reading

SUPPOSED, ASKS = 0.35, 0.20
"""Taken off a score as far as a message remembers, supposes, denies or puts off; as it asks."""
_SUPPOSES = re.compile(
    r"(?<!\w)(?:if|maybe|perhaps|someday|one day|looking forward|used to|remember|imagine"
    r"|what about|tell me about|hope|wish|afraid|ought to|should|would|might|suppose|wonder"
    r"|before you)(?!\w)"
    r"|언젠가|만약|했으면|텐데|기억|얘기해|이야기해|같으면|싶어|싶다|말자"
    r"|좋겠|겠죠|겠지|거예요\?|할까|실까|을까|ㄹ까"
)
"""What a sentence with these says is in the mind alone."""
_PUTS_OFF = re.compile(
    r"(?<!\w)(?:tomorrow|later|not yet|never|\w+n't|cannot|ever)(?!\w)"
    r"|아직|나중에|내일|(?<!\w)(?:안|못) ?[했해하먹봤가갔]|지 (?:않|못|마)"
)
"""Denial and putting off reach no farther than their clause: "It is late, so I open it." """
_PAST_KO = re.compile(rf"(?![있겠])[{syllables_ending_in('ㅆ')}]다(?=[.!…~\"”\s]|$)")
"""Plain past tense (-ㅆ다), in which Korean prose tells: "문을 열었다." """
_INTENDS = re.compile(
    r"(?<!\w)(?:(?:i|we)(?:'ll| will)|(?:i'm|we're) (?:going to|gonna)|let's)(?!\w)"
    r"|려고 (?:해|한)"
)
"""What is announced has yet to be done: the words count, the deed does not."""
_SENTENCE = re.compile(r"[^.!?…。？！\n]+[.!?…。？！]*[\"'”’」』)]*")
_CLAUSE = re.compile(r"[^,;:—，]+[,;:—，]*")


def split(message: str) -> tuple[str, float]:
    """What happens in a message, and how much of the rest is talk.

    Starred and bracketed actions happen; of the rest those sentences that neither ask nor suppose,
    less the clauses that deny or put off. A sentence of which nothing is left is talk, and in part
    one that announces.
    "*I open it.* Should we have waited?" gives ("I open it.", .2).

    Returns:
        The text of what happens, and SUPPOSED or ASKS times the share of the words that are talk.
    """
    text = reading.plain(message)
    deeds = [span.strip("*()[]（） ") for span in reading.STARRED.findall(text)]
    happens, talk, words = list(deeds), 0.0, sum(len(deed.split()) for deed in deeds)
    for sentence in _SENTENCE.findall(reading.without_actions(text)):
        words += len(sentence.split())
        cost, done = _cost(sentence), ""
        if not cost:
            announced = ASKS if _INTENDS.search(sentence) else 0.0
            done = " ".join(c.strip() for c in _CLAUSE.findall(sentence) if not _PUTS_OFF.search(c))
            cost = announced if done else SUPPOSED
        happens += [done] if done else []
        talk += cost * len(sentence.split())
    return " ".join(happens), talk / max(1, words)


def is_told(message: str) -> bool:
    """Whether something is done or told of: an action, or a sentence in which somebody acts."""
    text = reading.plain(message)
    told = reading.STARRED.search(text) or _PAST_KO.search(text)
    done = " ".join(s for s in _SENTENCE.findall(text) if not _INTENDS.search(s))
    return told is not None or reading.acts(done)


def _cost(sentence: str) -> float:
    if _SUPPOSES.search(sentence):
        return SUPPOSED
    return ASKS if sentence.rstrip(" \"'”’」』)").endswith(("?", "？")) else 0.0

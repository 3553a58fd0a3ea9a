"""Chats without ids: known again by what was said, and never taken for each other."""

from __future__ import annotations

import os
import random
import sqlite3
import unicodedata
from collections import defaultdict
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.request import Message
from stores.chroma import ChromaDatabase
from stores.conversations import Conversations
from tests.stores.stores_support import CountingEncoder, remembering, search

GREETING = "*The lamp swings.* Welcome to the lighthouse, traveller."
Line = tuple[str, str]


@dataclass
class Client:
    """Sends the newest lines of a chat, as SillyTavern and Open WebUI do, and no id."""

    server: Conversations
    window: int = 20
    user: str = "mina"
    character: str = "Mara"
    lines: list[Line] = field(default_factory=lambda: [("character", GREETING)])

    def ask(self, text: str | None = None) -> str:
        """The id of the chat, when this is said."""
        if text is not None:
            self.lines.append(("user", text))
        return self.session()

    def session(self) -> str:
        return self.server.session_of(self.user, self.character, self.lines[-self.window :])

    def hear(self, text: str) -> None:
        self.lines.append(("character", text))

    def chat(self, turns: int, about: str) -> list[str]:
        """Some turns about something; their ids."""
        ids = []
        for turn in range(turns):
            ids.append(self.ask(f"What of {about} number {turn}, Mara?"))
            self.hear(f"Of {about} number {turn} I know this much: it is old.")
        return ids

    def settled(self, session: str) -> list[str] | None:
        """What the chat may remember after this turn."""
        history = [message(line) for line in self.lines[-self.window : -1]]
        kept = self.server.settled(session, history)
        return None if kept is None else [line.content for line in kept]


def message(line: Line) -> Message:
    return Message(role="user" if line[0] == "user" else "character", content=line[1])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "색인" / "conversations.sqlite"


def test_a_chat_is_one_chat_from_its_first_exchange_to_long_after_its_beginning_is_cut() -> None:
    client = Client(Conversations(None))
    first, *others = client.chat(60, "the harbour")
    assert len(client.lines) > 5 * client.window
    assert len(set(others)) == 1
    assert client.server.settled(first, [message(client.lines[0])]) == [], "too short to be known"


def test_workers_that_share_nothing_derive_the_same_id_while_the_chat_is_whole() -> None:
    ids = [Client(Conversations(None), window=500).chat(20, "fog") for _ in range(2)]
    assert ids[0] == ids[1]


def test_workers_that_share_a_file_know_each_others_chats(path: Path) -> None:
    client = Client(Conversations(path))
    session = client.chat(30, "the harbour")[-1]
    client.server = Conversations(path)
    assert set(client.chat(3, "the fog")) == {session}


def _go_on(path: Path, lines: list[Line]) -> str:
    return Conversations(path).session_of("mina", "Mara", lines)


def test_processes_that_ask_at_once_agree(path: Path) -> None:
    client = Client(Conversations(path))
    session = client.chat(30, "the harbour")[-1]
    client.server.close()
    lines = [*client.lines[-20:], ("user", "And the fog, does it come every year?")]
    with get_context("spawn").Pool(4) as pool:
        assert set(pool.starmap(_go_on, [(path, lines)] * 8)) == {session}


def test_nobody_finds_the_chat_of_another_user_or_character() -> None:
    client = Client(Conversations(None))
    session = client.chat(30, "the harbour")[-1]
    lines = client.lines[-20:]
    for user, character in (("minb", "Mara"), ("mina", "Nell"), ("minaMara", ""), ("", "minaMara")):
        assert client.server.session_of(user, character, lines) != session
    assert client.server.session_of("mina", " mara ", lines) == session


def _decomposed(line: Line) -> Line:
    return line[0], unicodedata.normalize("NFD", line[1])


CHANGES = {
    "white space": lambda lines: [(role, f" {text}\n\n") for role, text in lines],
    "lines joined": lambda lines: [(role, text.replace(" ", "\n")) for role, text in lines],
    "markup": lambda lines: [(role, f"*{text}*") for role, text in lines],
    "NFD": lambda lines: [_decomposed(line) for line in lines],
    "a note in the middle": lambda lines: [*lines[:-3], ("system", "[Style: calm]"), *lines[-3:]],
    "a note at the end": lambda lines: [*lines, ("system", "[Write three paragraphs.]")],
    "empty lines": lambda lines: [*lines[:5], ("user", " "), ("character", "***"), *lines[5:]],
    "cut shorter": lambda lines: lines[-6:],
    "other role names": lambda lines: [
        ("assistant" if role == "character" else role, text) for role, text in lines
    ],
    "a line edited": lambda lines: [*lines[:-4], ("user", "I take that back."), *lines[-3:]],
    "an old line edited": lambda lines: [*lines[:3], ("user", "I take that back."), *lines[4:]],
    "the last reply edited": lambda lines: [*lines[:-2], ("character", "No."), lines[-1]],
    "a line deleted": lambda lines: [*lines[:-5], *lines[-4:]],
    "the last exchange taken back": lambda lines: lines[:-2],
    "eight lines taken back": lambda lines: lines[:-8],
    "a status block left out further up": lambda lines: [
        *((role, text.partition("|")[0]) for role, text in lines[:-4]), *lines[-4:]
    ],
}  # fmt: skip


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_what_clients_do_to_a_chat_leaves_it_the_same_chat(change) -> None:  # type: ignore[no-untyped-def]
    client = Client(Conversations(None))
    for turn in range(40):
        session = client.ask(f"비가 오네, 마라. {turn}번째 밤이야.")
        long = "바다가 높고 등대의 불빛이 흔들린다. " * 5
        client.hear(f"{turn}번째 밤에는 {long}| HP {turn}")
    client.ask("내일은 어떨까?")
    assert client.server.session_of("mina", "Mara", change(client.lines[-20:])) == session
    client.hear("내일은 맑을 거야, 틀림없이.")
    assert client.ask("그럼 배를 띄우자.") == session


def test_a_reply_generated_anew_leaves_the_chat_the_same_and_is_not_remembered() -> None:
    client = Client(Conversations(None))
    session = client.chat(30, "the harbour")[-1]
    client.ask("Do you sleep at all?")
    for attempt in range(3):
        client.hear(f"I do not sleep, attempt {attempt}.")
        assert not any("attempt" in text for text in client.settled(session) or [])
        client.lines.pop()
        assert client.session() == session
    client.hear("I sleep by day, and soundly.")
    assert client.chat(20, "the fog")[-1] == session


def test_what_is_cut_off_has_been_remembered() -> None:
    client, memory = Client(Conversations(None)), dict[str, None]()
    for turn in range(60):
        session = client.ask(f"What of the harbour, turn {turn}?")
        memory |= dict.fromkeys(client.settled(session) or [])
        client.hear(f"It lies in the east, as on turn {turn}.")
    assert [text for _, text in client.lines][: len(memory)] == list(memory)
    assert len(memory) >= len(client.lines) - client.window
    assert client.settled(session) is not None


def test_a_line_rewritten_far_back_is_remembered_as_it_was_first_said() -> None:
    client = Client(Conversations(None))
    client.chat(30, "the harbour")
    client.lines[-18] = ("user", "What was never said before.")  # in a copy of the chat, perhaps
    kept = client.settled(client.ask("And then?"))
    assert kept
    assert "What was never said before." not in kept


@pytest.mark.parametrize("same_turns", [0, 1, 2, 12])
@pytest.mark.parametrize("window", [8, 20, 500])
def test_two_chats_with_the_same_beginning_share_no_memory(same_turns: int, window: int) -> None:
    server, memory = Conversations(None), defaultdict[str, set[str]](set)
    clients = {about: Client(server, window) for about in ("the harbour", "the fog", "the bell")}
    for client in clients.values():  # each begins before the next goes on
        client.chat(same_turns, "the weather")
    for turn in range(30):
        for about, client in clients.items():
            session = client.ask(f"Of {about} I would hear more, please, part {turn}.")
            others = {"the harbour", "the fog", "the bell"} - {about}
            assert not [text for text in memory[session] for it in others if it in text]
            memory[session] |= set(client.settled(session) or [])
            client.hear(f"There is more to {about} than you think, and part {turn} is this.")
    assert sum(len(texts) > 5 for texts in memory.values()) >= 3


def test_a_short_line_alone_is_no_ground_to_take_a_chat_for_another() -> None:
    server = Conversations(None)
    known = Client(server).chat(30, "the harbour")[-1]
    for lines in (
        ["Hello."], ["Hello.", "Hello."], ["Yes.", "No.", "Yes."], [GREETING, "What of the fog?"],
        ["It is old.", "Hm.", "Of the harbour number 28 I know this much: it is old.", "And?"],
    ):  # fmt: skip
        said = [("character" if row % 2 == 0 else "user", text) for row, text in enumerate(lines)]
        assert server.session_of("mina", "Mara", said) != known
    assert server.session_of("mina", "Mara", []) != known


def test_a_chat_of_short_words_that_come_again_and_again_is_one_chat() -> None:
    client, chance = Client(Conversations(None)), random.Random(3)
    ids = []
    for _ in range(60):
        ids.append(client.ask(chance.choice(["Yes.", "No.", "Hm.", "ㅋㅋ", "응."])))
        client.hear(chance.choice(["Yes.", "Why?", "*nods*", "그래.", "응."]))
    assert len(set(ids[1:])) == 1


def test_a_client_that_says_which_chat_it_is_is_believed() -> None:
    history = [message(("user", "Hello."))]
    for session in ("s1", "", "new", "iyagi:", "chat:" + "0" * 32):
        assert Conversations(None).settled(session, history) is None
    for session in ("iyagi:chat:", "iyagi:new:x", "iyagi:chat:" + "0" * 32):
        assert Conversations(None).settled(session, history) == []


def test_a_chat_that_is_forgotten_is_not_known_any_more(path: Path) -> None:
    server = Conversations(path)
    clients = {about: Client(server) for about in ("the harbour", "the fog")}
    ids = {about: client.chat(30, about)[-1] for about, client in clients.items()}
    server.forget("somebody else", ids["the fog"])
    server.forget("mina", "no id of ours")
    server.forget("mina", ids["the harbour"])
    assert clients["the fog"].ask("Well?") == ids["the fog"]
    assert clients["the harbour"].ask("Well?") != ids["the harbour"]


def test_no_word_and_no_name_is_written(path: Path) -> None:
    client = Client(Conversations(path), user="mina-the-user", character="Marathecharacter")
    client.chat(10, "the lighthouse")
    client.server.heard_narration("The lighthouse falls silent. " * 10)
    client.server.close()
    for file in path.parent.iterdir():
        content = file.read_bytes().lower()
        assert not [it for it in (b"lighthouse", b"mina-the", b"marathe") if it in content]


def test_the_file_stays_small_and_the_newest_lines_stay(path: Path) -> None:
    server = Conversations(path, lines=200, narrations=10)
    old, client = Client(server), Client(server)
    old_id = old.chat(20, "the harbour")[-1]
    session = client.chat(300, "the fog")[-1]
    assert client.ask("Well?") == session
    assert old.ask("Well?") != old_id
    for number in range(50):
        server.heard_narration(f"The wind turns for the {number}th time.")
    assert not server.narrated("The wind turns for the 3th time.")
    assert server.narrated("The wind turns for the 49th time.")
    server.close()
    with sqlite3.connect(path) as db:
        counts = [db.execute(f"SELECT count(*) FROM {it}").fetchone()[0]
                  for it in ("lines", "chats", "narrations")]  # fmt: skip
    db.close()
    assert counts[0] <= 200
    assert counts[1] <= 200
    assert counts[2] == 10


@pytest.mark.parametrize("damage", ["no folder", "garbage"])
def test_a_fault_costs_the_chat_its_memory_and_nobody_the_turn(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "index"
    if damage == "no folder":
        folder.write_text("a file where a folder should be", encoding="utf-8")
    else:
        folder.mkdir()
        (folder / "conversations.sqlite").write_bytes(os.urandom(20_000))
    client = Client(Conversations(folder / "conversations.sqlite"))
    sessions = client.chat(10, "the harbour")
    client.server.heard_narration("The wind turns.")
    client.server.forget("mina", sessions[-1])
    assert len(caplog.messages) == 1
    assert str(tmp_path) not in caplog.text
    assert client.server.narrated("The wind turns.") == (damage == "garbage")
    if damage == "no folder":
        assert client.settled(sessions[-1]) == []


NARRATION = (
    "*The wind turns*, and with it the **lamp**. Nobody in the harbour sees how the light goes over"
    " the water and comes back. Then it is dark."
)


@pytest.mark.parametrize(
    "sent",
    [
        NARRATION, f"\n {NARRATION} ", NARRATION.replace("*", ""), NARRATION.replace(" ", "\n"),
        NARRATION.partition(" Then")[0], NARRATION + " And then it is light again.",
    ],
)  # fmt: skip
def test_narration_is_known_again_as_clients_send_it_back(path: Path, sent: str) -> None:
    server = Conversations(path)
    server.heard_narration("짧은 밤이 지나간다.")
    server.heard_narration(NARRATION)
    assert server.narrated(sent)
    assert Conversations(path).narrated(sent)
    assert server.narrated(unicodedata.normalize("NFD", "짧은 밤이 지나간다."))


def test_nobody_makes_narration_of_what_others_are_told(path: Path) -> None:
    server = Conversations(path)
    server.heard_narration(NARRATION, "mallory")
    server.heard_narration(f"{NARRATION} And so on.", continued=True)
    assert server.narrated(NARRATION, "mallory")
    for user in ("mina", ""):
        assert not server.narrated(NARRATION, user)
    assert server.narrated(f"{NARRATION} And so on.")


def test_what_no_narrator_said_is_no_narration() -> None:
    server = Conversations(None)
    for told in (NARRATION, "It rains.", "", "***"):
        server.heard_narration(told)
    for text in ("The wind turns", "It rains. A lot.", "", "*", "Nobody sees how the light goes."):
        assert not server.narrated(text)


def test_a_branch_recalls_nothing_of_the_other(database: ChromaDatabase) -> None:
    memory, server = remembering(database), Conversations(None)

    def turn(client: Client, question: str, reply: str) -> list[str]:
        """What the turn recalls; it is remembered as the pipeline does it."""
        session = client.ask(question)
        history = [message(line) for line in client.lines[-client.window : -1]]
        found = memory.recall(
            client.user, session, search(question, CountingEncoder()), history, question
        )
        kept = server.settled(session, history)
        assert kept is not None
        memory.remember(client.user, session, kept, recalled_from=found.source)
        client.hear(reply)
        return [recalled.content for recalled in found.messages]

    first = Client(server, window=8)
    for number in range(6):
        turn(first, f"Tell me of the compass, part {number}.", f"The compass lies, part {number}.")
    second = Client(server, window=8, lines=list(first.lines))
    recalled: dict[str, list[str]] = {"east": [], "west": []}
    for number in range(12):
        for side, client in (("east", first), ("west", second)):
            recalled[side] = turn(
                client, f"Where is the {side} treasure, {number}?", f"Further {side}, {number}."
            )
    assert any("east" in text for text in recalled["east"])
    assert any("west" in text for text in recalled["west"])
    assert not any("west" in text for text in recalled["east"])
    assert not any("east" in text for text in recalled["west"])
    assert any("compass" in text for text in recalled["east"]), "who goes on first goes on with it"


KINDS = ["turn"] * 8 + ["swipe", "edit", "delete", "back", "far back", "copy", "new"]
STEPS = st.lists(st.tuples(st.sampled_from(KINDS), st.integers(0, 1000)), min_size=20, max_size=150)


@settings(max_examples=100, deadline=None)
@given(STEPS, st.sampled_from([6, 20, 40]), st.booleans())
def test_whatever_people_do_no_chat_remembers_another_ending(
    steps: list[tuple[str, int]], window: int, short: bool
) -> None:
    server, memory = Conversations(None), defaultdict[str, set[str]](set)
    clients = [Client(server, window)]
    replaced: list[set[str]] = [
        set()
    ]  # what was edited or deleted in each, which may be remembered
    words = iter(range(10**6))

    def text() -> str:
        number = next(words)
        return f"{number}?" if short else f"What was said as number {number} of all."

    for step, number in steps:
        which = number % len(clients)
        client, lines = clients[which], clients[which].lines
        place = number % len(lines)
        match step:
            case "turn":
                lines += [("user", text()), ("character", text())]
            case "swipe":
                lines[-1] = ("character", text())
            case "edit":
                replaced[which].add(lines[place][1])
                lines[place] = (lines[place][0], text())
            case "delete" if len(lines) > 3:
                replaced[which].add(lines.pop(place)[1])
            case "back" | "far back":
                client.lines = lines[: max(1, len(lines) - (2 if step == "back" else 14))]
            case "copy" if len(clients) < 6:
                clients.append(Client(server, window, lines=lines[: place + 1]))
                replaced.append(set(replaced[which]))
            case "new" if len(clients) < 6:
                clients.append(Client(server, window))
                replaced.append(set())
        session = client.ask(text())
        assert memory[session] <= {text for _, text in client.lines} | replaced[which]
        memory[session] |= set(client.settled(session) or [])
        client.lines.append(("character", text()))

"""Explicit directives: the user says who shall answer, in English or Korean.

- The narrator: a command of `commands.toml` (`3일 후`, `/스킵`, `[다음 장면]`), the whole message.
- The narrator: `/narrate …`, `/narrator`, `/narration`, `/nar`, `/scene`, `/sys`, `/system`,
  `/continue`, `/계속`;
  `/서술 …`, `/서술자`, `/내레이션`, `/나레이션`, `/내레이터`, `/나레이터`,
  `/나레`, `/해설`, `/해설자`, `/지문`, `/상황`, `/장면`, `/시스템`;
  `/다음 …`, `/스킵`, `/이어서`, `/진행`, `/묘사`, `/요약`, `/이동`.
- The narrator: `(narrate)`, `[narration: …]`, `(서술)`, `[해설: …]`, `【지문】` and the other words
  above, at the start or the end of the message; `narrator: …`, `서술: …` at its start.
- A note, see below: `[OOC: …]`, `(OOC …)`, `((…))`, `[잡담: …]`, `(캐릭터 밖: …)`, `[메타: …]`,
  `*유저 노트: …*`; to the end of a line `OOC: …`, `ooc) …`, `(OOC) …`, `/ooc …`, `// …`.
- NAME (the narrator if so named): `/as NAME …`, `/역할 NAME …`, `/대사 NAME …`.
- The character: `/char …`, `/character …`, `/캐릭터 …`, `(dialogue)`, `(대사)`, `(캐릭터)`.

Upper and lower case, full-width brackets, slash and colon are equal. What stands behind a directive
remains as the message. A note out of character is for the storyteller, so it goes to the narrator
when it stands alone or asks for another time or place; beside other speech it is set apart as
`note`, and the evidence decides on the rest. NAME may stand in quotation marks; a name of two words
is known when it belongs to somebody in the scene. A slash that is not listed is ordinary text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from language.normal import nfc
from routing.commands import command_in
from schemas.request import Speaker

_NARRATE_EN = "narrate|narrator|narration|nar|scene|sys|system|continue|계속"
_NARRATE_KO = (
    "서술자|서술|내레이션|나레이션|내레이터|나레이터|나레|해설자|해설|지문|상황|장면|시스템"
)
_SLASH_ONLY = "다음|스킵|이어서|진행|묘사|요약|이동"
_NARRATOR_NAMES = frozenset(f"narrator|narration|system|sys|{_NARRATE_KO}".split("|"))
_OOC = "ooc|o\\.o\\.c\\.?|잡담|캐릭터 ?밖|괄호 ?밖|메타|(?:유저|작가) ?노트|요청 ?사항"
_ASKS_NARRATION = re.compile(
    r"narrat|descri|scene|story|skip|fast.?forward|what happens|time|plot", re.IGNORECASE
)

_OPEN, _CLOSE = r"[(\[{【（［〔<]", r"[)\]}】）］〕>]"
_FLAGS = re.IGNORECASE | re.DOTALL
_SLASH_AS = re.compile(r"^[/／](?:as|역할|대사)\s+(.+)$", _FLAGS)
_INSIDE = r"\s*+(?:[:：]\s*+([^)\]}】）］〕>]*+))?"
_TAG = rf"{_OPEN}\s*+(?:narrate|narrator|narration|{_NARRATE_KO}){_INSIDE}{_CLOSE}"
_REST = r"(?:[:：]|(?=\s)|$)(.*)$"
_BEFORE = rf"(?=.*{_CLOSE}$)(?:.*{_CLOSE}(?=.))?+[^{_CLOSE[1:]}*?"
"""Before a tag that ends the text: there is no other bracket that closes behind it."""
_WRITTEN: list[tuple[str, Speaker, str]] = [
    (rf"^[/／](?:{_NARRATE_EN}|{_NARRATE_KO}|{_SLASH_ONLY}){_REST}", "narrator", "slash"),
    (rf"^{_TAG}(.*)$", "narrator", "tag"),
    (rf"^({_BEFORE}){_TAG}$", "narrator", "tag"),
    (rf"^(?:narrator|narration|{_NARRATE_KO})\s*[:：](.+)$", "narrator", "prefix"),
    (rf"^[/／](?:char|character|캐릭터){_REST}", "character", "slash"),
    (rf"^{_OPEN}\s*(?:대사|캐릭터|dialogue)\s*{_CLOSE}(.*)$", "character", "tag"),
]
_FORMS = [(re.compile(pattern, _FLAGS), speaker, form) for pattern, speaker, form in _WRITTEN]
"""What calls for whom; the first that fits counts, and its groups are the message."""
_CLOSES = re.compile(rf".*{_CLOSE}", re.DOTALL)
_NOTE = re.compile(
    rf"(?<!{_OPEN}){_OPEN}++\s*(?:{_OOC})(?:\s*[:：]\s*|\s+|(?={_CLOSE}))(.*?){_CLOSE}+|\(\(([^()]+)\)\)"
    r"|\[\[([^\[\]]+)\]\]|（（([^（）]+)）））?",
    _FLAGS,
)
_NOTE_LINE = re.compile(
    rf"(?:^[ \t]*+(?:{_OPEN}\s*(?:{_OOC})\s*{_CLOSE}[ \t]*[:：]?"
    rf"|[/／]?(?:{_OOC})[ \t]*[:：)]|[/／](?:{_OOC})(?!\w)"
    rf"|ooc[ \t.\-]|//|※|\*(?:{_OOC})\s*[:：](?=[^*\n]*+\*[ \t]*$))"
    r"|(?<=[ \t])(?:[/／]?ooc[ \t]*[:：)]|[/／]ooc(?!\w)|//(?=[ \t])))([^\n]*+)$",
    re.IGNORECASE | re.MULTILINE,
)
"""A note to the end of its line."""
_QUOTED_NAME = re.compile(r"^[\"'“‘「『]([^\"'”’」』]+)[\"'”’」』]\s*[:：,]?\s*(.*)$", re.DOTALL)
_BARE_NAME = re.compile(r"^([^\s:：,]+)\s*[:：,]?\s*(.*)$", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Directive:
    """What the user asked for: a command is a note, too, as nobody in the scene hears it. `speaker`
    is None where only a note was set apart."""

    speaker: Speaker | None
    message: str
    next_speaker: str | None = None
    note: str = ""
    form: str = ""
    moves: bool = True
    """Whether the narrator, if called, is asked for what comes next: not by `상태창 보여줘`."""
    shows: bool = False
    """Whether something shall be shown, and the scene stay as it is."""


def parse_directive(message: str, names: Iterable[str] = ()) -> Directive | None:
    """The directive in `message`, or None. `names`: who is in the scene, for names of two words."""
    text = nfc(message).strip()
    if named := _as_name(text, tuple(names)):
        return named
    for pattern, speaker, form in _FORMS:
        if m := pattern.match(text):
            rest = " ".join(part.strip() for part in m.groups() if part and part.strip())
            return Directive(speaker, rest, form=form)
    if noted := _out_of_character(text):
        return noted
    if command := command_in(text):
        return Directive(
            "narrator",
            text if command.moves else "",
            note="" if command.kind == "go_on" else text,
            form="command",
            moves=command.moves,
            shows=not command.moves,
        )
    return None


def _as_name(text: str, names: tuple[str, ...]) -> Directive | None:
    """`/as NAME …`: a known name (the longest), else one in quotation marks, else one word."""
    if not (m := _SLASH_AS.match(text)):
        return None
    rest = m[1].strip()
    known = next(
        (n for n in sorted(names, key=len, reverse=True) if n and _starts_with(rest, n)), None
    )
    if known:
        name, message = known, rest[len(known) :].lstrip(" \t\n:：,")
    elif found := _QUOTED_NAME.match(rest) or _BARE_NAME.match(rest):
        name, message = found[1].strip(), found[2].strip()
    else:
        return None
    if name.lower() in _NARRATOR_NAMES:
        return Directive("narrator", message, form="as")
    return Directive("character", message, next_speaker=name, form="as")


def _starts_with(text: str, name: str) -> bool:
    end = text[len(name) : len(name) + 1]
    return text.lower().startswith(name.lower()) and not end.isalnum()


def _out_of_character(text: str) -> Directive | None:
    """A message with its notes set apart: those that end with their line, and those in brackets."""
    notes = [line[1].strip(" *-.") for line in _NOTE_LINE.finditer(text)]
    text = _NOTE_LINE.sub(" ", text) if notes else text
    closes = _CLOSES.match(text)
    end = closes.end() if closes else 0  # no note ends behind it, and none is looked for
    notes += [next(filter(None, m.groups()), "") for m in _NOTE.finditer(text, 0, end)]
    if not notes:
        return None
    rest = f"{_NOTE.sub(' ', text[:end])}{text[end:]}".strip()
    note = " ".join(filter(None, map(str.strip, notes)))
    alone, command = not any(c.isalnum() for c in rest), command_in(note)
    moves = command is not None and command.moves and command.kind not in ("go_on", "style")
    calls = alone or moves or _ASKS_NARRATION.search(note)
    return Directive(
        "narrator" if calls else None, "" if alone else rest, note=note, form="ooc", moves=moves
    )

"""What a model does wrong: `python -m benchmarks.reply_quality [--turns 25] [--json]`.

The mock chats are played on in English and Korean, with the language model of the settings
(`IYAGI_LLM`, ...). Shown is how many of a hundred replies, as the model wrote them and as the user
reads them, have each fault:

    empty       no letter in it
    for_user    speaks or acts for the user
    language    is not in the character's language
    notes       repeats headings or instructions of the prompt
    repeats     is an earlier reply of the chat again, for the most part
    marks       leaves a star, a quotation mark or a bracket open
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import sys
from collections.abc import Sequence
from typing import Any

from benchmarks.engine import REQUESTS
from benchmarks.metrics import mean, table
from graph.next_turn import next_payload
from graph.pipeline import Pipeline
from graph.services import make_services
from graph.settings import ROOT, load_settings
from language.script import language_of

FAULTS = ("empty", "for_user", "language", "notes", "repeats", "marks")
MESSAGES = {
    "en": (
        "What do you remember of my family?",
        "*I look around.* It is quiet here.",
        "Tell me about yourself.",
        "Do you trust me?",
        "*I take your hand.* Come.",
        "What happens tomorrow?",
    ),
    "ko": (
        "제 가족 이야기, 기억나세요?",
        "*주위를 둘러본다.* 조용하네요.",
        "대장님 이야기 좀 해 주세요.",
        "저를 믿으세요?",
        "*손을 잡는다.* 가요.",
        "내일은 무슨 일이 있어요?",
    ),
}
SAME = 0.8
"""Share of a reply's runs of three words that an earlier reply has, from which it is that again."""
_HEADINGS = re.compile(
    r"notes that nobody|earlier in this chat|in the story so far|behind the scenes; nobody"
    r"|time and place:|\[now |장면 속 누구에게도|지난 대화:|지금까지의 이야기:|무대 뒤의 일"
    r"|시간과 장소:|\[이제 ",
    re.IGNORECASE,
)


def faults(text: str, language: str, before: Sequence[str]) -> dict[str, float]:
    """What can be seen in the text of a reply, 1 where it is so."""
    runs = _runs(text)
    again = max((len(runs & _runs(old)) / len(runs) for old in before if runs), default=0.0)
    open_marks = text.count("*") % 2 or text.count('"') % 2
    pairs = any(text.count(a) != text.count(b) for a, b in ("()", "[]", "“”", "「」"))
    has_letters = any(map(str.isalpha, text))
    return {
        "empty": float(not has_letters),
        "language": float(has_letters and language_of(text) != language),
        "notes": float(_HEADINGS.search(text) is not None),
        "repeats": float(again >= SAME),
        "marks": float(bool(open_marks) or pairs),
    }


def _runs(text: str) -> set[tuple[str, ...]]:
    words = text.lower().split()
    return set(zip(words, words[1:], words[2:], strict=False))


async def measure(pipeline: Pipeline, language: str, turns: int) -> dict[str, dict[str, float]]:
    """Of a chat, the shares of replies with each fault: as written, and as read."""
    file = ROOT / "data/mock" / REQUESTS[language]
    payload = json.loads(file.read_text(encoding="utf-8"))
    written: list[dict[str, float]] = []
    read: list[dict[str, float]] = []
    raws: list[str] = []
    texts: list[str] = []
    for row in range(turns):
        payload["message"] = MESSAGES[language][row % len(MESSAGES[language])]
        payload |= {"meta": {**payload.get("meta", {}), "debug": True}, "gen": {"seed": row}}
        answer = await pipeline.chat(payload)
        if answer["error"]:
            sys.exit(f"error: {answer['error']}")
        reply: dict[str, Any] = answer["meta"]["reply"]
        text = "".join(part["text"] for part in answer["response_contents"])
        acts = float(bool(reply.get("speaks_for_user")))
        spoke = float("user_tag" in reply.get("cuts", []) or acts)
        written.append({**faults(reply["raw"], language, raws), "for_user": spoke})
        read.append({**faults(text, language, texts), "for_user": acts})
        raws.append(reply["raw"])
        texts.append(text)
        payload = next_payload(payload, answer)
        print(".", end="", file=sys.stderr, flush=True)
    return {f"{language} written": _percent(written), f"{language} read": _percent(read)}


def _percent(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    return {name: 100 * share for name, share in mean(list(rows)).items()}


def main(argv: Sequence[str] | None = None) -> None:
    """Plays and prints a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--turns", type=int, default=25, help="of each language")
    parser.add_argument("--languages", nargs="+", choices=sorted(REQUESTS), default=["en", "ko"])
    parser.add_argument("--context", type=int, help="instead of IYAGI_LLM_CONTEXT")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args(argv)
    settings = load_settings()
    if given.context:
        settings = settings.model_copy(update={"llm_context": given.context})
    results: dict[str, dict[str, float]] = {}
    for language in given.languages:
        pipeline = Pipeline(make_services(settings))
        results |= asyncio.run(measure(pipeline, language, given.turns))
    print(file=sys.stderr)
    print(json.dumps(results) if given.json else table(results, FAULTS))


if __name__ == "__main__":
    main()

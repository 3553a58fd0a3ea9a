"""What a message makes happen, apart from what it only asks, remembers, supposes or denies."""

from __future__ import annotations

import re

from routing import reading

SUPPOSED, ASKS = 0.35, 0.20
"""Taken off a score as far as a message remembers, supposes, denies or puts off; as it asks."""
_SUPPOSES = re.compile(
    r"(?<!\w)(?:if|maybe|perhaps|someday|one day|tomorrow|later|not yet|never|\w+n't|cannot"
    r"|looking forward|used to|ever|remember|imagine|what about|tell me about|hope|wish"
    r"|afraid|ought to|should|would|might|suppose|wonder|before you)(?!\w)"
    r"|아직|나중에|언젠가|내일|만약|했으면|텐데|기억|얘기해|이야기해|같으면|싶어|싶다|말자"
    r"|(?<!\w)(?:안|못) ?[했해하먹봤가갔]|지 (?:않|못|마)"
    r"|좋겠|겠죠|겠지|거예요\?|할까|실까|을까|ㄹ까"
)
_SENTENCE = re.compile(r"[^.!?…。？！\n]+[.!?…。？！]*[\"'”’」』)]*")


def split(message: str) -> tuple[str, float]:
    """What happens in a message, and how much of the rest is talk.

    Starred and bracketed actions happen; of the speech those sentences that neither ask nor
    suppose. "*I open it.* Should we have waited?" gives ("I open it.", .11).

    Returns:
        The text of what happens, and SUPPOSED or ASKS times the share of the words that are talk.
    """
    text = reading.plain(message)
    deeds = [span.strip("*()[]（） ") for span in reading.STARRED.findall(text)]
    happens, talk, words = list(deeds), 0.0, sum(len(deed.split()) for deed in deeds)
    for sentence in _SENTENCE.findall(reading.without_actions(text)):
        words += len(sentence.split())
        if cost := _cost(sentence):
            talk += cost * len(sentence.split())
        else:
            happens.append(sentence.strip())
    return " ".join(happens), talk / max(1, words)


def is_told(message: str) -> bool:
    """Whether something is done or told of: an action, or a sentence in which somebody acts."""
    text = reading.plain(message)
    return reading.STARRED.search(text) is not None or reading.acts(text)


def _cost(sentence: str) -> float:
    if _SUPPOSES.search(sentence):
        return SUPPOSED
    return ASKS if sentence.rstrip(" \"'”’」』)").endswith(("?", "？")) else 0.0

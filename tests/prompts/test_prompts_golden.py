"""Whole prompts as files, to be read by people; `python -m tests.prompts.test_prompts_golden`
writes them anew."""

from __future__ import annotations

from pathlib import Path

import pytest

from prompts.build import build_prompt
from schemas.formats import FORMATS
from schemas.rag import DialogueTurn, PromptBuildInput, PromptLayout
from schemas.request import Persona, Speaker
from tests.prompts.prompts_support import event, memory

GOLDEN = Path(__file__).parent / "golden"

SERA = Persona(
    name="Sera",
    description="{{char}} keeps the light of Gull Point. She has waited for {{user}} for years.",
    personality="blunt, warm underneath",
    scenario="A winter night in the lighthouse.",
    first_message="*She opens the door.* {{user}}. You came.",
    example_dialogue="<START>\n{{user}}: Hi.\n{{char}}: Wipe your boots. It's 12:30.",
    language="en",
)
SERA_KO = Persona(
    name="세라",
    description="{{char}}는 갈매기곶의 등대지기다. 오랫동안 {{user}}를 기다렸다.",
    personality="무뚝뚝하지만 속은 다정하다",
    scenario="겨울밤의 등대.",
    first_message="*문을 열며* {{user}}, 왔구나.",
    example_dialogue="<START>\n{{user}}: 안녕.\n{{char}}: 신발부터 털어. 지금 12:30이야.",
    language="ko",
)


def given(name: str, speaker: Speaker, persona: Persona) -> PromptBuildInput:
    korean = persona is SERA_KO
    user = "민준" if korean else "Min"
    return PromptBuildInput(
        persona=persona,
        user_name=user,
        user_message="지하실 열쇠 어디 있어?" if korean else "Where is the key to the cellar?",
        history=[
            DialogueTurn(role="character", name=persona.name, content=persona.first_message),
            DialogueTurn(role="user", name=user, content="또 비가 오네." if korean else "Rain."),
            DialogueTurn(
                role="narrator",
                name="내레이터" if korean else "Narrator",
                content="창이 덜컹거린다." if korean else "The panes rattle.",
            ),
        ],
        chat_context=[memory("m1", "화분 밑에 뒀어." if korean else "Under the pot.", 4, by=user)],
        story_context=[
            event("e2", "배가 좌초했다." if korean else "A ship ran aground.", 2),
            event("e1", "등대가 꺼졌다." if korean else "The light went out.", 1),
        ],
        narrator_only=[event("s1", "열쇠는 녹았다." if korean else "The key has melted.", 3)],
        direction="문이 열린다." if korean else "The door opens.",
        state="자정, 등대." if korean else "Midnight, the lighthouse.",
        speaker=speaker,
        layout=PromptLayout(format=name),
    )


CASES = {
    **{f"{name}.en.character": (name, "character", SERA) for name in FORMATS},
    "metharme.en.narrator": ("metharme", "narrator", SERA),
    "chatml.ko.character": ("chatml", "character", SERA_KO),
    "chatml.ko.narrator": ("chatml", "narrator", SERA_KO),
}


@pytest.mark.parametrize("case", CASES)
def test_prompt_is_as_on_file(case: str) -> None:
    expected = (GOLDEN / f"{case}.txt").read_text(encoding="utf-8")
    assert build_prompt(given(*CASES[case])).prompt == expected  # type: ignore[arg-type]


def test_no_golden_file_is_left_over() -> None:
    assert {path.stem for path in GOLDEN.glob("*.txt")} == set(CASES)


if __name__ == "__main__":
    for case, arguments in CASES.items():
        prompt = build_prompt(given(*arguments)).prompt  # type: ignore[arg-type]
        (GOLDEN / f"{case}.txt").write_text(prompt, encoding="utf-8")

"""A chat is read by the embedder of its script, and what stands under one stays apart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnxruntime
import pytest

from graph.pipeline import Pipeline
from schemas.readers import Reader
from tests.support import MakePipeline, ask

KOREAN = [
    "할머니가 돌아가시기 전에 은으로 된 로켓을 내 목에 걸어 주셨어.",
    "빵집 아저씨는 호두빵 만드는 법을 절대 안 알려줘.",
    "어제는 밤새 산에 비가 쏟아졌대.",
    "누나는 시험에 또 떨어져서 방에서 안 나와.",
    "고양이가 지붕에서 내려오질 않아.",
]
ENGLISH = [
    "My grandmother hung a silver locket around my neck before she died.",
    "The baker never tells anyone how he makes his walnut bread.",
    "It poured in the mountains all night yesterday.",
    "My sister failed her exam again and stays in her room.",
    "The cat will not come down from the roof.",
]


def told(texts: list[str]) -> list[dict[str, Any]]:
    return [{"role": "user", "content": text} for text in texts]


def story(texts: list[str]) -> list[dict[str, Any]]:
    return [{"id": f"e{n}", "order": n, "text": text} for n, text in enumerate(texts)]


async def turn(pipeline: Pipeline, message: str, **fields: Any) -> dict[str, Any]:
    answer = await pipeline.chat(ask(message, **fields))
    await pipeline.drain()
    return answer


def events(answer: dict[str, Any]) -> list[str]:
    return [it["id"] for it in answer["retrieved"] if it["source"] == "story"]


def memories(answer: dict[str, Any]) -> list[str]:
    return [it["text"] for it in answer["retrieved"] if it["source"] == "chat"]


async def test_an_english_chat_does_not_pay_for_the_second_embedder(
    make_pipeline: MakePipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded, load = [], onnxruntime.InferenceSession

    def loads(path: str, *args: Any, **options: Any) -> Any:
        loaded.append(Path(path).parent.name)
        return load(path, *args, **options)

    monkeypatch.setattr(onnxruntime, "InferenceSession", loads)
    pipeline = make_pipeline()
    await turn(pipeline, "Who gave me the necklace?", history=told(ENGLISH), story=story(ENGLISH))
    assert loaded == ["minilm"]
    await turn(pipeline, "목걸이 누가 줬더라?", history=told(KOREAN))
    assert loaded == ["minilm", "e5"]


@pytest.mark.parametrize(
    ("question", "texts"),
    [
        ("내 목걸이 누구한테 받은 거였지?", KOREAN),
        ("내 목걸이 누구한테 받은 거였지?", ENGLISH),
        ("Who gave me my necklace?", ENGLISH),
        ("Who gave me my necklace?", KOREAN),
    ],
    ids=["Korean", "Korean about an English story", "English", "English about a Korean story"],
)
async def test_a_story_is_found_in_other_words_and_in_the_other_script(
    question: str, texts: list[str], make_pipeline: MakePipeline
) -> None:
    pipeline = make_pipeline()
    greeting = (
        ["왔어?", "응, 늦어서 미안."] if question[0] > "z" else ["Hello!", "Sorry, I'm late."]
    )
    asked = {"history": told(greeting), "story_rag_config": {"top_k": 1}}
    assert events(await turn(pipeline, question, story=story(texts), **asked)) == ["e0"]


async def test_an_embedder_of_the_operators_reads_every_script(make_pipeline: MakePipeline) -> None:
    pipeline = make_pipeline(
        embedder="tei", embedder_url="http://127.0.0.1:9", embedder_model="BAAI/bge-m3"
    )
    readers = pipeline.services.readers
    one: Reader = readers["latin"]
    assert readers["cjk"] is one


async def test_a_memory_survives_a_word_in_the_other_script(make_pipeline: MakePipeline) -> None:
    chat = {"user_id": "mina", "session_id": "s1"}
    pipeline = make_pipeline(standing_memory=True)
    await turn(pipeline, "내 사물함 비밀번호는 4711이야. 잊지 마.", **chat)
    assert not memories(await turn(pipeline, "OK!", user_id="juno", session_id="s1"))
    await turn(pipeline, "OK, see you!", **chat)
    again = make_pipeline(standing_memory=True)
    assert "4711" in " ".join(memories(await turn(again, "사물함 번호 뭐였지?", **chat)))
    assert await again.forget(chat)
    for message in ("사물함 번호 뭐였지?", "My locker code?"):
        assert "4711" not in " ".join(memories(await turn(again, message, **chat)))


async def test_the_same_story_in_two_scripts_shares_no_vector(make_pipeline: MakePipeline) -> None:
    pipeline = make_pipeline()
    given = {"story": story(ENGLISH), "story_rag_config": {"top_k": 1}}
    for _ in range(2):  # what one leaves is not read by the other
        assert events(await turn(pipeline, "목걸이는 누가 준 거야?", **given)) == ["e0"]
        assert events(await turn(pipeline, "Who gave me the necklace?", **given)) == ["e0"]

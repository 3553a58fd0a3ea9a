"""Macros are filled in within bounds, and Korean particles agree with names."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cards.macros import Scope, expand
from schemas.budget import MACRO_CHARACTERS
from tests.cards.cards_support import unhurried

CODE = re.compile(r"\{\{\s*[#/:?]")
SCOPE = Scope(char="민준", user="세라", original="규칙", chat="chat-1", turn=3)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{{char}}는 {{user}}을 봤다", "민준은 세라를 봤다"),
        ("{{CHAR}}은(는) {{ User }}이(가)", "민준은 세라가"),
        ("{{user}}은/는, {{char}}와/과, {{user}}(으)로", "세라는, 민준과, 세라로"),
        ("{{char}}야, 이리 와! {{user}}아~", "민준아, 이리 와! 세라야~"),
        ("나는 {{char}}야.", "나는 민준이야."),
        ("{{char}}라고 해. {{user}}이라고 해.", "민준이라고 해. 세라라고 해."),
        ("{{user}}과의 약속, {{char}}로서", "세라와의 약속, 민준으로서"),
        ("'{{char}}'는 **{{user}}**을", "'민준'은 **세라**를"),
        ("{{char}}가족은 {{user}}이기는 하다", "민준가족은 세라이기는 하다"),
        ("{{char}} 는 {{char}}에게 {{user}}도", "민준 는 민준에게 세라도"),
        ("<BOT>는 <user>을 <Char>", "민준은 세라를 민준"),
        ("{{random:민준,민준}}는", "민준은"),
        ("{{setvar::n::{{user}}}}{{getvar::n}}은", "세라는"),
        ("{{#if 1}}{{char}}{{/if}}는 {{char}}{{// 여기}}가", "민준은 민준이"),
        ("{{group}}와 {{charIfNotGroup}}가", "민준과 민준이"),
        ("{{char}} is {{user}}'s", "민준 is 세라's"),
    ],
)
def test_particles_follow_the_name(text: str, expected: str) -> None:
    assert expand(text, SCOPE) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a{{// {{char}} said }}b{{comment: x}}c{{noop}}", "abc"),
        ("{{original}} 그리고 {{Original}}", "규칙 그리고 규칙"),
        ("{{reverse:abc}}{{newline}}x", "cba\nx"),
        ("a\n\n{{trim}}\n\nb", "ab"),
        ("{{hidden_key:숲}}나무", "나무"),
        ("{{{char}}} {{", "{민준} {{"),
        ("}} {{char", "}} {{char"),
        ("{{char}}{{user}}", "민준세라"),
        ("{{pick:a\\,b}}", "a,b"),
        ("{{pick::x,y}}", "x,y"),
        ("{{roll:1d1+4}} {{roll:1}}", "5 1"),
        ("{{roll:0}} {{roll:101d6}}", "{{roll:0}} {{roll:101d6}}"),
        ("a{{newline::2}}b{{space::3}}c{{newline::x}}{{space}}d", "a\n\nb   c\n d"),
        ("{{ reverse :: ab }}|{{TRIM:: x }}|{{hidden_key:숲}}", " ba |x|"),
        ('{{asset::smile}}{{img::a}}{{emotion::b}}{{raw::c}}{{bg::d}}<img="e">|', "|"),
        ('<img src="a.png"> <b>x</b>', '<img src="a.png"> <b>x</b>'),
        ("{{//}} over\nlines {{char}} {{///}}x", "x"),
        ("{{none}}{{blank}}{{br}}", "\n"),
    ],
)
def test_other_macros(text: str, expected: str) -> None:
    assert expand(text, SCOPE) == expected


def test_unknown_macros_stay_and_are_named() -> None:
    unknown: set[str] = set()
    text = "{{mood}} {{mood::x}} {{Vibe:{{char}}}} {{a{b}}"
    assert expand(text, SCOPE, unknown) == text.replace("{{char}}", "민준")
    assert unknown == {"mood", "vibe", "a"}


def test_a_hidden_key_is_seen_by_a_lore_scan() -> None:
    assert expand("달{{hidden_key:숲}}나무", replace(SCOPE, scanning=True)) == "달 숲 나무"


def test_chance_repeats_and_random_changes_by_turn_and_pick_by_chat_only() -> None:
    options = ",".join(map(str, range(1000)))
    for name, varies in (("random", True), ("pick", False)):
        text = f"{{{{{name}:{options}}}}}"
        by_turn = {expand(text, replace(SCOPE, turn=turn)) for turn in range(8)}
        assert (len(by_turn) > 1) is varies
        assert expand(text, SCOPE) == expand(text, SCOPE)
        assert expand(text, SCOPE) != expand(text, replace(SCOPE, chat="another"))
        assert expand(text, SCOPE) != expand(text, replace(SCOPE, place="another"))
    rolls = [int(expand("{{roll:2d6}}", replace(SCOPE, turn=turn))) for turn in range(300)]
    assert {2, 12} <= set(rolls) and set(rolls) <= set(range(2, 13))


def test_what_is_inserted_is_not_read_again() -> None:
    scope = replace(SCOPE, char="{{user}}", user="{{random:a,b}}", original="{{char}}")
    assert expand("{{char}}|{{user}}|{{original}}", scope) == "{{user}}|{{random:a,b}}|{{char}}"


def test_fields_that_lead_back_to_themselves_end() -> None:
    scope = replace(
        SCOPE, fields={"scenario": "[{{persona}}]", "persona": "({{scenario}}{{char}})"}
    )
    assert expand("{{Scenario}}", scope) == "[(민준)]"


@pytest.mark.parametrize(
    "text",
    [
        "{{" * 30_000,
        "{{random:" * 9_000 + "}}" * 9_000,
        "{{original}}" * 8_000,
        "{{boom}}" * 6_000,
        "\n" * 60_000 + "{{trim}",
        "{{reverse:" * 2_000 + "x" * 1_000 + "}}" * 2_000,
    ],
)
def test_exploding_macros_are_bounded(text: str) -> None:
    fields = {"boom": "{{a}}" * 500, "a": "{{b}}" * 500, "b": "x" * 500}
    scope = replace(SCOPE, original="o" * 50_000, fields=fields)
    assert len(expand(text, scope)) <= MACRO_CHARACTERS + 50_000 + 2 * len(text)


def test_fields_that_say_nothing_are_read_once() -> None:
    """Each of 300 x 300 x 300 times would take half a minute, though nothing is inserted."""
    fields = {"a": "{{b}}" * 300, "b": "{{c}}" * 300, "c": "{{// }}"}
    assert expand("{{a}}" * 300, replace(SCOPE, fields=fields)) == ""


PIECES = [
    *("{{#if ", "{{#when::", "{{:else}}", "{{/if}}", "{{/}}", "{{#each ", "{{/each}}", "{{? ", "#"),
    *(
        "{{if ",
        "{{else}}",
        "setvar::a::",
        "incvar::a",
        "getvar::a",
        "/",
        ":",
        "1",
        "{{noop}}",
        "\n",
    ),
    *("{{#", "{{/", "{{//}}", "{{///}}", "slot", " as ", "§", "::", "time", "lastMessage", "$a"),
    "{{",
    "}}",
    "char",
    "user",
    "random:",
    "pick::",
    "a,b",
    "//",
    "<BOT>",
    "는",
    "{",
    " ",
    "x",
]


@unhurried
@given(st.lists(st.sampled_from(PIECES), max_size=40).map("".join), st.text(max_size=10))
def test_no_text_breaks_it(text: str, name: str) -> None:
    scope = replace(SCOPE, char=name)
    assert expand(text, scope) == expand(text, scope)
    if "{{" not in text and "<" not in text:
        assert expand(text, scope) == text
    assert not CODE.search(expand(text, scope)), "no code is left"

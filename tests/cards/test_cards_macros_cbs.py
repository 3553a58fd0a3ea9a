"""Blocks and functions of RisuAI and SillyTavern: evaluated, or left out and named; never sent."""

from __future__ import annotations

import re
import time
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cards.macros import Scope, Told, cbs, expand, oddities
from schemas.budget import Budget, spending
from tests.cards.cards_support import unhurried

SCOPE = Scope(
    char="세라",
    user="민준",
    chat="c",
    turn=3,
    fields={"description": "등대지기.", "personality": ""},
    told=Told(settled={"hp": "5", "mood": "calm", "on": "1"}),
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{{#if 1}}a{{/if}}b", "ab"),
        ("{{#if 0}}a{{/if}}b", "b"),
        ("{{#if {{getvar::on}}}}a{{:else}}b{{/if}}", "a"),
        ("{{#if {{equal::{{getvar::mood}}::calm}}}}a{{:else}}b{{/if}}", "a"),
        ("{{#if {{notequal::a::b}}}}a{{/}}b", "ab"),
        ("{{#if 1}}{{#if 0}}a{{:else}}b{{/if}}{{:else}}c{{/if}}", "b"),
        ("{{#if_pure 1}} a {{/if_pure}}|", " a |"),
        ("{{#if-pure 1}}\na\n{{/if-pure}}|", "\na\n|"),
        ("x\n{{#if 1}}\n  a\n  {{/if}}\ny", "x\n  a\ny"),
        ("She is {{#if 1}}very {{/if}}tall", "She is very tall"),
        ("{{#if description}}a{{/if}}{{#if personality}}b{{/if}}", "a"),
        ("{{#unless {{getvar::on}}}}a{{/unless}}b", "b"),
        ("{{#when::{{getvar::hp}}::>::3}}a{{:else}}b{{/when}}", "a"),
        ("{{#when::{{getvar::hp}}::<=::3}}a{{:else}}b{{/when}}", "b"),
        ("{{#when {{getvar::mood}}}}a{{:else}}b{{/when}}", "b"),
        ("{{#when::hp::vis::5}}a{{/when}}{{#when::hp::visnot::5}}b{{/when}}", "a"),
        ("{{#when::var::on}}a{{/when}}{{#when::not::var::on}}b{{/when}}", "a"),
        ("{{#when::1::and::0}}a{{/when}}{{#when::0::or::1}}b{{/when}}", "b"),
        ("{{#when::0::and::0::or::1}}a{{:else}}from the end{{/when}}", "from the end"),
        ("{{#when::toggle::dark}}a{{:else}}b{{/when}}", "b"),
        ("{{#when::a::is::a}}a{{/when}}{{#when::a::isnot::a}}b{{/when}}", "a"),
        ("{{#when::keep::1}}\na{{/when}}", "\na"),
        ("{{if {{getvar::mood}}}}a{{else}}b{{/if}}", "a"),
        ("{{if !{{getvar::none}}}}a{{/if}}{{ if off }}b{{ /if }}", "a"),
        ("{{if personality}}a{{else}}b{{/if}}", "b"),
        ("{{if::yes::inline}}{{if::no::never}}", "inline"),
        ("{{#each 사과§배 as f}}[{{slot::f}}]{{/each}}", "[사과][배]"),
        ('{{#each ["a","b"] x}}{{slot}}{{slot::x}}{{/each}}', "aabb"),
        ("{{#pure}}{{char}}{{/pure}}", "세라"),
        ("{{setvar x}}\nhi {{user}}\n{{/setvar}}{{getvar x}}", "hi 민준"),
        ("{{? 1 + 2 * 3}} {{?(1+2)*-3}} {{calc::2^3^0}} {{? $hp % 2 }}", "7 -9 2 1"),
        ("{{? 1>=2||!0}} {{? 7/2}} {{? 0.5 && 0}}", "1 3.5 0"),
        ("{{greater::10::9}}{{less::10::9}}{{greater_equal::2::2}}{{less_equal::x::2}}", "1010"),
        ("{{and::1::true}}{{or::0::x}}{{not::0}}{{all::1::1}}{{any::0::1}}", "10111"),
        ("{{lower::AB}}{{upper::ab}}{{capitalize::ab}}{{length::가나}}", "abABAb2"),
        ("{{replace::a-b-c::-::+}} {{contains::abc::b}}{{startswith::abc::b}}", "a+b+c 10"),
        ("{{join::{{split::a,b::,}}::/}} {{arrayelement::{{array::x::y}}::1}}", "a/b y"),
        ("{{max::1::7::3}} {{sum::[1,2,3]}} {{round::2.5}} {{fixnum::3.14159::2}}", "7 6 3 3.14"),
    ],
)
def test_simple_cases_are_evaluated(text: str, expected: str) -> None:
    assert expand(text, SCOPE) == expected
    assert not oddities(text, SCOPE).removed


@pytest.mark.parametrize(
    ("text", "expected", "removed"),
    [
        ("{{#if {{mystery}}}}a{{:else}}b{{/if}}", "b", "#if"),
        ("{{#when::1::resembles::1}}a{{:else}}b{{/when}}", "b", "#when"),
        ("{{#func f x}}a{{/func}}{{call::f::1}}b", "b", "#func call"),
        ("{{#strange}}a{{#if 1}}b{{/if}}{{/strange}}c", "c", "#strange"),
        ("{{#if 1}}the rest of the card", "the rest of the card", "#if"),
        ("{{#if 1}}a{{#when 0}}b{{/if}}c", "abc", "#when"),
        ("a{{/if}}b{{:else}}c{{else}}d", "abcd", "/if :else else"),
        ("{{#each x}}a{{/each}}b", "b", "#each"),
        ("{{? two plus two}}a{{calc::1/0}}", "a", "?"),
        ("{{button::a::b}}{{length::a::b}}x", "x", "button length"),
        ('{{banned "delve"}}{{bias "x"}}{{model}}{{maxPrompt}}{{history}}x', "x",
         "banned bias model maxprompt history"),
        ("{{outlet::nowhere}}{{getvar}}x", "x", "outlet getvar"),
        ("{{#if", "", ""),
        ("{{#if {{char}} x", " 세라 x", ""),
        ("{{{noop}}{#if x}}", "", ""),
    ],
)  # fmt: skip
def test_what_is_not_evaluated_is_removed_and_named(text: str, expected: str, removed: str) -> None:
    assert expand(text, SCOPE) == expected
    assert oddities(text, SCOPE).removed == frozenset(removed.split())


def test_plain_words_of_functions_stay_as_text() -> None:
    for text in (
        "{{a}}",
        "{{not}}",
        "{{max}}",
        "{{length}}",
        "{{roll}}",
        "{{pick}}",
        "{{unheard}}",
    ):
        assert expand(text, SCOPE) == text
        assert oddities(text, SCOPE).unknown == {text.strip("{}")}


def test_unknown_macros_are_named_in_any_script() -> None:
    for text, name in (
        ("{{직업}}", "직업"),
        ("{{ 이름 :: 값 }}", "이름"),
        ("{{名前}}", "名前"),
        ("{{!}}", "?"),
    ):
        assert expand(text, SCOPE) == text
        assert oddities(text, SCOPE).unknown == {name}


def test_oddities_are_named_in_branches_that_are_not_taken() -> None:
    text = "{{#if 0}}{{foo}}{{button::x::y}}{{:else}}{{bar}}{{/if}}{{#odd}}{{baz}}{{/odd}}"
    found = oddities(text, SCOPE)
    assert found.unknown == {"foo", "bar", "baz"} and found.removed == {"button", "#odd"}
    known = oddities("{{char}} {{time}} {{asset::x}} {{random:a,b}}", SCOPE)
    assert not known.unknown and not known.removed


def test_a_turn_names_what_it_left_out() -> None:
    with spending(budget := Budget()):
        expand("{{button::a::b}} {{time}} {{#foo}}x{{/foo}}", SCOPE)
        assert budget.removals() == [
            "macro `{{#foo}}` is left out: it is not supported",
            "macro `{{button}}` is left out: it is not supported",
            "macro `{{time}}` is left out: nothing says what time it is; send `timestamp`",
        ]


def test_the_branches_draw_alike_whichever_is_taken() -> None:
    options = "::".join(map(str, range(1000)))
    text = f"{{{{#if {{{{getvar::on}}}}}}}}{{{{random::{options}}}}}{{{{/if}}}} {{{{roll:d9999}}}}"
    off = replace(SCOPE, told=Told(settled={}))
    assert expand(text, SCOPE).split()[-1] == expand(text, off).split()[-1]
    assert expand(text, SCOPE) == expand(text, SCOPE)


def test_what_is_inserted_is_no_argument_and_no_code() -> None:
    scope = replace(SCOPE, char="a::b", user="1}}{{#if 1}}")
    assert expand("{{equal::{{char}}::a::b}}", scope) == ""
    assert expand("{{equal::{{char}}::{{char}}}}", scope) == "1"
    assert expand("{{random::{{char}}}}", scope) == "a::b"
    assert "{{#" not in expand("{{user}} {{original}}", scope)


ODD = st.sampled_from(
    [
        *("", "x", "-1", "1e308", "nan", "inf", "a§b", "§", "9" * 60, "9" * 4_200),
        *("[1,2]", '["\\ud800", "\\u0000"]', "[1e999, NaN]", "[" * 5_000 + "]" * 5_000, "[[[]"),
        *('[{"a": "\\udfff"}]', f"[1{'0' * 4_000},1{'0' * 3_997}999]", "\U0001f600"),
    ]
)


@unhurried
@given(st.sampled_from(sorted(cbs._FUNCTIONS)), st.lists(ODD, min_size=1, max_size=3))
def test_no_function_is_slow_or_makes_what_cannot_be_written(name: str, odd: list[str]) -> None:
    started = time.process_time()
    called = f"{{{{{name}::{'::'.join(odd)}}}}}"
    for text in (called, f"{{{{#each {odd[0]} as x}}}}{{{{slot::x}}}}{{{{/each}}}}"):
        expand(text, SCOPE).encode()
    assert time.process_time() - started < 0.2


BODIES = st.recursive(
    st.sampled_from(
        ["x", "{{char}}", "{{incvar::a}}", "{{foo}}", "{{? $a + 1}}", "{{random::a::b}}"]
    ),
    lambda inner: st.builds(
        lambda name, condition, one, other, shape: (
            shape.replace("N", name).replace("C", condition).replace("A", one).replace("B", other)
        ),
        st.sampled_from(["if", "when", "if_pure", "each", "unless", "odd"]),
        st.sampled_from(["0", "1", "{{getvar::a}}", "{{equal::1::1}}", "a§b as x", "{{mystery}}"]),
        inner,
        inner,
        st.sampled_from(
            [
                "{{#N C}}A{{:else}}B{{/N}}",
                "{{#N C}}A{{/}}B",
                "{{#N C}}A",
                "A{{/N}}B",
                "{{if C}}A{{/if}}",
            ]
        ),
    ),
    max_leaves=12,
)


@unhurried
@given(BODIES)
def test_no_code_is_left_of_any_blocks(text: str) -> None:
    said = expand(text, SCOPE)
    assert not re.search(r"\{\{\s*(?:[#/:?]|if|else)", said)
    assert said == expand(text, SCOPE)


@pytest.mark.parametrize(
    "text",
    [
        "{{#if 1}}" * 11_000,
        "{{#if 1}}" * 5_000 + "{{/if}}" * 5_000,
        "{{#a}}" * 8_000 + "{{/b}}" * 8_000,
        "{{#a}}{{#b}}" * 4_000 + "{{/a}}" * 8_000,
        "{{setvar x}}" * 4_000 + "{{/setvar}}" * 4_000,
        "{{#each " + "a§" * 99 + "a as x}}" * 1 + "{{#each " * 3,
        ("{{#each " + "a§" * 99 + "a as x}}") * 18 + "x" * 50_000 + "{{/each}}" * 18,
        "{{replace::" + "a" * 30_000 + "::a::" + "b" * 30_000 + "}}",
        "{{setvar::a::xx}}" + "{{addvar::a::{{getvar::a}}}}" * 2_000 + "{{getvar::a}}" * 2_000,
        "{{? " + "(" * 40_000 + "1" + ")" * 40_000 + "}}",
        "{{? " + "2^" * 300 + "9}}",
        "{{#if 1}}{{reverse:" * 40 + "x" + "}}{{/if}}" * 40,
        "{{{#" * 20_000,
        "{{ " * 30_000 + "#if",
    ],
)
def test_hostile_blocks_are_bounded(text: str) -> None:
    with spending(budget := Budget()):
        said = expand(text, replace(SCOPE, fields=dict.fromkeys(SCOPE.fields, text)))
    assert len(said) <= len(text) + 200_000
    assert not re.search(r"\{\{\s*[#/:?]", said)
    assert budget.characters > -20 * 300_000

"""What a file says of a call, and what a run takes that has read what strangers wrote."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from callboard.agents.engines.exposure import exposure
from callboard.agents.engines.policy import Ask, Auto, Deny, Ruling, decision
from callboard.agents.engines.tool_rules import ToolRules, argument_text
from callboard.agents.tools.tool import ToolTraits
from callboard.config.tool_settings import Approval, ToolSettings
from callboard.llm.pattern_search import PatternSearch

ORDER = {Auto: 0, Ask: 1, Deny: 2}
STRICT = {Approval.AUTO: 0, Approval.ASK: 1, Approval.DENY: 2}


@given(
    said=st.sampled_from(Approval),
    after=st.sampled_from(Approval),
    way_out=st.sampled_from([None, "this tool carries data out"]),
)
def test_H2_the_strictest_of_file_and_taint_decides(said: Approval, after: Approval, way_out: str | None) -> None:
    made = decision(Ruling(approval=said, why="w"), after_untrusted=after, exposure=way_out)
    expected = STRICT[said] if way_out is None else max(STRICT[said], STRICT[after])
    assert ORDER[type(made)] == expected


def settings(approval: str = "auto", *rules: tuple[dict[str, str], str]) -> ToolSettings:
    listed = [{"when": when, "approval": then} for when, then in rules]
    return ToolSettings.model_validate({"name": "send", "approval": approval, "rules": listed})


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"to": "me@here.org"}, Approval.AUTO),
        ({"to": "you@there.org"}, Approval.ASK),
        ({"to": "you@there.org", "body": {"amount": 12000}}, Approval.DENY),
        ({"to": "me@here.org", "body": {"amount": 12000}}, Approval.DENY),
        ({}, Approval.ASK),
    ],
)
async def test_the_first_rule_that_fits_decides(arguments: dict[str, JsonValue], expected: Approval) -> None:
    asked = settings("ask", ({"body.amount": r"\d{5}"}, "deny"), ({"to": r"@here\.org$"}, "auto"))
    ruling = await ToolRules(PatternSearch()).ruling(asked, arguments)
    assert ruling.approval is expected


async def test_a_rule_holds_only_when_all_its_patterns_are_found() -> None:
    asked = settings("auto", ({"to": "there", "text": "secret"}, "deny"))
    rules = ToolRules(PatternSearch())
    assert (await rules.ruling(asked, {"to": "there", "text": "hello"})).approval is Approval.AUTO
    assert (await rules.ruling(asked, {"to": "there", "text": "a secret"})).approval is Approval.DENY


@pytest.mark.slow
@pytest.mark.parametrize(("then", "expected"), [("deny", Approval.DENY), ("auto", Approval.ASK)])
async def test_a_pattern_that_never_ends_counts_as_fitting_where_it_is_strict(then: str, expected: Approval) -> None:
    asked = settings("ask", ({"text": "(a+)+$"}, then))
    ruling = await ToolRules(PatternSearch()).ruling(asked, {"text": "a" * 40 + "!"})
    assert ruling.approval is expected


async def test_what_stands_beyond_what_is_searched_does_not_slip_through() -> None:
    rules = ToolRules(PatternSearch())
    long = {"text": "x" * 10_000 + "secret"}
    assert (await rules.ruling(settings("auto", ({"text": "secret"}, "deny")), long)).approval is Approval.DENY
    assert (await rules.ruling(settings("ask", ({"text": "secret"}, "auto")), long)).approval is Approval.ASK


def test_arguments_are_searched_as_text_or_json() -> None:
    arguments: dict[str, JsonValue] = {"a": {"b": [1, "zwei"]}, "a.b": "plain", "n": 7, "none": None}
    assert argument_text(arguments, "a.b") == "plain"
    assert argument_text({"a": {"b": [1, "zwei"]}}, "a.b") == '[1, "zwei"]'
    assert argument_text(arguments, "n") == "7"
    assert argument_text(arguments, "none") == ""
    assert argument_text(arguments, "missing.too") == ""


READS = ToolTraits(reads_untrusted=True)


WRITTEN = (
    "please read known.org/news and https://docs.org/a?b=1, and nothing else",
    'See <a href="/deep/page?x=1&amp;y=2">more</a> on https://linked.org/start, or https://other.org.',
)


@pytest.mark.parametrize(
    ("arguments", "out"),
    [
        ({"url": "https://known.org/news"}, False),
        ({"url": "https://known.org/"}, False),
        ({"url": "https://Known.org"}, False),
        ({"url": "https://docs.org/a?b=1"}, False),
        ({"url": "https://linked.org/start"}, False),
        ({"url": "https://linked.org/deep/page?x=1&y=2"}, False),
        ({"url": "https://other.org"}, False),
        ({"url": "https://api.allowed.net/v1/search?q=anything"}, False),
        ({"text": "no address at all?"}, False),
        ({"url": "https://example.com"}, True),
        ({"url": "https://known.org/?q=secret"}, True),
        ({"url": "https://known.org/secret"}, True),
        ({"url": "https://known.org/new"}, True),
        ({"url": "https://known.org/news/secret"}, True),
        ({"url": "https://known.org/NEWS"}, True),
        ({"url": "https://known.org/news#secret"}, True),
        ({"url": "https://docs.org/a?b=12"}, True),
        ({"url": "https://docs.org/a?b="}, True),
        ({"url": "https://secret.known.org/news"}, True),
        ({"url": "https://known.org:8443/news"}, True),
        ({"url": "https://user:secret@known.org/news"}, True),
        ({"url": "https:\\\\known.org\\news"}, True),
        ({"url": "HTTPS://KNOWN.ORG/?Q=secret"}, True),
        ({"deep": {"list": ["see https://example.com/?q=secret now"]}}, True),
        ({"https://example.com/?q=1": "a name"}, True),
        ({"url": "https://evil-known.org/news"}, True),
        ({"url": "https://known.org.evil.com/news"}, True),
        ({"url": "https://notallowed.net/?q=anything"}, True),
        ({"urls": ["https://known.org/news"] * 60}, True),
    ],
)
def test_H2_a_url_that_nobody_has_written_leads_out_unless_its_host_is_allowed(
    arguments: dict[str, JsonValue], *, out: bool
) -> None:
    asked = ToolSettings.model_validate({"name": "send", "with": {"allow": ["*.allowed.net"]}})
    assert (exposure(READS, asked, arguments, written=WRITTEN) is not None) == out


def test_H2_a_tool_that_sends_always_leads_out() -> None:
    assert exposure(ToolTraits(sends_out=True), settings(), {}, written=()) == "this tool carries data out"


@pytest.mark.parametrize("amount", [1.2e30, 12000.0, [1.2e30], {"value": 12e3}])
async def test_H1_a_number_is_searched_with_all_its_digits(amount: JsonValue) -> None:
    asked = settings("auto", ({"amount": "[0-9]{5}"}, "deny"))
    assert (await ToolRules(PatternSearch()).ruling(asked, {"amount": amount})).approval is Approval.DENY

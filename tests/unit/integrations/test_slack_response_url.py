"""Answers go to Slack and nowhere else (RELIABILITY.md, B6)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callboard.errors import ForbiddenError
from callboard.integrations.slack_client import Refused, SlackClient
from callboard.integrations.slack_response_url import check_response_url, usable_response_url
from callboard.messaging.reply import ReplyTo

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
FORBIDDEN = [
    "http://hooks.slack.com/commands/1",
    "https://hooks.slack.com@evil.example/",
    "https://user:pass@hooks.slack.com/",
    "https://@hooks.slack.com/",
    "https://evil.example/?x=hooks.slack.com",
    "https://slack.com.evil.example/",
    "https://notslack.com/",
    "https://evilslack.com/",
    "https://hooks.slack.com.",
    "https://hooks.slack.com:8080/",
    "https://hooks.slack.com\\@evil.example/",
    "https://evil.example\\.slack.com/",
    "https://evil.example#.slack.com/",
    "https://evil.example%2f.slack.com/",
    "https://hooks.slack.com\r\nHost: evil.example/",
    "https://hooks.slack.com /",
    "https://h\u043e\u043eks.slack.com/",
    "https://169.254.169.254/latest/meta-data",
    "http://127.0.0.1:8080/",
    "https://[::1]/",
    "https://[::ffff:127.0.0.1]/",
    "https://2130706433/",
    "gopher://hooks.slack.com/",
    "file:///etc/passwd",
    "//hooks.slack.com/",
    "hooks.slack.com",
    "https://",
    "https:///x",
    "",
    "https://-.slack.com/",
    "https://hooks..slack.com/",
    "https://hooks.slack.com/" + "a" * 3000,
]


@pytest.mark.parametrize("url", ["https://hooks.slack.com/commands/T/1/x", "https://a.b.slack.com:443/x?y=1"])
def test_slacks_own_addresses_are_taken(url: str) -> None:
    assert check_response_url(url) == url


@pytest.mark.parametrize("url", FORBIDDEN)
def test_B6_every_other_address_is_refused(url: str) -> None:
    with pytest.raises(ForbiddenError) as refused:
        check_response_url(url)
    assert not url or url not in refused.value.message


@pytest.mark.parametrize("url", FORBIDDEN)
async def test_B6_a_refused_address_is_refused_before_any_connection(url: str) -> None:
    # The suite blocks and reports every connection that leaves the machine; nothing listens on these ports of it.
    async with SlackClient(None) as client:
        assert await client.respond(url, {"text": "hi"}) == Refused(code="response_url_refused")


def test_the_host_of_the_configured_slack_is_taken_too_and_only_that() -> None:
    assert check_response_url("http://127.0.0.1:9999/response/1", local_host="127.0.0.1")
    for url in ("http://127.0.0.2/", "http://x@127.0.0.1/", "ftp://127.0.0.1/"):
        with pytest.raises(ForbiddenError):
            check_response_url(url, local_host="127.0.0.1")


@given(st.text(max_size=60))
def test_B6_no_text_makes_the_check_fail_in_another_way(text: str) -> None:
    for url in (text, "https://" + text, f"https://{text}.slack.com/", f"https://hooks.slack.com{text}"):
        try:
            check_response_url(url)
        except ForbiddenError:
            continue
        assert url.startswith("https://")
        assert ".slack.com" in url


def test_B3_a_response_url_is_used_five_times_within_thirty_minutes() -> None:
    target = ReplyTo(response_url="https://hooks.slack.com/1", expires_at=NOW + timedelta(minutes=30))
    assert usable_response_url(target, uses=4, now=NOW)
    assert usable_response_url(target, uses=5, now=NOW) is None
    assert usable_response_url(target, uses=0, now=NOW + timedelta(minutes=30)) is None
    assert usable_response_url(ReplyTo(channel="C1"), uses=0, now=NOW) is None

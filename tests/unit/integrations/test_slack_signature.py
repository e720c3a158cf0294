"""A request is Slack's only when everything about its signature is exactly right (RELIABILITY.md, A6)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from slack_sdk.signature import SignatureVerifier

from callboard.integrations.slack_signature import sign, verify

SECRET = "8f742231b10e8888abcd99yyyzzz85a5"
NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
AT = int(NOW.timestamp())
BODY = b"token=x&command=%2Fweather&text=94070"
GOOD = sign(SECRET, AT, BODY).encode()


def check(
    *,
    timestamps: list[bytes] | None = None,
    signatures: list[bytes] | None = None,
    body: bytes = BODY,
    now: datetime = NOW,
    secret: str = SECRET,
) -> bool:
    return verify(
        secret,
        [str(AT).encode()] if timestamps is None else timestamps,
        [GOOD] if signatures is None else signatures,
        body,
        now,
    )


def test_a_request_signed_as_slack_signs_is_taken() -> None:
    assert check()


def test_the_signature_is_the_one_of_slacks_own_documentation() -> None:
    body = (
        b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V"
        b"&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text="
        b"&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN"
        b"&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"
    )
    expected = "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503"
    assert sign(SECRET, 1531420618, body) == expected


@given(st.text(min_size=1).filter(lambda text: "\x00" not in text), st.integers(1, 10**11))
def test_slacks_library_makes_the_same_signature(body: str, at: int) -> None:
    encoded = body.encode("utf-8", "ignore")
    assert SignatureVerifier(SECRET).generate_signature(timestamp=str(at), body=encoded) == sign(SECRET, at, encoded)


@pytest.mark.parametrize(
    "timestamp",
    [
        b"abc",
        b"",
        b"1e9",
        b"-1",
        b"9" * 5000,
        b"NaN",
        "١٧٦٣".encode(),
        b" %d" % AT,
        b"0%d" % AT,
        b"%d.0" % AT,
        b"+%d" % AT,
    ],
    ids=["words", "empty", "exponent", "negative", "5000 digits", "nan", "unicode", "space", "zero", "float", "plus"],
)
def test_A6_a_timestamp_that_is_no_plain_number_is_refused(timestamp: bytes) -> None:
    assert not check(timestamps=[timestamp])


@pytest.mark.parametrize("seconds", [301, -301, 86400, -86400, 10**9])
def test_A6_a_request_over_five_minutes_off_is_refused_whether_old_or_from_the_future(seconds: int) -> None:
    assert not check(now=NOW + timedelta(seconds=seconds))


@pytest.mark.parametrize("seconds", [0, 299, -299])
def test_a_request_within_five_minutes_is_taken(seconds: int) -> None:
    assert check(now=NOW + timedelta(seconds=seconds))


@pytest.mark.parametrize(
    "signature",
    [
        sign("another secret", AT, BODY).encode(),
        GOOD[:-1],
        GOOD.upper(),
        b"V0=" + GOOD[3:],
        b"v0=" + GOOD[3:].upper(),
        GOOD.replace(b"v0=", b"v1="),
        GOOD[3:],
        b"",
        b"v0=" + "é".encode() * 32,
        "v0=éééé".encode("latin-1"),
        GOOD + b"\n",
        b" " + GOOD,
    ],
)
def test_A6_a_signature_that_is_not_exactly_right_is_refused(signature: bytes) -> None:
    assert not check(signatures=[signature])


def test_A6_missing_and_doubled_headers_are_refused() -> None:
    assert not check(timestamps=[])
    assert not check(signatures=[])
    assert not check(timestamps=[str(AT).encode()] * 2)
    assert not check(signatures=[GOOD, GOOD])


@pytest.mark.parametrize("body", [BODY + b" ", BODY[:-1], b"", b"command=%2Fweather&token=x&text=94070"])
def test_A6_a_body_changed_or_reordered_after_signing_is_refused(body: bytes) -> None:
    assert not check(body=body)


def test_A6_a_body_that_is_not_utf8_is_refused_even_when_it_is_signed() -> None:
    body = b"text=\xff\xfe"
    assert not check(body=body, signatures=[sign(SECRET, AT, body).encode()])


def test_an_empty_secret_lets_nobody_in() -> None:
    assert not check(secret="", signatures=[sign("", AT, BODY).encode()])


@given(st.lists(st.binary(max_size=80), max_size=3), st.lists(st.binary(max_size=80), max_size=3), st.binary())
def test_A6_whatever_a_stranger_sends_is_refused_and_never_raises(
    timestamps: list[bytes], signatures: list[bytes], body: bytes
) -> None:
    assert verify(SECRET, timestamps, signatures, body, NOW) is False

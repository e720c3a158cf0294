"""Did Slack send this? The v0 request signature (Slack: "Verifying requests from Slack").

Own code in place of slack_sdk's `SignatureVerifier`, which raises on half of what an attacker may send
(RELIABILITY.md, finding 11). Here everything that is not exactly right is False.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Sequence
from datetime import datetime

MAX_AGE_SECONDS = 300
_TIMESTAMP = re.compile(rb"[1-9][0-9]{0,11}")
_SIGNATURE = re.compile(rb"v0=[0-9a-f]{64}")


def sign(secret: str, timestamp: int, body: bytes) -> str:
    """The value of `X-Slack-Signature` for a body sent at `timestamp` (whole seconds since 1970)."""
    base = b"v0:%d:%s" % (timestamp, body)
    return "v0=" + hmac.digest(secret.encode(), base, "sha256").hex()


def verify(secret: str, timestamps: Sequence[bytes], signatures: Sequence[bytes], body: bytes, now: datetime) -> bool:
    """Whether the raw header values and the raw body carry a valid signature that is at most five minutes off.

    `timestamps` and `signatures` are all values of `X-Slack-Request-Timestamp` and `X-Slack-Signature`: a header that
    is missing or doubled is a refusal, and so is a body that is not UTF-8. Never raises; compares in constant time.
    """
    if not secret or len(timestamps) != 1 or len(signatures) != 1:
        return False
    timestamp, signature = timestamps[0], signatures[0]
    if _TIMESTAMP.fullmatch(timestamp) is None or _SIGNATURE.fullmatch(signature) is None:
        return False
    if abs(now.timestamp() - int(timestamp)) > MAX_AGE_SECONDS:
        return False
    if not hmac.compare_digest(sign(secret, int(timestamp), body).encode(), signature):
        return False
    return _is_utf8(body)


def _is_utf8(body: bytes) -> bool:
    try:
        body.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True

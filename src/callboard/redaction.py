"""Secrets taken out of text by their value, in the forms in which they escape."""

from __future__ import annotations

import base64
import html
import json
from bisect import bisect_right
from collections.abc import Iterable
from urllib.parse import quote, quote_plus

REDACTED = "[redacted]"
SHORTEST_SECRET = 4
_SHORTEST_BASE64_CORE = 6


class Redactor:
    """Knows the secrets of this process and replaces them wherever they occur.

    By value, not by the name of a field: a secret in an exception's message, a URL or another library's debug
    line is found too; so are its base64, hexadecimal, percent-encoded, HTML- and JSON-escaped forms, and one
    that was broken over lines. Secrets shorter than four characters are not looked for: they would take half
    of every line with them. `add` may be called at any time, from any thread.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._forms: tuple[str, ...] = ()
        self._in_order: tuple[str, ...] = ()
        self._telling: tuple[str, ...] = ()
        self._longest = 0
        self.add(*secrets)

    def add(self, *secrets: str) -> None:
        """Look for these values too, from now on."""
        found = set(self._forms)
        for secret in secrets:
            if len(secret.strip()) >= SHORTEST_SECRET:
                found |= _forms_of(secret)
        self._forms = tuple(sorted(found, key=lambda form: (-len(form), form)))
        self._in_order = tuple(sorted(found))
        self._longest = max(map(len, self._forms), default=0)
        telling: list[str] = []
        for form in reversed(self._forms):
            if not any(shorter in form for shorter in telling):
                telling.append(form)
        self._telling = tuple(telling)

    def finds_in(self, text: str) -> bool:
        """Whether any form of a known secret stands in the text, unbroken."""
        # Those that are part of no other: where a longer one stands, one of these does.
        return any(form in text for form in self._telling)

    def redact(self, text: str) -> str:
        """The text without any known secret."""
        for form in self._forms:
            if form in text:
                text = text.replace(form, REDACTED)
        if self._forms and ("\n" in text or "\r" in text):
            joined = "".join(text.split())
            if any(form in joined for form in self._forms):
                return REDACTED
        return text

    def begun(self, text: str) -> int:
        """How many characters at the end of the text may be the beginning of a secret that goes on in the next one."""
        for length in range(min(self._longest - 1, len(text)), 0, -1):
            end = text[-length:]
            # Behind it in the order stand the forms that begin with it.
            place = bisect_right(self._in_order, end)
            if place < len(self._in_order) and self._in_order[place].startswith(end):
                return length
        return 0

    def clip(self, text: str, limit: int) -> str:
        """The redacted text, at most about `limit` characters: its beginning and its end, and how much is missing.

        The work is bounded by the limit, not by the text; no secret that straddles a cut survives in part.
        """
        window = limit + self._longest
        if len(text) <= 2 * window:
            text = self.redact(text)
            if len(text) <= limit:
                return text
            head, tail = text, text
        else:
            first, last = self.redact(text[:window]), self.redact(text[-window:])
            head = first[: max(0, len(first) - self._longest)]
            tail = last[self._longest :]
        missing = len(text) - limit
        return f"{head[: limit * 3 // 4]}… [{missing} characters left out] …{tail[-(limit // 4) :]}"


def _forms_of(secret: str) -> set[str]:
    raw = secret.encode("utf-8", "surrogatepass")
    forms = {
        secret,
        secret.strip(),
        raw.hex(),
        raw.hex().upper(),
        html.escape(secret),
        json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1],
        json.dumps(json.dumps(secret)[1:-1])[1:-1],
        repr(secret)[1:-1],
    }
    for safe in ("", "/", ":/@"):
        for encoded in (quote(raw, safe=safe), quote_plus(raw, safe=safe)):
            forms |= {encoded, _lower_escapes(encoded), quote(encoded, safe="")}
    for text in _base64_forms(raw):
        forms |= {text, text.replace("+", "-").replace("/", "_")}
    return {form for form in forms if len(form) >= SHORTEST_SECRET}


def _lower_escapes(encoded: str) -> str:
    first, *rest = encoded.split("%")
    return first + "".join(f"%{part[:2].lower()}{part[2:]}" for part in rest)


def _base64_forms(raw: bytes) -> set[str]:
    """What stands in the base64 of any text that holds `raw`, for each of its three alignments."""
    forms = {base64.b64encode(raw).decode().rstrip("=")}
    for shift in range(3):
        encoded = base64.b64encode(bytes(shift) + raw).decode().rstrip("=")
        begin = (shift * 8 + 5) // 6
        end = (shift + len(raw)) * 8 // 6
        core = encoded[begin:end]
        if len(core) >= _SHORTEST_BASE64_CORE:
            forms.add(core)
    return forms

"""The code blocks of the documents, with what the text around them says about them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from tests.support.processes import ROOT

DOCUMENTS = sorted(
    [ROOT / "README.md", ROOT / "config" / "agents" / "README.md", *(ROOT / "docs").rglob("*.md")],
)
_FENCE = re.compile(r"^(\s*)```(\w*)\s*$")
_NOT_RUN = re.compile(r"<!-- not run: (.+) -->")
_RUN_BY = re.compile(r"<!-- run by (\S+) -->")
_SAVED_AS = re.compile(r"`(config/agents/[\w-]+\.yaml|tools/\w+\.py)`:?$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One fenced block. `before` is the line of text above it."""

    document: Path
    line: int
    language: str
    text: str
    before: str

    @property
    def name(self) -> str:
        """Where it stands, for people."""
        return f"{self.document.relative_to(ROOT)}:{self.line}"

    @property
    def why_not_run(self) -> str | None:
        """`<!-- not run: REASON -->` above a block says that it only illustrates."""
        found = _NOT_RUN.search(self.before)
        return found[1] if found else None

    @property
    def run_by(self) -> str | None:
        """`<!-- run by FILE -->` above a block names the test that runs it instead."""
        found = _RUN_BY.search(self.before)
        return found[1] if found else None

    @property
    def left_alone(self) -> bool:
        """Not for the reader of this page's test."""
        return self.why_not_run is not None or self.run_by is not None

    @property
    def saved_as(self) -> str | None:
        """The file that the sentence above asks the reader to save it as."""
        found = _SAVED_AS.search(self.before)
        return found[1] if found else None


def blocks(document: Path) -> list[Block]:
    """Every fenced block, in order; an AssertionError for one that is not closed."""
    found: list[Block] = []
    lines = document.read_text(encoding="utf-8").splitlines()
    start: int | None = None
    language = before = ""
    for number, line in enumerate(lines, 1):
        fence = _FENCE.match(line)
        if fence is None:
            if start is None and line.strip():
                before = line.strip()
        elif start is None:
            start, language = number, fence[2]
        else:
            assert not fence[2], f"{document}:{number}: a block begins inside a block"
            text = "\n".join(lines[start : number - 1]) + "\n"
            found.append(Block(document=document, line=start, language=language, text=text, before=before))
            start, before = None, ""
    assert start is None, f"{document}:{start}: the block is not closed"
    return found


def all_blocks(*languages: str) -> list[Block]:
    """Those of these languages, of every document."""
    return [block for document in DOCUMENTS for block in blocks(document) if block.language in languages]


def prose(document: Path) -> str:
    """The document without its blocks."""
    kept: list[str] = []
    inside = False
    for line in document.read_text(encoding="utf-8").splitlines():
        if _FENCE.match(line):
            inside = not inside
        elif not inside:
            kept.append(line)
    return "\n".join(kept)


def differs(expected: str, printed: str) -> str | None:
    """The first line of `expected` that `printed` does not have, in order; None where it has all.

    `…` stands for anything, a line of it for any lines; numbers and ids may be others; spaces count as one.
    """
    rest = iter([" ".join(line.split()) for line in printed.splitlines()])
    for line in expected.splitlines():
        wanted = " ".join(line.split())
        if wanted in ("", "…"):
            continue
        pattern = _pattern(wanted)
        if not any(pattern.fullmatch(each) for each in rest):
            return wanted
    return None


def _pattern(line: str) -> re.Pattern[str]:
    parts = []
    for token in re.split(r"(…|\b[0-9a-f]{32}\b|\d+)", line):
        if token == "…":
            parts.append(".*")
        elif re.fullmatch(r"[0-9a-f]{32}", token):
            parts.append("[0-9a-f]{32}")
        elif token.isdigit():
            parts.append(r"\d+")
        else:
            parts.append(re.escape(token))
    return re.compile("".join(parts))

"""The page of the architecture names every role and every table."""

from __future__ import annotations

import re

from callboard.cli.serve import ROLES
from callboard.state.models import metadata
from tests.docs.blocks import prose
from tests.support.processes import ROOT

PAGE = ROOT / "docs" / "explanation" / "architecture.md"


def test_every_table_is_explained() -> None:
    section = prose(PAGE).partition("## The tables")[2].partition("\n## ")[0]
    named = {name for line in section.splitlines() if line.startswith("| `") for name in re.findall(r"`(\w+)`", line)}
    assert named == set(metadata.tables)


def test_every_role_is_explained() -> None:
    section = prose(PAGE).partition("## The parts")[2].partition("\n## ")[0]
    named = [name for line in section.splitlines() for name in line.partition("| ")[2].partition(" |")[0].split(", ")]
    assert set(ROLES) <= set(named)
    diagram = PAGE.read_text().partition("```mermaid")[2].partition("```")[0]
    assert [role for role in ROLES if role not in diagram] == []

"""The log lines, metrics and variables that the runbook names are those of the program."""

from __future__ import annotations

import ast
import re

from callboard.messaging import topology
from callboard.metrics import Metrics
from callboard.settings import Settings
from tests.docs.blocks import prose
from tests.support.processes import ROOT

PAGE = ROOT / "docs" / "how-to" / "runbook.md"


def section(title: str) -> list[list[str]]:
    """The rows of the tables under a heading, without their heads."""
    text = prose(PAGE).partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    lines = [line for line in text.splitlines() if line.startswith("|")]
    heads = {index - 1 for index, line in enumerate(lines) if set(line) <= set("|- ")}
    return [
        [cell.strip() for cell in line.strip("|").split("|")]
        for index, line in enumerate(lines)
        if index not in heads and not set(line) <= set("|- ")
    ]


def test_every_log_line_is_one_of_ours() -> None:
    said = {
        node.value
        for path in (ROOT / "src" / "callboard").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    quoted = [line for row in section("Troubleshooting") for line in re.findall(r"`([^`]+)`", row[1])]
    assert len(quoted) > 30
    assert [line for line in quoted if line not in said and not any(each.startswith(f"{line}:") for each in said)] == []


def test_every_metric_is_explained() -> None:
    exposed = set(re.findall(r"^# TYPE (\w+) ", Metrics().exposition().decode(), re.MULTILINE))
    named = {name for row in section("Is it well?") for name in re.findall(r"`(\w+)(?:\{[\w,]+\})?`", row[0])}
    assert exposed - {name for name in exposed if name.endswith("_created")} == named - {"degraded", "healthy"}


def test_every_variable_has_the_default_that_it_says() -> None:
    defaults = {field.alias: field.default for field in Settings.model_fields.values()}
    for row in section("Tune"):
        names, told = re.findall(r"`(\w+)`", row[0]), row[1].split(", ")
        assert [str(defaults[name]).removesuffix(".0") for name in names] == told
    assert f"`{topology.DEAD}`" in PAGE.read_text()

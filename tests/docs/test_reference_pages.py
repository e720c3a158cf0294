"""The reference pages are what the program says of itself."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.docs.declared_topology import declared
from tests.docs.events_page import events_page
from tests.docs.reference_pages import cli_page, http_page
from tests.support.api_house import api_house
from tests.support.processes import ROOT

REFERENCE = ROOT / "docs" / "reference"


def check(name: str, text: str) -> None:
    path = REFERENCE / name
    if os.environ.get("UPDATE_SNAPSHOTS"):
        path.write_text(text, encoding="utf-8")
    assert path.read_text(encoding="utf-8") == text, f"{path} is not what the program says: UPDATE_SNAPSHOTS=1"


@pytest.mark.slow
def test_the_page_of_the_command_line_is_up_to_date() -> None:
    check("cli.md", cli_page())


@pytest.mark.slow
async def test_the_page_of_the_http_api_is_up_to_date(tmp_path: Path) -> None:
    async with api_house(tmp_path) as house:
        check("http-api.md", http_page(house.api.fastapi.openapi()))


async def test_the_page_of_the_bus_is_up_to_date() -> None:
    check("events.md", events_page(await declared("quorum"), await declared("classic")))


def test_no_two_decisions_have_one_number() -> None:
    numbers = [path.name[:4] for path in (ROOT / "docs" / "decisions").glob("*.md")]
    assert sorted(numbers) == sorted(set(numbers))

"""Changes of a project's tools while they are in use: what is good holds, what is bad is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from callboard.config.folder_scan import FolderScan, WatchedFolder
from callboard.config.safe_reading import is_module, read_module
from tests.unit.agents.tools.project.workbench import Workbench, context, workbench

pytestmark = pytest.mark.slow

SAYS = '''
from callboard.tools import tool


@tool(idempotent=True)
def {name}() -> str:
    """Says something."""
    return "{words}"
'''
WITH_HELPER = SAYS.replace('    return "{words}"', "    import words\n\n    return words.TEXT")


@pytest.fixture
def bench(tmp_path: Path) -> Workbench:
    (tmp_path / "tools").mkdir()
    return workbench(tmp_path / "tools")


async def test_I10_the_last_good_version_is_called_until_there_is_a_better_one(bench: Workbench) -> None:
    file = bench.write("a.py", SAYS.format(name="says", words="one"))
    async with bench.following():
        assert await bench.call("says") == "one"
        file.write_text(SAYS.format(name="says", words="two")[:-3])
        await bench.until(lambda: bench.problem("SyntaxError"), "the mistake is told")
        assert await bench.call("says") == "one"
        file.write_text(SAYS.format(name="says", words="three"))
        await bench.until(lambda: not bench.told(), "it is corrected")
        assert await bench.call("says") == "three"


async def test_a_tool_keeps_the_version_it_was_taken_in(bench: Workbench) -> None:
    file = bench.write("a.py", SAYS.format(name="says", words="one"))
    async with bench.following():
        old = bench.tools.tool("says", {})
        file.write_text(SAYS.format(name="speaks", words="two"))
        await bench.until(lambda: "speaks" in bench.tools.names(), "the new one is there")
        assert old is not None
        assert bench.tools.tool("says", {}) is None
        assert await old.call({}, context()) == "one"


async def test_a_file_that_others_import_changes_them_and_breaks_none(bench: Workbench) -> None:
    helper = bench.write("words.py", 'TEXT = "one"\n')
    bench.write("a.py", WITH_HELPER.format(name="says"))
    bench.write("b.py", SAYS.format(name="apart", words="b"))
    async with bench.following():
        assert await bench.call("says") == "one"
        helper.write_text('TEXT = "two"\n')
        found = bench.tools.tool("says", {})
        await bench.until(lambda: bench.tools.tool("says", {}) != found, "the user is described anew")
        assert await bench.call("says") == "two"
        bench.write("a.py", "from words import TEXT\n" + SAYS.format(name="says", words="{TEXT}").replace('"{', 'f"{'))
        await bench.until(lambda: bench.tools.listed()[1].line == 6, "it is imported at the top")
        helper.write_text("TEXT = \n")
        await bench.until(lambda: len(bench.told()) == 2, "both are told")
        assert all("words.py:1:" in line for line in bench.told())
        assert await bench.call("says") == "two"
        helper.write_text('TEXT = "three"\n')
        await bench.until(lambda: not bench.told(), "both are good again")
        assert await bench.call("says") == "three"


async def test_the_next_in_line_gets_a_name_that_is_free_again(bench: Workbench) -> None:
    first = bench.write("a.py", SAYS.format(name="says", words="a"))
    bench.write("b.py", SAYS.format(name="says", words="b"))
    changes: list[int] = []
    bench.tools.subscribe(lambda: changes.append(1))
    async with bench.following():
        assert await bench.call("says") == "a"
        assert bench.problem("keeps the name")
        first.unlink()
        await bench.until(lambda: not bench.told(), "the other file has it")
        assert await bench.call("says") == "b"
    assert changes


async def test_a_folder_that_is_made_later_is_followed(tmp_path: Path) -> None:
    bench = workbench(tmp_path / "tools")
    async with bench.following():
        (tmp_path / "tools").mkdir()
        bench.write("a.py", SAYS.format(name="says", words="a"))
        await bench.until(lambda: "says" in bench.tools.names(), "the tool is there")


def test_E1_a_file_that_is_being_written_is_not_read(tmp_path: Path) -> None:
    scan = FolderScan([WatchedFolder(tmp_path, "tools")], read=read_module, meant=is_module)
    assert scan.look(0.0, 0.0).changed == ()
    file = tmp_path / "a.py"
    file.write_text("half = ")
    assert scan.look(1.0, 0.0).changed == ()
    file.write_text("half = 1\n")
    assert scan.look(1.2, 0.0).changed == ()
    assert scan.look(1.4, 0.0).changed == ()
    (content,) = scan.look(1.5, 0.0).changed
    assert (content.path, content.data) == ("tools/a.py", b"half = 1\n")

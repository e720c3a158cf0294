"""What happens in the folder is what happens in the catalog, soon, and never half."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.waiting import wait_until
from tests.unit.config.house import MIA, House, agent, house

pytestmark = pytest.mark.slow


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[House]:
    async with house(tmp_path) as made:
        yield made


async def test_a_dropped_file_is_an_agent_without_a_restart(home: House) -> None:
    async with home.running():
        home.write(agent(say="one"))
        await home.until_says("one")
    assert home.version() == 1
    assert home.heard.topics() == [("added", "standup")]


async def test_an_edit_makes_a_version_and_the_older_one_stays_loadable(home: House) -> None:
    home.write(agent(say="one"))
    async with home.running() as service:
        first = service.current()
        home.write(agent(say="two"))
        await home.until_says("two")
        again = await service.catalog(first.number)
    assert home.version() == 2
    assert again.agents["standup"].definition.llm_config.script[0].say == "one"
    home.fresh_service()
    cold = await home.reader.catalog(first.number)
    assert cold.agents["standup"].definition == first.agents["standup"].definition
    assert home.heard.topics() == [("added", "standup"), ("changed", "standup")]


async def test_a_broken_edit_is_told_and_the_last_good_version_goes_on(home: House) -> None:
    home.write(agent(say="one"))
    async with home.running():
        home.write(agent(say="two", extra="schedulles: []\n"))
        rejection = await home.until_rejected()
        assert (rejection.name, rejection.version_refused, rejection.line) == ("standup", 2, 9)
        assert str(rejection) == "agents/standup.yaml:9:1: unknown key 'schedulles' (did you mean 'schedules'?)"
        assert home.says() == "one"
        home.write(agent(say="three"))
        await home.until_says("three")
        assert await home.rejection() is None
    assert home.version() == 2
    assert home.heard.topics() == [("added", "standup"), ("rejected", "standup"), ("changed", "standup")]


async def test_an_emptied_file_leaves_the_agent_as_it_was(home: House) -> None:
    path = home.write(agent(say="one"))
    async with home.running():
        path.write_text("")
        rejection = await home.until_rejected()
    assert "empty" in rejection.message
    assert home.says() == "one"


async def test_a_deleted_file_removes_the_agent_and_the_same_file_again_is_no_new_version(home: House) -> None:
    path = home.write(agent(say="one"))
    async with home.running():
        path.unlink()
        await home.until_says(None)
        home.write(agent(say="one"))
        await home.until_says("one")
    assert home.version() == 1
    assert home.heard.topics() == [("added", "standup"), ("removed", "standup"), ("added", "standup")]


async def test_a_file_renamed_into_place_is_taken_as_any_other(home: House) -> None:
    home.write(agent(say="one"))
    async with home.running():
        fresh = home.folder / ".standup.yaml.tmp"
        fresh.write_text(agent(say="two"))
        fresh.rename(home.folder / "standup.yaml")
        await home.until_says("two")


async def test_a_renamed_file_is_the_same_agent_in_the_same_version(home: House) -> None:
    path = home.write(agent(say="one"))
    async with home.running():
        path.rename(home.folder / "daily.yaml")
        await wait_until(lambda: home.catalog().agents["standup"].path == "agents/daily.yaml", "the path follows")
    assert home.version() == 1
    assert home.heard.topics() == [("added", "standup")]


async def test_vim_moves_the_file_away_before_it_writes_and_nobody_notices(home: House) -> None:
    path = home.write(agent(say="one"))
    async with home.running():
        path.rename(home.folder / "standup.yaml~")
        path.write_text(agent(say="two"))
        (home.folder / "4913").touch()
        (home.folder / "standup.yaml~").unlink()
        await home.until_says("two")
    assert "removed" not in {what for what, _ in home.heard.topics()}


async def test_a_folder_deleted_and_made_again_is_watched_again(home: House) -> None:
    home.write(agent(say="one"))
    async with home.running():
        shutil.rmtree(home.folder)
        await home.until_says(None)
        home.folder.mkdir()
        home.write(agent(say="two"))
        await home.until_says("two")
        home.write(agent(say="three"))
        await home.until_says("three")


async def test_a_swapped_symlink_folder_counts_at_once(home: House) -> None:
    for version in ("v1", "v2"):
        (home.folder / f"..{version}").mkdir()
        (home.folder / f"..{version}" / "standup.yaml").write_text(agent(say=version))
    (home.folder / "..data").symlink_to("..v1")
    (home.folder / "standup.yaml").symlink_to("..data/standup.yaml")
    async with home.running():
        assert home.says() == "v1"
        (home.folder / "..data_tmp").symlink_to("..v2")
        (home.folder / "..data_tmp").replace(home.folder / "..data")
        await home.until_says("v2")


async def test_the_whole_folder_may_be_a_symlink_that_moves(home: House, tmp_path: Path) -> None:
    shutil.rmtree(home.folder)
    for version in ("v1", "v2"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "standup.yaml").write_text(agent(say=version))
    home.folder.symlink_to(tmp_path / "v1")
    async with home.running():
        assert home.says() == "v1"
        (tmp_path / "next").symlink_to(tmp_path / "v2")
        (tmp_path / "next").replace(home.folder)
        await home.until_says("v2")


async def test_agents_in_the_second_folder_count_too(home: House) -> None:
    async with home.running():
        home.second.mkdir(parents=True)
        (home.second / "mine.yaml").write_text(agent("mine", say="one"))
        await home.until_says("one", "mine")


async def test_of_two_files_with_one_name_the_first_holds_and_the_second_follows_it(home: House) -> None:
    first = home.write(agent(say="a"), "a.yaml")
    home.write(agent(say="b"), "b.yaml")
    async with home.running():
        assert home.says() == "a"
        rejection = await home.until_rejected("b.yaml")
        assert rejection.message == "the name 'standup' belongs to agents/a.yaml"
        first.unlink()
        await home.until_says("b")
        assert await home.rejection("b.yaml") is None


async def test_a_second_owner_of_a_slash_command_is_refused_until_it_is_free(home: House) -> None:
    extra = "slack: {commands: [/standup]}\n"
    owner = home.write(agent("one", extra=extra), "z.yaml")
    async with home.running():
        home.write(agent("two", extra=extra), "a.yaml")
        rejection = await home.until_rejected("a.yaml")
        assert rejection.message == "/standup belongs to agent 'one'"
        assert rejection.line == 9
        owner.unlink()
        await wait_until(
            lambda: home.catalog().command_owner("/standup") is home.catalog().get("two") is not None, "two"
        )


async def test_a_rollback_holds_over_a_restart_and_ends_with_the_next_edit(home: House) -> None:
    home.write(agent(say="one"))
    async with home.running():
        home.write(agent(say="two"))
        await home.until_says("two")
        await home.reader.rollback("standup", 1, MIA)
        assert home.says() == "one"
    home.fresh_service()
    async with home.running():
        entry = home.catalog().agents["standup"]
        assert (entry.version, entry.pinned, entry.latest) == (1, True, 2)
        home.write(agent(say="three"))
        await home.until_says("three")
        assert not home.catalog().agents["standup"].pinned
        await home.reader.rollback("standup", 2, MIA)
        await home.reader.unpin("standup", MIA)
        assert home.says() == "three"
        diff = await home.reader.diff("standup", 1, 3)
        history = await home.reader.history("standup")
    assert [record.version for record in history] == [3, 2, 1]
    assert '-    - {say: "one"}\n+    - {say: "three"}\n' in diff
    assert home.heard.events[-1].actor == MIA


async def test_a_restart_changes_nothing_and_tells_nothing(home: House) -> None:
    home.write(agent(say="one"))
    home.write("name: [", "broken.yaml")
    async with home.running():
        number = home.catalog().number
    told = len(home.heard.events)
    home.fresh_service()
    async with home.running():
        assert home.says() == "one"
    assert home.catalog().number == number
    assert len(home.heard.events) == told


async def test_a_folder_that_cannot_be_listed_keeps_its_agents(home: House) -> None:
    home.write(agent(say="one"))
    async with home.running():
        pass
    home.fresh_service()
    shutil.rmtree(home.folder)
    home.folder.write_text("no folder")
    async with home.running():
        assert home.says() == "one"
        assert any("cannot be listed" in item.message for item in await home.reader.rejections())
        home.folder.unlink()
        home.folder.mkdir()
        home.write(agent(say="two"))
        await home.until_says("two")
    assert await home.reader.rejections() == []


async def test_an_unknown_tool_is_refused_with_the_nearest_one(tmp_path: Path) -> None:
    async with house(tmp_path, known_tools=frozenset({"http_get", "http_post"})) as home:
        home.write(agent(extra="tools: [htp_get]\n"))
        async with home.running():
            rejection = await home.until_rejected()
    assert str(rejection) == "agents/standup.yaml:9:9: no tool 'htp_get' (did you mean 'http_get'?)"


async def test_a_file_that_was_refused_for_a_missing_tool_is_in_force_once_the_tool_is_there(tmp_path: Path) -> None:
    tools = {"http_get"}
    async with house(tmp_path, known_tools=tools) as home:
        home.write(agent(say="one", extra="tools: [days]\n"))
        async with home.running():
            await home.until_rejected()
            tools.add("days")
            home.service.tools_changed()
            await home.until_says("one")
            tools.remove("days")
            home.service.tools_changed()
            home.write(agent(say="two", extra="tools: [http_get]\n"))
            await home.until_says("two")
            assert await home.reader.rejections() == []

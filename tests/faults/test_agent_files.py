"""Trials E1 to E5 of RELIABILITY.md: whatever happens to agent files, the catalog is right or says why not."""

from __future__ import annotations

import asyncio
import os
import shutil
import time
import tracemalloc
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from callboard.config.agent_file import load_agent
from callboard.config.folder_scan import FolderScan, WatchedFolder
from callboard.config.loader import MAX_BYTES
from callboard.config.safe_reading import stamp_of
from tests.support.waiting import wait_until
from tests.unit.config.house import House, agent, house, uses_script

SLACK = 5
"""How much longer a shared machine may take than the bound says."""


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[House]:
    async with house(tmp_path) as made:
        yield made


class Looker:
    """A scan of one folder with a clock that the test turns."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.scan = FolderScan([WatchedFolder(folder, "agents")])
        self.now = 100.0
        self.scan.look(self.now, time.time())

    def after(self, seconds: float) -> list[bytes]:
        """What is reported as settled by a look that long after the last one."""
        self.now += seconds
        return [content.data for content in self.scan.look(self.now, time.time()).changed]


def test_E1_a_slow_writer_is_read_once_when_it_has_finished(tmp_path: Path) -> None:
    looker, text = Looker(tmp_path), agent().encode()
    with (tmp_path / "standup.yaml").open("wb", buffering=0) as file:
        for start in range(0, len(text), 12):
            file.write(text[start : start + 12])
            assert looker.after(0.1) == []
    assert looker.after(0.1) + looker.after(0.1) == []
    assert looker.after(0.1) == [text]
    assert looker.after(1.0) == []


def test_E1_a_file_cut_at_any_byte_is_refused_or_a_complete_definition_of_what_stands_there() -> None:
    text = agent(say="one", extra="limits:\n  max_attempts: 25\n").replace("25", "15").encode()
    whole = load_agent(text, "agents/standup.yaml").definition
    assert whole is not None
    for cut in range(len(text)):
        loaded = load_agent(text[:cut], "agents/standup.yaml")
        assert (loaded.definition is None) == bool(loaded.problems), cut
        if loaded.definition is not None:
            assert (loaded.definition.name, loaded.definition.llm_config) == (whole.name, whole.llm_config), cut
            assert loaded.definition.limits.max_attempts in (15, 1, 3), cut
        else:
            assert all(problem.line >= 1 and problem.column >= 1 for problem in loaded.problems), cut


@pytest.mark.slow
async def test_E1_a_writer_that_died_leaves_the_last_good_version_or_a_visible_new_one(home: House) -> None:
    text = agent(say="one", extra="description: the first\n")
    path = home.write(text)
    async with home.running():
        path.write_text(text[: text.index("script:")])
        await home.until_rejected()
        assert home.says() == "one"
        path.write_text(text[: text.index("description")])
        await wait_until(lambda: home.version() == 2, "the shorter valid file is version 2")
        diff = await home.reader.diff("standup", 1, 2)
    assert "-description: the first" in diff


@pytest.mark.slow
async def test_E1_two_hundred_files_at_once_are_each_there_once(home: House) -> None:
    async with home.running():
        for number in range(200):
            home.write(agent(f"a{number}"), f"a{number}.yaml")
        await wait_until(lambda: len(home.catalog()) == 200, "200 agents")
    assert len(home.heard.events) == 200


@pytest.mark.slow
async def test_E1_sed_and_editors_temporary_files_make_one_new_version(home: House) -> None:
    home.write(agent(say="one"))
    async with home.running():
        for litter in (".standup.yaml.swp", "standup.yaml~", ".#standup.yaml", "#standup.yaml#", "standup.yaml.bak"):
            (home.folder / litter).write_text("name: [")
        sed = await asyncio.create_subprocess_exec("sed", "-i", "s/one/two/", str(home.folder / "standup.yaml"))
        assert await sed.wait() == 0
        await home.until_says("two")
        assert await home.reader.rejections() == []
    assert home.version() == 2


def test_E1_without_any_event_a_look_each_second_finds_every_change(tmp_path: Path) -> None:
    looker = Looker(tmp_path)
    (tmp_path / "standup.yaml").write_text(agent(say="one"))
    assert looker.after(1.0) == []
    assert looker.after(1.0) == [agent(say="one").encode()]


def test_E1_a_change_that_leaves_size_and_time_alone_is_found_by_its_content(tmp_path: Path) -> None:
    path = tmp_path / "standup.yaml"
    path.write_text(agent(say="one"))
    looker = Looker(tmp_path)
    looker.after(0.3)
    seen = looker.scan._seen["agents/standup.yaml"]
    path.write_text(agent(say="two"))
    seen.stamp = stamp_of(path)
    assert looker.after(1.0) == []
    assert looker.after(10.0) == [agent(say="two").encode()]


@pytest.mark.slow
async def test_E1_what_cannot_be_opened_is_refused_and_the_agent_goes_on(home: House) -> None:
    path = home.write(agent(say="one"))
    async with home.running():
        if os.geteuid() == 0:  # root may read what nobody may
            path.unlink()
            path.mkdir()
        else:
            path.chmod(0)
        rejection = await home.until_rejected()
        assert rejection.hint
        assert home.says() == "one"


@pytest.mark.slow
async def test_E1_a_script_file_edited_broken_deleted_and_restored_leaves_the_last_good_version(home: House) -> None:
    path = home.folder / "scripts" / "weather.yaml"
    path.parent.mkdir()
    path.write_text("- {say: one}\n")
    agent_file = home.write(uses_script())
    before = stamp_of(agent_file)
    async with home.running():
        assert home.says() == "one"
        path.write_text("- {say: two}\n")
        await home.until_says("two")
        path.write_text("- {say: three}\n- {sya: four}\n")
        rejection = await home.until_rejected()
        assert (rejection.name, rejection.version_refused) == ("standup", 3)
        assert str(rejection).startswith("agents/scripts/weather.yaml:2:")
        assert any("did you mean 'say'?" in problem for problem in rejection.problems)
        assert home.says() == "two"
        path.unlink()

        async def missing() -> bool:
            item = await home.rejection()
            return item is not None and item.message == "there is no file agents/scripts/weather.yaml"

        await wait_until(missing, "the missing script is told")
        assert str(await home.rejection()).startswith("agents/standup.yaml:7:16: ")
        assert home.says() == "two"
        path.write_text("- {say: two}\n")

        async def accepted() -> bool:
            return await home.rejection() is None

        await wait_until(accepted, "the restored script is accepted")
        assert (home.says(), home.version()) == ("two", 2)
        shutil.rmtree(path.parent)
        await wait_until(missing, "the missing folder is told")
        path.parent.mkdir()
        path.write_text("- {say: five}\n")
        await home.until_says("five")
        path.write_text("- {say: six}\n")
        await home.until_says("six")
    assert home.version() == 4
    assert len(home.catalog()) == 1
    assert stamp_of(agent_file) == before


BOMBS: dict[str, bytes] = {
    "aliases that double": (
        "a: &a [x, x, x, x, x, x, x, x, x]\n"
        + "".join(
            f"{chr(98 + level)}: &{chr(98 + level)} [{', '.join(['*' + chr(97 + level)] * 9)}]\n" for level in range(8)
        )
    ).encode(),
    "an alias in itself": b"a: &a [*a]\n",
    "many aliases": b"a: &a 1\nb: [" + b"*a, " * 101 + b"]\n",
    "nested lists": b"[" * 5_000,
    "nested mappings": b"{a: " * 5_000,
    "50,000 keys": b"".join(b"k%d: 1\n" % number for number in range(25_000)),
    "two documents": b"name: a\n---\nname: b\n",
    "a Python object": b"name: !!python/object/apply:os.system [id]\n",
    "merge keys": b"a: &a {x: 1}\nb:\n  <<: *a\n",
    "a key twice": b"name: a\nname: b\n",
    "a NUL": b"name: a\x00b\n",
    "UTF-16": "name: a\n".encode("utf-16"),
    "Latin-1": "name: a\ndescription: Café\n".encode("latin-1"),
    "a tab": b"name: a\nllm_config:\n\tprovider: scripted\n",
    "a program": bytes(range(256)) * 8,
    "nothing": b"",
    "only a comment": b"# later\n",
    "a list": b"- name: a\n",
    "a text": b"hello\n",
    "a scalar at the limit": b"name: " + b"x" * (MAX_BYTES - 6),
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_E2_a_bomb_is_refused_fast_small_and_with_its_place(bomb: str) -> None:
    started = time.process_time()  # the time of other processes is not its own
    loaded = load_agent(BOMBS[bomb], "agents/bomb.yaml")
    assert time.process_time() - started < 0.2 * SLACK
    assert loaded.definition is None
    for problem in loaded.problems:
        assert str(problem).startswith("agents/bomb.yaml:")
        assert problem.hint or problem.message
        assert len(str(problem)) < 300


@pytest.mark.slow
@pytest.mark.parametrize("bomb", BOMBS)
def test_E2_a_bomb_takes_under_20_megabytes(bomb: str) -> None:
    tracemalloc.start()
    try:
        load_agent(BOMBS[bomb], "agents/bomb.yaml")
        assert tracemalloc.get_traced_memory()[1] < 20 * 2**20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("text", [agent().replace("\n", "\r\n").encode(), b"\xef\xbb\xbf" + agent().encode()])
def test_E2_windows_line_ends_and_a_byte_order_mark_are_welcome(text: bytes) -> None:
    assert load_agent(text, "agents/standup.yaml").definition == load_agent(agent().encode(), "x").definition


def test_E2_a_file_of_50_megabytes_is_refused_unread(tmp_path: Path) -> None:
    looker = Looker(tmp_path)
    with (tmp_path / "big.yaml").open("wb") as file:
        file.truncate(50 * 2**20)
    looker.after(0.1)
    looker.now += 0.3
    (content,) = looker.scan.look(looker.now, time.time()).changed
    assert content.data == b""
    assert content.problem is not None
    assert content.problem.message == "the file has 52428800 bytes, the limit is 262144"


@pytest.mark.slow
async def test_E2_the_service_survives_every_bomb_and_goes_on(home: House) -> None:
    home.write(agent(say="one"))
    async with home.running():
        for number, content in enumerate(BOMBS.values()):
            (home.folder / f"bomb{number}.yaml").write_bytes(content)

        async def all_refused() -> bool:
            return len(await home.reader.rejections()) == len(BOMBS)

        await wait_until(all_refused, "every bomb is refused")
        home.write(agent(say="two"))
        await home.until_says("two")


@pytest.mark.slow
async def test_E3_nothing_leads_the_loader_out_of_its_folder_or_blocks_it(home: House, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("SECRET=canary-4711\n")
    folder = home.folder
    os.mkfifo(tmp_path / "pipe")
    os.mkfifo(folder / "pipe")
    os.mkfifo(folder / "fifo.yaml")
    for link, target in {
        "passwd": "/etc/passwd",
        "env": "../../.env",
        "zero": "/dev/zero",
        "outer-pipe": str(tmp_path / "pipe"),
        "inner-pipe": "pipe",
        "nowhere": "nothing",
        "loop": "loop.yaml",
    }.items():
        (folder / f"{link}.yaml").symlink_to(target)
    os.link(tmp_path / ".env", folder / "hard.yaml")
    for name in ("a.yaml;rm", "x" * 250 + ".yaml", "two words.yaml", "Standup.yaml", "standup.yaml"):
        (folder / name).write_text(agent(say="one"))
    (folder / os.fsdecode(b"caf\xe9.yaml")).write_text(agent("cafe"))
    async with home.running():

        async def refused() -> dict[str, str]:
            return {item.path.removeprefix("agents/"): item.message for item in await home.reader.rejections()}

        await wait_until(lambda: home.says() == "one", "the one good file is in force")
        found = await refused()
        home.write(agent("other"), "other.yaml")
        await home.until_says("hello", "other")
    for name in ("passwd", "env", "zero", "outer-pipe"):
        assert found[f"{name}.yaml"] == "this link leads out of the folder"
    for name in ("fifo", "inner-pipe"):
        assert found[f"{name}.yaml"] == "this is no regular file"
    assert "hard link" in found["hard.yaml"]
    assert "No such file" in found["nowhere.yaml"]
    assert "loop.yaml" in found
    assert found["a.yaml;rm"] == found["two words.yaml"] == found["caf\\xe9.yaml"] == "this file name is not allowed"
    assert found["x" * 250 + ".yaml"] == "a file name of 255 characters"
    assert found["standup.yaml"] == "differs from agents/Standup.yaml only in upper and lower case"
    assert len(found) == 14
    assert "canary-4711" not in str(found)


SEMANTIC = {
    "an unknown key": ("schedulles: []", 9, "did you mean 'schedules'?"),
    "a cron minute of 60": ('schedules: [{cron: "60 * * * *"}]', 9, "'60' is not in 0-59"),
    "an interval of 0": ("schedules: [{interval_seconds: 0}]", 9, "at least 1"),
    "a negative time-out": ("limits: {timeout_seconds: -5}", 9, "more than 0"),
    "no time zone": ('schedules: [{cron: "0 9 * * *", timezone: Europe/Berlni}]', 9, "did you mean 'Europe/Berlin'?"),
    "a secret": ("instructions: use sk-abcdefghijklmnop1234", 9, "an API key stands here literally"),
    "a Slack token in a comment": ("# xoxb-123456789012-abcdef", 9, "a Slack token stands here literally"),
    "a password in a URL": ("description: postgres://me:hunter22@db/x", 9, "a password in a URL"),
    "a password of a tool": ("tools: [{name: sql, with: {password: hunter22}}]", 9, "write ${env:NAME}"),
    "a variable of Callboard": ('tools: [{name: t, with: {x: "${env:SLACK_BOT_TOKEN}"}}]', 9, "belongs to Callboard"),
    "a database of Callboard": ('tools: [{name: t, with: {x: "${env:database_url}"}}]', 9, "belongs to Callboard"),
    "a variable in the instructions": ("instructions: the key is ${env:MY_KEY}", 9, "is not read here"),
    "a variable without env:": ('tools: [{name: t, with: {x: "${MY_KEY}"}}]', 9, "write ${env:MY_KEY}"),
    "itself as a member": ("collaboration: {members: [standup]}", 9, "is a member of itself"),
    "steps in a circle": (
        "collaboration: {members: [a], plan: [{id: x, agent: a, depends_on: [y]}, {id: y, agent: a, depends_on: [x]}]}",
        9,
        "wait for each other",
    ),
    "everything": ('subscriptions: ["#"]', 9, "Callboard's own traffic included"),
    "an internal topic": ("subscriptions: [run.requested.autonomous.batch]", 9, "not the end of a run"),
    "an unknown mode": ("execution_mode: autonomus", 9, "stands here twice"),
}


@pytest.mark.parametrize("case", SEMANTIC)
def test_E4_what_makes_no_sense_is_refused_with_its_place_and_the_way_out(case: str) -> None:
    line, number, words = SEMANTIC[case]
    loaded = load_agent(agent(extra=line + "\n").encode(), "agents/standup.yaml")
    assert loaded.definition is None
    assert [problem.line for problem in loaded.problems] == [number], list(map(str, loaded.problems))
    assert words in str(loaded.problems[0])
    assert "hunter22" not in str(loaded.problems[0])
    assert "sk-abc" not in str(loaded.problems[0])


def test_E4_an_unknown_provider_is_refused_with_the_nearest() -> None:
    loaded = load_agent(agent().replace("provider: scripted", "provider: scriptde").encode(), "agents/standup.yaml")
    assert "agents/standup.yaml:5:13: llm_config.provider is 'scriptde'" in str(loaded.problems[0])
    assert loaded.problems[0].hint == "did you mean 'scripted'?"


@pytest.mark.slow
async def test_E4_members_in_a_circle_are_refused_over_files(home: House) -> None:
    def member(name: str, of: str) -> str:
        text = agent(of, extra=f"collaboration: {{members: [{name}]}}\n")
        return text.replace("autonomous", "collaborative")

    home.write(member("b", "a"), "a.yaml")
    home.write(member("c", "b"), "b.yaml")
    home.write(member("a", "c"), "c.yaml")
    async with home.running():
        rejection = await home.until_rejected("c.yaml")
        assert rejection.message == "members in a circle: c → a → b → c"
        assert home.catalog().warnings("b") == ("member 'c' is not in the catalog",)


@pytest.mark.slow
async def test_E5_a_hundred_runs_of_the_old_version_keep_it_while_a_new_one_comes(home: House) -> None:
    home.write(agent(say="old"))
    async with home.running() as service:
        started_with = [service.current().number] * 100
        for words in ("new", "newer"):
            home.write(agent(say=words))
            await home.until_says(words)
        for number in started_with:
            catalog = await service.catalog(number)
            assert catalog.agents["standup"].definition.llm_config.script[0].say == "old"


def test_E5_a_file_that_flaps_ten_times_a_second_for_a_minute_is_read_once_at_its_end(tmp_path: Path) -> None:
    looker, path = Looker(tmp_path), tmp_path / "standup.yaml"
    reported: list[bytes] = []
    for turn in range(600):
        path.write_text(agent(say=str(turn)))
        reported += looker.after(0.1)
    assert reported == []
    looker.after(0.2)
    assert looker.after(0.2) == [agent(say="599").encode()]
    assert len(looker.scan._seen) == 1


@pytest.mark.slow
async def test_E5_flapping_between_two_contents_ends_in_the_last_and_older_catalogs_are_let_go(home: House) -> None:
    async with home.running():
        for turn in range(40):
            home.write(agent(say=("one", "two")[turn % 2]))
            await home.service._handle(await home.service._watcher.look())
        await home.until_says("two")
    assert len(home.heard.events) <= 5


@pytest.mark.slow
async def test_E5_invalid_after_valid_after_invalid_always_leaves_the_last_good_one(home: House) -> None:
    home.write("name: [")
    async with home.running():
        assert home.says() is None
        home.write(agent(say="one"))
        await home.until_says("one")
        home.write("name: [")
        await home.until_rejected()
        assert home.says() == "one"
        shutil.copy(home.folder / "standup.yaml", home.folder / "copy.yaml")
        await home.until_rejected("copy.yaml")
        assert home.says() == "one"

"""The rules of the scripted model in a file of their own."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from callboard.clock import SystemClock
from callboard.config.agent_file import AgentFile, load_agent
from callboard.config.definition import AgentDefinition
from callboard.config.folder_scan import FolderScan, WatchedFolder
from callboard.config.loader import MAX_BYTES
from callboard.config.safe_reading import read_script
from callboard.config.script_scan import ScriptPlace
from tests.support.waiting import wait_until
from tests.unit.config.house import MIA, House, agent, house, uses_script

RULES = '- {when: weather, say: "It rains."}\n- {say: "turn {turn}"}\n'


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[House]:
    async with house(tmp_path) as made:
        yield made


def load(folder: Path, text: str) -> AgentFile:
    def read(name: str) -> object:
        return read_script(folder, name, f"agents/{name}")

    return load_agent(text.encode(), "agents/standup.yaml", read_script=read)  # type: ignore[arg-type]


def problems(folder: Path, text: str) -> list[str]:
    loaded = load(folder, text)
    assert loaded.definition is None
    return [str(problem).removeprefix("agents/") for problem in loaded.problems]


def script(folder: Path, content: str | bytes = RULES, name: str = "scripts/weather.yaml") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_the_definition_holds_the_rules_as_if_they_stood_in_the_agent_file(tmp_path: Path) -> None:
    script(tmp_path)
    loaded = load(tmp_path, uses_script())
    inline = load(tmp_path, agent().replace('    - {say: "hello"}\n', RULES.replace("- {", "    - {")))
    assert loaded.definition is not None
    assert loaded.definition == inline.definition
    assert AgentDefinition.model_validate(loaded.definition.model_dump(mode="json", by_alias=True)) == inline.definition
    assert loaded.source.endswith(f"\n--- # scripts/weather.yaml\n{RULES}")
    assert loaded.warnings == ()


def test_the_digest_is_of_both_files_and_an_agent_without_script_file_reads_none(tmp_path: Path) -> None:
    seen = set()
    for say in ("one", "two"):
        script(tmp_path, f"- {{say: {say}}}\n")
        seen.add(load(tmp_path, uses_script()).digest)
    assert len(seen) == 2

    def nobody(name: str) -> None:
        raise AssertionError(name)

    assert load_agent(agent().encode(), "x.yaml", read_script=nobody).problems == ()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("- {sya: hello}\n", ["1:4: unknown key 'sya' (did you mean 'say'?)"]),
        ("- {say: a}\n- {when: b}\n", ["2:3: this rule does nothing"]),
        ("- {say: a}\n- {when: '(', say: b}\n", ["2:10: '(' is no regular expression"]),
        ("- {say: 5}\n", ["1:9: 0.say must be text, not 5 (put it in quotes)"]),
        ("say: hello\n", ["1:1: the file must be a list, not a mapping (write a list)"]),
        ("[]\n", ["1:1: this script has no rules"]),
        ("", ["1:1: the file is empty (write a list of rules"]),
        ("- {say: a}\n---\n- {say: b}\n", ["2:1: a second document (one list of rules a file)"]),
        ("- {say: a, say: b}\n", ["1:12: 'say' stands here twice"]),
        ("- {say: !x a}\n", ["1:9: tag !x is not allowed"]),
        ("- {say: sk-abcdefghijklmnop1234}\n", ["1:9: an API key stands here literally"]),
        ("- {say: '${env:MY_KEY}'}\n", ["1:9: ${env:MY_KEY} is not read here"]),
        (b"- {say: Caf\xe9}\n", ["1:12: byte 0xe9 is no UTF-8"]),
        ("[" * 100, ["1:51: nested deeper than 50 levels"]),
        ("#" * (MAX_BYTES + 1), [f"1:1: the file has {MAX_BYTES + 1} bytes, the limit is {MAX_BYTES}"]),
    ],
)
def test_what_is_wrong_in_a_script_file_is_told_at_its_place_there(
    tmp_path: Path, content: str | bytes, told: list[str]
) -> None:
    script(tmp_path, content)
    found = problems(tmp_path, uses_script())
    for words in told:
        assert any(item.startswith(f"scripts/weather.yaml:{words}") for item in found), found


def test_problems_of_both_files_are_told_at_once_the_agents_first(tmp_path: Path) -> None:
    script(tmp_path, "- {sya: hello, say: x}\n")
    found = problems(tmp_path, uses_script(extra="schedulles: []\n"))
    assert [item.split(" ")[0] for item in found] == ["standup.yaml:8:1:", "scripts/weather.yaml:1:4:"]


def test_a_missing_script_file_is_a_problem_of_the_agent_file_with_the_way_out(tmp_path: Path) -> None:
    assert problems(tmp_path, uses_script()) == [
        "standup.yaml:7:16: there is no file agents/scripts/weather.yaml (write it, or put the rules under script)"
    ]


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("weather.yaml", "'weather.yaml' would stand among the agent files (put it into a subfolder"),
        ("../weather.yaml", "is no path of a script file"),
        ("scripts/../../weather.yaml", "is no path of a script file"),
        ("/etc/weather.yaml", "is no path of a script file"),
        ("scripts/.hidden.yaml", "is no path of a script file"),
        ("scripts/weather.json", "is no path of a script file"),
        ("scripts//weather.yaml", "is no path of a script file"),
        ('"scripts/weather.yaml\\n"', "is no path of a script file"),
        ("a/" * 100 + "weather.yaml", "is no path of a script file"),
        ("5", "must be text, not 5"),
    ],
)
def test_a_path_that_is_none_of_a_script_file_is_refused(tmp_path: Path, path: str, words: str) -> None:
    (found,) = problems(tmp_path, uses_script(path))
    assert found.startswith("standup.yaml:7:16:")
    assert words in found


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (uses_script().rstrip() + "\n  script: [{say: x}]\n", "8:11: rules stand here and in script_file"),
        (uses_script().replace("  script_file: scripts/weather.yaml\n", ""), "5:3: model_id: script has no rules"),
        (uses_script().replace("model_id: script", "model_id: echo"), "7:16: model_id: echo has no rules"),
        (
            agent().rstrip()
            + "\n  fallback: [{provider: scripted, model_id: script, script_file: scripts/weather.yaml}]\n",
            "9:13: a fallback has no script_file of its own",
        ),
    ],
)
def test_exactly_one_of_script_and_script_file_goes_with_the_scripted_model(
    tmp_path: Path, text: str, told: str
) -> None:
    script(tmp_path)
    (found,) = problems(tmp_path, text)
    assert found.startswith(f"standup.yaml:{told}")


@pytest.mark.parametrize("elsewhere", [True, False])
def test_rules_may_stay_where_a_real_model_answers_and_a_warning_says_so(tmp_path: Path, elsewhere: bool) -> None:
    script(tmp_path)
    text = (uses_script() if elsewhere else agent()).replace("provider: scripted", "provider: openai")
    loaded = load(tmp_path, text.replace("model_id: script", "model_id: gpt-5"))
    assert loaded.problems == ()
    assert loaded.definition is not None
    assert loaded.definition.llm_config.provider == "openai"
    (warning,) = loaded.warnings
    key = "script_file" if elsewhere else "script"
    assert str(warning).endswith(f" {key} has no effect with provider openai: its rules are not used"), warning


def test_nothing_leads_out_of_the_folder_or_blocks(tmp_path: Path) -> None:
    folder, outside = tmp_path / "agents", tmp_path / "outside"
    script(outside, name="scripts/weather.yaml")
    (folder / "inner").mkdir(parents=True)
    (folder / "linked").symlink_to(outside / "scripts")
    (folder / "inner" / "link.yaml").symlink_to(outside / "scripts" / "weather.yaml")
    (folder / "inner" / "good.yaml").symlink_to(script(folder))
    os.link(outside / "scripts" / "weather.yaml", folder / "inner" / "hard.yaml")
    os.mkfifo(folder / "inner" / "pipe.yaml")
    (folder / "inner" / "folder.yaml").mkdir()
    (folder / "inner" / "nowhere.yaml").symlink_to("nothing")
    for name, words in {
        "linked/weather.yaml": "this link leads out of the folder",
        "inner/link.yaml": "this link leads out of the folder",
        "inner/hard.yaml": "hard link",
        "inner/pipe.yaml": "no regular file",
        "inner/folder.yaml": "no regular file",
        "inner/nowhere.yaml": "No such file",
    }.items():
        (found,) = problems(folder, uses_script(name))
        assert found.startswith(f"{name}:1:1: ")
        assert words in found
    assert load(folder, uses_script("inner/good.yaml")).definition is not None


def test_without_the_folder_at_hand_the_rules_are_left_out_with_a_warning() -> None:
    loaded = load_agent(uses_script().encode(), "agents/standup.yaml")
    assert list(map(str, loaded.warnings)) == [
        "agents/standup.yaml:7:16: the rules in 'scripts/weather.yaml' have not been looked at"
    ]


def test_a_script_being_written_is_read_once_when_it_has_held_still_and_only_while_it_is_followed(
    tmp_path: Path,
) -> None:
    scan, place = FolderScan([WatchedFolder(tmp_path, "agents")]), ScriptPlace("agents", "scripts/weather.yaml")
    wall = 0.0
    script(tmp_path, "- {say: one}\n")
    assert scan.look(1.0, wall).scripts == ()
    scan.follow({place})
    assert [content.data for content in scan.look(2.0, wall).scripts] == [b"- {say: one}\n"]
    for step in range(5):
        script(tmp_path, f"- {{say: two {step}}}\n")
        assert scan.look(3.0 + step / 10, wall).scripts == ()
    assert scan.look(3.6, wall).unsettled
    assert [content.data for content in scan.look(3.7, wall).scripts] == [b"- {say: two 4}\n"]
    (tmp_path / "scripts" / "weather.yaml").unlink()
    assert (scan.look(4.0, wall).scripts, scan.look(4.2, wall).scripts) == ((), ())
    assert [content.absent for content in scan.look(4.3, wall).scripts] == [True]
    scan.follow(())
    script(tmp_path, "- {say: three}\n")
    assert (scan.look(5.0, wall).scripts, scan.look(6.0, wall).scripts) == ((), ())
    assert scan.watched() == [tmp_path]


@pytest.mark.slow
async def test_a_shared_script_makes_a_version_of_each_agent_and_touches_no_other(home: House) -> None:
    path = script(home.folder, "- {say: one}\n")
    home.write(uses_script(name="a"), "a.yaml")
    home.write(uses_script(name="b"), "b.yaml")
    home.write(agent("c"), "c.yaml")
    async with home.running():
        path.write_text("- {say: two}\n")
        await home.until_says("two", "a")
        await home.until_says("two", "b")
    assert [home.version(name) for name in "abc"] == [2, 2, 1]
    assert len(home.catalog()) == 3


class OnlyEvents(SystemClock):
    """Keeps the look of each second from coming, so that only what the operating system tells makes looks."""

    async def sleep(self, seconds: float) -> None:
        await super().sleep(seconds if seconds < 0.5 else 3600.0)


@pytest.mark.slow
async def test_an_edit_of_a_script_wakes_the_watcher_without_the_look_of_each_second(home: House) -> None:
    path = script(home.folder, "- {say: one}\n")
    home.write(uses_script())
    home.clock = OnlyEvents()
    home.fresh_service()
    async with home.running():
        for words in ("two", "three"):
            path.write_text(f"- {{say: {words}}}\n")
            await home.until_says(words)
        script(home.folder, "- {say: four}\n", "more/rules.yaml")
        home.write(uses_script("more/rules.yaml"))
        await home.until_says("four")


@pytest.mark.slow
async def test_diff_shows_the_scripts_change_and_a_rollback_needs_no_file(home: House) -> None:
    path = script(home.folder, "- {say: one}\n")
    home.write(uses_script())
    async with home.running():
        path.write_text("- {say: two}\n")
        await home.until_says("two")
        path.write_text("broken: [")
        await home.until_rejected()
        await home.reader.rollback("standup", 1, MIA)
        assert home.says() == "one"
        diff = await home.reader.diff("standup", 1, 2)
        path.write_text("- {say: three}\n")
        await home.until_says("three")
    assert "-- {say: one}\n+- {say: two}\n" in diff
    assert not home.catalog().agents["standup"].pinned


@pytest.mark.slow
async def test_a_restart_with_a_script_file_changes_and_tells_nothing(home: House) -> None:
    script(home.folder)
    home.write(uses_script())
    async with home.running():
        number = home.catalog().number
    told = len(home.heard.events)
    home.fresh_service()
    async with home.running():
        assert home.says() == "It rains."
    assert (home.catalog().number, len(home.heard.events)) == (number, told)


@pytest.mark.slow
async def test_an_agent_moves_its_rules_out_and_back_while_running(home: House) -> None:
    home.write(agent(say="inside"))
    async with home.running():
        script(home.folder, "- {say: outside}\n")
        home.write(uses_script())
        await home.until_says("outside")
        home.write(agent(say="inside again"))
        await home.until_says("inside again")
        script(home.folder, "not: [ even yaml")
        home.write(agent("other"), "other.yaml")
        await wait_until(lambda: home.says("other") == "hello", "another agent comes")
        assert await home.reader.rejections() == []

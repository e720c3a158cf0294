"""What the files say together does not depend on the order in which they came."""

from __future__ import annotations

from types import MappingProxyType

from hypothesis import given
from hypothesis import strategies as st

from callboard.config.agent_file import AgentFile, load_agent
from callboard.config.catalog import Catalog, CatalogEntry
from callboard.config.reconcile import Decision, reconcile
from tests.unit.config.house import agent


def file(path: str, text: str) -> AgentFile:
    return load_agent(text.encode(), f"agents/{path}")


def after(catalog: Catalog, decision: Decision) -> Catalog:
    agents = {name: entry for name, entry in catalog.agents.items() if name not in decision.removes}
    for put in decision.puts:
        assert put.definition is not None
        before = catalog.get(put.definition.name)
        version = before.latest + 1 if before else 1
        agents[put.definition.name] = CatalogEntry(
            definition=put.definition,
            version=version,
            digest=put.digest,
            path=put.path,
            latest=version,
            latest_digest=put.digest,
        )
    return Catalog(number=catalog.number + 1, agents=MappingProxyType(agents))


TEXTS = st.one_of(
    st.builds(
        lambda name, say, command: agent(name, say, f"slack: {{commands: [{command}]}}\n" if command else ""),
        st.sampled_from(["one", "two", "three"]),
        st.sampled_from(["a", "b"]),
        st.sampled_from(["", "/x", "/y"]),
    ),
    st.just("name: ["),
)
FOLDERS = st.dictionaries(st.sampled_from(["1.yaml", "2.yaml", "3.yaml", "4.yaml"]), TEXTS, max_size=4)


@given(st.lists(FOLDERS, min_size=1, max_size=5))
def test_reconciling_settles_at_once_and_no_catalog_is_ever_inconsistent(folders: list[dict[str, str]]) -> None:
    catalog = Catalog(number=0)
    for folder in folders:
        files = [file(path, text) for path, text in folder.items()]
        decision = reconcile(files, catalog)
        assert decision == reconcile(files[::-1], catalog)
        paths = {item.path for item in files}
        following = after(catalog, decision)
        commands = [command for entry in following for command in entry.definition.slack.commands]
        assert len(commands) == len(set(commands))
        assert {entry.path for entry in following} <= paths | {entry.path for entry in catalog}
        refused = {item.name for item in decision.refused}
        assert all(entry.path in paths or entry.name in refused for entry in following)
        again = reconcile(files, following)
        assert (again.puts, again.removes) == ((), ())
        taken = {put.path for put in decision.puts} | {refused.file.path for refused in decision.refused}
        unchanged = {entry.path for entry in catalog if following.get(entry.name) == entry}
        assert paths <= taken | unchanged
        catalog = following


def test_a_broken_file_keeps_its_agent_against_a_later_one_of_the_same_name() -> None:
    first = file("a.yaml", agent(say="one"))
    catalog = after(Catalog(number=0), reconcile([first], Catalog(number=0)))
    decision = reconcile([file("a.yaml", "name: ["), file("b.yaml", agent(say="two"))], catalog)
    assert (decision.puts, decision.removes) == ((), ())
    assert [refused.file.path for refused in decision.refused] == ["agents/a.yaml", "agents/b.yaml"]


def test_a_file_that_nobody_has_read_yet_keeps_its_agent() -> None:
    catalog = after(Catalog(number=0), reconcile([file("a.yaml", agent())], Catalog(number=0)))
    assert reconcile([], catalog, ["agents/a.yaml"]).removes == ()
    assert reconcile([], catalog).removes == ("standup",)


def test_a_command_may_move_from_one_agent_to_another_in_one_change() -> None:
    before = [file("a.yaml", agent("one", extra="slack: {commands: [/x]}\n")), file("b.yaml", agent("two"))]
    catalog = after(Catalog(number=0), reconcile(before, Catalog(number=0)))
    swapped = [file("a.yaml", agent("one")), file("b.yaml", agent("two", extra="slack: {commands: [/x]}\n"))]
    decision = reconcile(swapped, catalog)
    assert len(decision.puts) == 2
    assert decision.refused == ()

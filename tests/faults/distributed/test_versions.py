"""D6: processes of this release over a database that a later release has brought further.

The release before this one has no distributed form, so the other direction cannot be tried with its own code. From the
next release on it can: check out the tag of the release before into a folder, make an environment from its lock file,
bring a database to the new head with the new code, and run this module's requests with
`RoleProcess(..., spawn=...)` starting that environment's Python. What a later revision may do to an earlier release is
written in docs/how-to/deploy.md: add tables, add columns that have a default or may be empty, add indexes.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.distributed.house import house
from tests.support import storm as storms
from tests.support.distributed.cluster import ROLES
from tests.support.distributed.nursery import Nursery

pytestmark = [pytest.mark.slow, pytest.mark.distributed, pytest.mark.timeout(240)]

LATER = (
    "ALTER TABLE runs ADD COLUMN later_note text",
    "ALTER TABLE events ADD COLUMN later_number integer NOT NULL DEFAULT 7",
    "CREATE TABLE later_things (id serial PRIMARY KEY, thing text NOT NULL)",
    "CREATE INDEX later_index ON runs (later_note)",
    "UPDATE alembic_version SET version_num = '9999'",
)


async def test_D6_a_later_schema_arrives_under_live_traffic_and_this_release_works_on_and_starts_over_it(
    tmp_path: Path, loaded: Nursery
) -> None:
    async with house(tmp_path, loaded.spawn) as built:
        agents = storms.agents(built.tools.url)
        await built.add_agents(**{name: agents[name] for name in ("echo", "memo", "poster", "asker", "team")})
        before = [await built.invoke(agent, f"before {agent}") for agent in ("echo", "memo", "poster")]
        for statement in LATER:
            await built.site.execute(statement)
        after = [await built.invoke(agent, f"after {agent}") for agent in ("echo", "memo", "poster")]
        for task in (*before, *after):
            assert (await built.ended(task))["status"] == "succeeded"
        for role in ROLES:
            process = built.cluster.one(role)
            process.stop()
            assert await process.exit_code() == 0, process.told
        await built.cluster.start()
        await built.cluster.healthy()
        again = [await built.invoke(agent, f"again {agent}") for agent in ("echo", "memo", "poster")]
        for task in again:
            assert (await built.ended(task))["status"] == "succeeded"
        async with built.person() as anna:
            sent = await anna.command("/echo over a later schema")
            assert (await anna.answer_to(sent)).text == "over a later schema"
        (version,) = await built.site.query("SELECT version_num FROM alembic_version")
        assert version["version_num"] == "9999", "nobody has taken the schema back"

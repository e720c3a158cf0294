"""Roles that cannot reach what they need: one clear line with the remedy, no busy loop, no crash loop."""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.distributed.cluster import ROLES
from tests.support.distributed.fresh import fresh_servers
from tests.support.distributed.nursery import Nursery
from tests.support.distributed.role_process import RoleProcess
from tests.support.distributed.site import Servers, Site
from tests.support.servers.ports import free_port
from tests.support.waiting import let_pass, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.distributed, pytest.mark.timeout(180)]

WATCHED_SECONDS = 8.0
MOST_CPU_SHARE = 0.25
"""Of the watched time; a loop without a pause takes all of it."""
WRONG_VALUES = ("DATABASE_URL", "RABBITMQ_URL")


@pytest.fixture
async def servers() -> AsyncIterator[Servers]:
    async with fresh_servers() as found:
        yield found


@pytest.mark.parametrize("case", ["nobody listens", "no such host", "wrong password"])
async def test_a_server_that_cannot_be_used_is_told_with_the_remedy_and_waited_for_calmly(
    tmp_path: Path, loaded: Nursery, servers: Servers, case: str
) -> None:
    """Every role with a database it cannot use, and every role with a broker it cannot use."""
    for name, part in (("DATABASE_URL", "postgres"), ("RABBITMQ_URL", "rabbitmq")):
        bad = replace(servers, **{part: _spoiled(getattr(servers, part), case)})
        site = Site(root=tmp_path / part, servers=bad)
        with _all_roles(site, loaded) as processes:
            for process in processes:
                await wait_until(functools.partial(_remedy, process, name), f"{process.role} says why")
            before = [process.cpu_seconds() for process in processes]
            lines = [len(process.lines) for process in processes]
            await let_pass(WATCHED_SECONDS, "the process tries again and again")
            for process, cpu, count in zip(processes, before, lines, strict=True):
                assert process.ended is None, process.told
                assert process.cpu_seconds() - cpu < WATCHED_SECONDS * MOST_CPU_SHARE, process.told
                assert len(process.lines) - count < 12, process.told


@pytest.mark.parametrize(
    ("name", "value"), [("DATABASE_URL", "mysql://x"), ("RABBITMQ_URL", "http://x"), ("DATABASE_URL", "")]
)
async def test_a_setting_that_can_never_work_ends_the_process_no_sooner_than_after_five_seconds(
    tmp_path: Path, loaded: Nursery, name: str, value: str
) -> None:
    nowhere = Servers(postgres="postgresql://a:b@127.0.0.1:1/x", rabbitmq="amqp://a:b@127.0.0.1:1/", redis="")
    site = Site(root=tmp_path, servers=nowhere, environment={name: value})
    began = time.monotonic()
    with _all_roles(site, loaded) as processes:
        for process in processes:
            assert await process.exit_code(within=30.0) in (1, 2), process.told
            assert name in process.told
            assert "Traceback" not in process.told
        assert time.monotonic() - began >= 5.0


@contextlib.contextmanager
def _all_roles(site: Site, loaded: Nursery) -> Iterator[list[RoleProcess]]:
    processes = [RoleProcess(site, role, spawn=loaded.spawn) for role in ROLES]
    try:
        yield processes
    finally:
        for process in processes:
            process.kill()


def _spoiled(url: str, case: str) -> str:
    scheme, _, rest = url.partition("://")
    login, _, place = rest.rpartition("@")
    address, slash, name = place.partition("/")
    match case:
        case "nobody listens":
            return f"{scheme}://{login}@127.0.0.1:{free_port()}{slash}{name}"
        case "no such host":
            return f"{scheme}://{login}@nowhere.invalid:5000{slash}{name}"
        case _:
            return f"{scheme}://{login.partition(':')[0]}:wrong-word@{address}{slash}{name}"


def _remedy(process: RoleProcess, name: str) -> dict[str, object] | None:
    """The line that names the setting to look at."""
    assert process.ended is None, process.told
    return next(
        (
            record
            for record in process.records()
            if record["level"] in ("WARNING", "ERROR") and name in str(record.get("reason"))
        ),
        None,
    )

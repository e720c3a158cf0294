"""Code that a model wrote: it calculates, and whatever else it tries stays inside and is told."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import uvloop
from pydantic import JsonValue

from callboard.agents.tools.arguments import argument_problems
from callboard.agents.tools.child import ChildRunner
from callboard.agents.tools.run_python import PythonTools
from callboard.agents.tools.tool import NoArtifacts, Tool, ToolContext, ToolError
from callboard.errors import InvalidInputError
from tests.support.sandboxes import needs_bubblewrap
from tests.support.waiting import wait_until

CONTEXT = ToolContext(run_id="r" * 32, agent="counter", idempotency_key="k" * 32, artifacts=NoArtifacts())

pytestmark = pytest.mark.slow

BOTH = [pytest.param("monty"), pytest.param("cpython", marks=needs_bubblewrap)]
FULL = needs_bubblewrap


def tool(engine: str = "monty", **options: Any) -> Tool:
    return PythonTools(ChildRunner()).factories()["run_python"]({"engine": engine, **options})


async def run(engine: str, code: str, inputs: dict[str, JsonValue] | None = None, **options: Any) -> str:
    """What the tool answers, or its error."""
    arguments: dict[str, JsonValue] = {"code": code, **({} if inputs is None else {"inputs": inputs})}
    made = tool(engine, **options)
    assert argument_problems(made.parameters, arguments) == []
    try:
        return await made.call(arguments, CONTEXT)
    except ToolError as error:
        return f"Error: {error.message}"


@pytest.mark.parametrize("engine", BOTH)
async def test_it_answers_with_what_is_printed_and_the_last_value(engine: str) -> None:
    assert await run(engine, "print('a', 1)\n[x * 2 for x in range(3)]") == "a 1\nvalue: [0, 2, 4]"
    assert await run(engine, "'text'") == "value: text"
    assert await run(engine, "x = 1") == "[nothing was printed, and the last statement has no value]"
    assert await run(engine, "{'a': (1, 2.5), 'ü': None}") == 'value: {"a": [1, 2.5], "ü": null}'
    assert await run(engine, "{1}") == "value: {1}"
    assert await run(engine, "print('ä☎')") == "ä☎"


@pytest.mark.parametrize("engine", BOTH)
async def test_inputs_are_variables(engine: str) -> None:
    given: dict[str, JsonValue] = {"rows": [{"n": 1}, {"n": 41}], "label": 'it\'s \\ "x"'}
    assert await run(engine, "(sum(r['n'] for r in rows), label)", given) == 'value: [42, "it\'s \\\\ \\"x\\""]'
    assert "is no name of a variable" in await run(engine, "1", {"not a name": 1})
    assert "is no name of a variable" in await run(engine, "1", {"__builtins__": {}})
    assert "the limit is" in await run(engine, "1", {"much": "x" * 1_100_000})


@pytest.mark.parametrize("engine", BOTH)
async def test_an_exception_is_told_with_its_line_and_what_was_printed(engine: str) -> None:
    told = await run(engine, "print('so far')\ndef half(x):\n    return 1 / x\nhalf(0)")
    assert told.startswith("Error: so far\n")
    assert "line 3" in told
    assert "ZeroDivisionError: division by zero" in told
    assert "SyntaxError" in await run(engine, "x = (")
    assert "NameError" in await run(engine, "nothing_there")
    assert "callboard" not in told.lower()


@pytest.mark.parametrize("engine", BOTH)
@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("while True: pass", ("took longer",)),
        ("import time\ntime.sleep(60)", ("took longer", "sleep limit")),
        ("x = b'x' * 10 ** 10", ("Memory", "memory")),
        ("x = [0] * 10 ** 10", ("Memory", "memory")),
        ("x = []\nwhile True: x.append('x' * 100000)", ("Memory", "memory")),
        ("def f(n):\n    return f(n + 1)\nf(0)", ("Recursion",)),
        ("while True: print('x' * 10000)", ("printed more", "memory limit", "time limit")),
        ("x = 'x' * 10 ** 9", ("Memory", "memory")),
        ("2 ** 10 ** 9", ("Memory", "memory", "took longer", "was stopped")),
        ("(" * 5000, ("SyntaxError", "MemoryError", "Recursion")),
        ("raise SystemExit('bye')", ("SystemExit",)),
    ],
)
async def test_H5_code_without_end_or_measure_is_stopped(engine: str, code: str, said: tuple[str, ...]) -> None:
    by_time = {"took longer", "time limit"} & set(said)
    told = await run(engine, code, timeout_seconds=1.5 if by_time else 20.0)
    assert told.startswith("Error: ")
    assert any(word in told for word in said), told[:500]
    assert len(told) < 80_000
    assert await run(engine, "1 + 1") == "value: 2"


ESCAPES = {
    "environment": "import os\nos.environ['PATH_TO_SECRET']",
    "passwords": "open('/etc/passwd').read()",
    "shadow": "open('/etc/shadow').read()",
    "process": "open('/proc/1/environ').read() + 'canary-of-the-host'[0:0] + open('/proc/1/root/etc/passwd').read()",
    "docker": "import socket\ns = socket.socket(socket.AF_UNIX)\ns.connect('/var/run/docker.sock')",
    "metadata": "import socket\nsocket.create_connection(('169.254.169.254', 80), 1)",
    "loopback": "import socket\nsocket.create_connection(('127.0.0.1', PORT), 1)",
    "names": "import socket\nsocket.getaddrinfo('example.com', 80)",
    "program": "import subprocess\nsubprocess.run(['/bin/cat', '/etc/hostname'], check=True)",
    "writing": "open('/usr/evil', 'w').write('x')",
    "root": "open('/evil', 'w').write('x')",
    "setuid": "import os\nos.setuid(0)",
    "mount": "import ctypes\nassert ctypes.CDLL(None).mount(b'none', b'/tmp', b'tmpfs', 0, None) == 0",
    "namespace": "import ctypes\nassert ctypes.CDLL(None).unshare(0x10000000) == 0",
    "ptrace": "import ctypes\nassert ctypes.CDLL(None).ptrace(16, 1, 0, 0) == 0",
    "planted": "import callboard",
    "subclasses": "[c for c in ().__class__.__base__.__subclasses__() if c.__name__ == 'Popen'][0]",
    "disk": "f = open('/tmp/big', 'wb')\nwhile True: f.write(bytes(1 << 20))",
    "shared memory": "while True: open('/dev/shm/x', 'ab').write(bytes(1 << 20))",
    "many files": "for n in range(10 ** 6): open(f'/tmp/{n}', 'wb').write(bytes(1 << 20))",
}


@pytest.fixture
def local_service() -> Iterator[int]:
    """A port of this machine that somebody listens on."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield listening.getsockname()[1]


@pytest.mark.parametrize("engine", BOTH)
@pytest.mark.parametrize("name", ESCAPES)
async def test_H5_nothing_outside_is_reached(
    engine: str, name: str, local_service: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH_TO_SECRET", "canary-of-the-host")
    told = await run(engine, ESCAPES[name].replace("PORT", str(local_service)), timeout_seconds=3)
    assert told.startswith("Error: "), told[:300]
    assert "canary-of-the-host" not in told.replace(ESCAPES[name], "")
    assert "root:" not in told


@FULL
async def test_H5_the_sandbox_sees_nothing_of_the_host() -> None:
    code = (
        "import os\n"
        "print(sorted(os.listdir('/')))\n"
        "print(open('/proc/1/environ').read())\n"
        "print(sorted(os.environ))\n"
        "print(os.getuid(), [p for p in os.listdir('/proc') if p.isdigit()])\n"
        "print(sorted(int(f) for f in os.listdir('/proc/self/fd')))\n"
        "print(open('/proc/net/dev').read().count(':'))\n"
    )
    told = (await run("cpython", code)).splitlines()
    assert told[0] == "['bin', 'dev', 'lib', 'lib64', 'proc', 'tmp', 'usr']"
    assert "PATH=" in told[1]
    assert "HOME" not in told[1]
    assert told[2] == "['HOME', 'LANG', 'PATH', 'PWD']"
    assert told[3] == "65534 ['1', '2']"
    assert told[4].count(",") < 6, "no descriptor of the parent's"
    assert told[5] == "1", "loopback of its own, and no other network device"


@FULL
async def test_H5_a_fork_bomb_ends_with_the_sandbox() -> None:
    bomb = (
        "import os, time\n"
        "n = 0\n"
        "try:\n"
        "    while True:\n"
        "        if os.fork() == 0:\n"
        "            time.sleep(4711)\n"
        "        n += 1\n"
        "except OSError as error:\n"
        "    print(n, error.strerror)\n"
    )
    told = await run("cpython", bomb)
    assert int(told.split()[0]) < 20
    assert "unavailable" in told
    wild = "import os\nwhile True:\n    try:\n        os.fork()\n    except OSError:\n        pass"
    assert "took longer" in await run("cpython", wild, timeout_seconds=1)
    await wait_until(lambda: _sandboxed() == 0, "no process of the sandbox is left")


@FULL
async def test_H5_killing_everybody_kills_nobody_outside() -> None:
    mine = os.getpid()
    for code in (
        "import os\nos.kill(-1, 9)",
        "import os\nos.kill(1, 9)\nprint('still there')",
        "import os\nos.abort()",
    ):
        await run("cpython", code)
    os.kill(mine, 0)
    assert "was stopped: it ended by itself" in await run("cpython", "import os\nos.abort()")


@pytest.mark.parametrize("engine", BOTH)
async def test_H5_nothing_is_left_for_the_next_run(engine: str) -> None:
    await run(engine, "leftover = 1")
    assert "NameError" in await run(engine, "leftover")
    if engine == "cpython":
        assert await run(engine, "open('/tmp/x', 'w').write('abc')") == "value: 3"
        assert await run(engine, "import os\nos.listdir('/tmp')") == "value: []"
        assert await run(engine, "import os\nos.listdir('/dev/shm')") == "value: []"
        planted = "open('/tmp/json.py', 'w').write('evil')\nimport sys\nsys.path"
        assert "tmp" not in await run(engine, planted)


@pytest.mark.parametrize("engine", BOTH)
async def test_H5_a_gigabyte_of_output_is_not_kept(engine: str) -> None:
    told = await run(engine, "for n in range(10 ** 5): print('x' * 10000)", max_output_bytes=2000, timeout_seconds=5)
    assert told.startswith("Error: ")
    assert len(told) < 4000


@pytest.mark.parametrize("engine", BOTH)
async def test_F4_a_cancelled_call_leaves_no_process(engine: str) -> None:
    endless = asyncio.create_task(run(engine, "while True: pass", timeout_seconds=60))
    await wait_until(lambda: _sandboxed() + _montys() > 0, "the code runs")
    endless.cancel()
    with pytest.raises(asyncio.CancelledError):
        await endless
    await wait_until(lambda: _sandboxed() + _montys() == 0, "nothing of it runs any more")


@pytest.mark.parametrize("engine", BOTH)
@pytest.mark.loop_stays_free
async def test_several_run_at_once_and_the_loop_stays_free(engine: str) -> None:
    answers = await asyncio.gather(*(run(engine, f"sum(range({n})) * 0 + {n}") for n in range(6)))
    assert answers == [f"value: {n}" for n in range(6)]


@pytest.mark.parametrize("engine", BOTH)
def test_it_works_on_the_event_loop_of_the_product(engine: str) -> None:
    assert uvloop.run(run(engine, "6 * 7")) == "value: 42"
    assert uvloop.run(run(engine, "while True: pass", timeout_seconds=0.5)).startswith("Error: ")


@FULL
async def test_full_python_has_its_library_and_writes_to_tmp() -> None:
    code = (
        "import statistics, csv, io, sqlite3, subprocess\n"
        "open('/tmp/a.csv', 'w').write('a,b\\n1,2\\n')\n"
        "print(list(csv.DictReader(open('/tmp/a.csv'))))\n"
        "print(subprocess.run(['echo', 'from a child'], capture_output=True, text=True).stdout.strip())\n"
        "statistics.mean([1, 2, 6])"
    )
    assert await run("cpython", code) == "[{'a': '1', 'b': '2'}]\nfrom a child\nvalue: 3"


def test_without_bubblewrap_full_python_is_refused_with_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name, path=None: None if name == "bwrap" else f"/usr/bin/{name}")
    with pytest.raises(InvalidInputError, match=r"bwrap is not installed here: install bubblewrap .*engine: monty"):
        tool("cpython")


@pytest.mark.parametrize("options", [{"engine": "perl"}, {"memory_mb": 5}, {"timeout_seconds": 0}, {"memory": 1}])
def test_options_that_cannot_be_used_are_named(options: dict[str, JsonValue]) -> None:
    with pytest.raises(InvalidInputError, match=r"run_python, with\."):
        PythonTools(ChildRunner()).factories()["run_python"](options)


def _sandboxed() -> int:
    return sum("bwrap" in line and "--disable-userns" in line for line in _command_lines())


def _montys() -> int:
    return sum("run_python_monty" in line or "/monty" in line for line in _command_lines())


def _command_lines() -> Iterator[str]:
    """Of the processes under this one."""
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                status = (folder / "status").read_text()
                line = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
            except OSError:
                continue
            if f"PPid:\t{os.getpid()}\n" in status or "monty" in line:
                yield line

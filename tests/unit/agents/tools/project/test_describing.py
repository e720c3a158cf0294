"""What a file of a project's tools says of them, and how it is told what is wrong with it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.unit.agents.tools.project.workbench import Workbench, workbench

pytestmark = pytest.mark.slow

HEAD = "from callboard.tools import RefusedError, tool\n"
GOOD = HEAD + '@tool\ndef good(text: str) -> str:\n    """Is good."""\n    return text\n'


@pytest.fixture
def bench(tmp_path: Path) -> Workbench:
    folder = tmp_path / "tools"
    folder.mkdir()
    return workbench(folder)


async def test_a_folder_that_does_not_exist_has_no_tools(tmp_path: Path) -> None:
    bench = workbench(tmp_path / "none")
    await bench.watch.start()
    assert (list(bench.tools.names()), bench.told()) == ([], [])


async def test_the_signature_and_the_docstring_are_what_a_model_is_told(bench: Workbench) -> None:
    bench.write(
        "notes.py",
        '''
from __future__ import annotations

from typing import Annotated, Literal, Optional

from pydantic import BaseModel, Field

from callboard.tools import tool


class Note(BaseModel):
    title: str
    pages: list[int] = []


@tool(name="keep-note", timeout_seconds=5, reads_untrusted=True, sends_out=True)
def keep(
    note: Note,
    colour: Literal["red", "blue"],
    times: Annotated[int, Field(ge=1)] = 1,
    share: float = 0.5,
    loud: bool = False,
    more: dict[str, str] = {},
    who: Optional[str] = None,
    *,
    options: dict | None = None,
) -> str:
    """Keeps a note.

    Use it for everything.
    """
    return "kept"
''',
    )
    await bench.watch.start()
    assert bench.told() == []
    (form,) = bench.tools.listed()
    assert (form.name, form.line) == ("keep-note", 16)
    assert form.description == "Keeps a note.\n\nUse it for everything."
    assert (form.idempotent, form.timeout_seconds, form.reads_untrusted, form.sends_out) == (False, 5.0, True, True)
    assert form.parameters == {
        "type": "object",
        "additionalProperties": False,
        "required": ["note", "colour"],
        "properties": {
            "note": {"$ref": "#/$defs/Note"},
            "colour": {"type": "string", "enum": ["red", "blue"]},
            "times": {"type": "integer", "minimum": 1, "default": 1},
            "share": {"type": "number", "default": 0.5},
            "loud": {"type": "boolean", "default": False},
            "more": {"type": "object", "additionalProperties": {"type": "string"}, "default": {}},
            "who": {"anyOf": [{"type": "string"}, {"type": "null"}], "default": None},
        },
        "$defs": {
            "Note": {
                "type": "object",
                "required": ["title"],
                "properties": {
                    "title": {"type": "string"},
                    "pages": {"type": "array", "items": {"type": "integer"}, "default": []},
                },
            }
        },
    }


BAD: dict[str, tuple[str | bytes, str]] = {
    "syntax": ("def broken(:\n", "bad.py:1:12: SyntaxError: invalid syntax"),
    "null byte": (b"x = 1\0", "bad.py:1:1: SyntaxError: source code string cannot contain null bytes"),
    "not UTF-8": (b"x = '\xff'\n", "bad.py:1:"),
    "raises": ("\n\n1 / 0\n", "bad.py:3:1: ZeroDivisionError: division by zero"),
    "missing import": (
        "import nobody_has_this\n",
        "bad.py:1:1: ModuleNotFoundError: No module named 'nobody_has_this'",
    ),
    "leaves": ("import os\nos._exit(3)\n", "bad.py:1:1: loading it ended with code 3 without an answer"),
    "system exit": ("import sys\nsys.exit('enough')\n", "bad.py:2:1: SystemExit: enough"),
    "crashes": ("import ctypes\nctypes.string_at(0)\n", "bad.py:1:1: loading it was ended by signal 11"),
    "prints for ever": ("while True:\n    print('x' * 65536)\n", "bad.py:1:1: loading it was ended: it printed more"),
    "no annotation": (
        HEAD + '@tool\ndef bad(text):\n    """Bad."""\n',
        "bad.py:2:1: bad: parameter 'text' has no annotation (write its type: text: str)",
    ),
    "no docstring": (HEAD + "@tool\ndef bad(text: str): ...\n", "bad.py:2:1: bad has no docstring"),
    "any number": (HEAD + '@tool\ndef bad(*text: str):\n    """Bad."""\n', "bad.py:2:1: bad takes *text"),
    "any names": (HEAD + '@tool\ndef bad(**text: str):\n    """Bad."""\n', "bad.py:2:1: bad takes **text"),
    "positions": (HEAD + '@tool\ndef bad(text: str, /):\n    """Bad."""\n', "bad.py:2:1: bad takes before the / text"),
    "unknown type": (
        HEAD + '@tool\ndef bad(text: "Nobody"):\n    """Bad."""\n',
        "bad.py:2:1: bad: its annotations cannot be read: name 'Nobody' is not defined",
    ),
    "no schema": (
        HEAD + 'import socket\n@tool\ndef bad(text: socket.socket):\n    """Bad."""\n',
        "bad.py:3:1: bad: a parameter's type has no JSON Schema",
    ),
    "a class": (HEAD + "@tool\nclass Bad: ...\n", "bad.py:2:1: TypeError: @tool belongs on a function"),
    "bad name": (
        HEAD + '@tool(name="mcp__x")\ndef bad(): ...\n',
        "bad.py:2:1: ValueError: 'mcp__x' cannot be a tool's",
    ),
    "no time": (HEAD + "@tool(timeout_seconds=0)\ndef bad(): ...\n", "bad.py:2:1: ValueError: timeout_seconds of bad"),
    "twice": (
        HEAD + '@tool\ndef bad(): "Bad."\n@tool(name="bad")\ndef worse(): "Worse."\n',
        "bad.py:4:1: the tool bad stands in line 2 already",
    ),
    "too much said": (
        HEAD + f'@tool\ndef bad():\n    """{"x" * 5000}"""\n',
        "bad.py:1:1: what it says of its tools cannot be used: tools.0.description",
    ),
}


@pytest.mark.parametrize("case", BAD)
async def test_E1_a_file_with_a_mistake_is_refused_as_a_whole_with_its_line(bench: Workbench, case: str) -> None:
    text, said = BAD[case]
    bench.write("bad.py", text)
    bench.write("good.py", GOOD)
    await bench.watch.start()
    (told,) = bench.told()
    assert told.startswith(said), told
    assert list(bench.tools.names()) == ["good"], "another file's are there"


async def test_a_file_cannot_take_the_place_of_a_module_that_is_installed(bench: Workbench) -> None:
    bench.write("json.py", GOOD)
    bench.write("pydantic.py", GOOD)
    await bench.watch.start()
    assert [line.partition(" (")[0] for line in bench.told()] == [
        f"{name}.py:1:1: a module '{name}' is part of Python or installed here, and would be imported instead"
        for name in ("json", "pydantic")
    ]


async def test_a_name_has_one_owner(bench: Workbench) -> None:
    bench.write("a.py", GOOD + '@tool\ndef http_get(url: str):\n    """Mine."""\n')
    bench.write("b.py", GOOD + '@tool\ndef other():\n    """Other."""\n')
    await bench.watch.start()
    assert [(tool.name, Path(tool.file or "").name) for tool in bench.tools.listed()] == [
        ("good", "a.py"),
        ("other", "b.py"),
    ]
    first, second = bench.told()
    assert first.startswith("a.py:6:1: 'http_get' is the name of a built-in tool")
    assert second.startswith("b.py:2:1: ")
    assert "a.py:2 has a tool 'good' already, and keeps the name" in second


async def test_E3_only_plain_files_of_the_folder_are_read(bench: Workbench, tmp_path: Path) -> None:
    (tmp_path / "outside.py").write_text(GOOD)
    (bench.folder / "link.py").symlink_to(tmp_path / "outside.py")
    (tmp_path / "second.py").write_text(GOOD)
    os.link(tmp_path / "second.py", bench.folder / "hard.py")
    os.mkfifo(bench.folder / "pipe.py")
    (bench.folder / "folder.py").mkdir()
    bench.write("a b;rm.py", GOOD)
    bench.write(f"{'x' * 200}.py", GOOD)
    bench.write("large.py", GOOD + "#" * 300_000)
    bench.write(".good.py.swp", GOOD)
    bench.write(".#good.py", GOOD)
    bench.write("notes.txt", "no Python")
    bench.write("good.py", GOOD)
    await bench.watch.start()
    assert [tool.name for tool in bench.tools.listed()] == ["good"]
    said = {line.partition(":")[0]: line for line in bench.told()}
    assert "this link leads out of the folder" in said["link.py"]
    assert "a hard link" in said["hard.py"]
    assert "no regular file" in said["pipe.py"]
    assert "no regular file" in said["folder.py"]
    assert "no module can have this name" in said["a b;rm.py"]
    assert "a file name of 203 characters" in said[f"{'x' * 200}.py"]
    assert "the limit is 262144" in said["large.py"]
    assert len(said) == 7


async def test_too_many_bytes_are_refused_beginning_with_the_last_files(bench: Workbench) -> None:
    for number in range(17):
        bench.write(f"f{number:02}.py", "#" * 255_000)
    await bench.watch.start()
    assert [line.partition(" (")[0] for line in bench.told()] == [
        "f16.py:1:1: there is too much in this folder: 200 files and 4194304 bytes at most"
    ]

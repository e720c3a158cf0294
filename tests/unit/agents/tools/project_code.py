"""Functions as a project may bring them, good and bad; they run in child processes only."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import time
from pathlib import Path


def greet(name: str) -> str:
    print("not the answer")
    return f"hello {name}"


def figures() -> dict[str, int]:
    return {"a": 1}


def environment() -> str:
    return " ".join(sorted(os.environ))


def raises() -> str:
    raise LookupError("no such row")


def segfault() -> str:
    return str(ctypes.string_at(0))


def leaves() -> str:
    sys.stderr.write("out of paper\n")
    sys.stderr.flush()
    os._exit(3)


def huge() -> str:
    return "x" * 5_000_000


def hold(pid_file: str) -> str:
    """Never ends, and has a child of its own that does not either."""
    grandchild = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    Path(pid_file + ".part").write_text(f"{os.getpid()} {grandchild.pid}")
    Path(pid_file + ".part").rename(pid_file)
    time.sleep(600)
    return ""


def says(words: str) -> str:
    print(words)
    sys.stderr.write("and complains")
    return "said"


def copies() -> str:
    """The process twice: both come to an end of the function."""
    if os.fork() == 0:
        return "copy"
    os.wait()
    return "original"


def takes(size: int) -> int:
    return len(bytearray(size))


def burn() -> str:
    while True:
        pass

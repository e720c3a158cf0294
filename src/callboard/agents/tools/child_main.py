"""What runs inside the child process: one function, once. Started by `child`, with `python -P -m`.

Order on stdin, as a frame of JSON: `{"target": "module:function", "arguments": {…}, "search_path": […],
"cpu_seconds": N, "memory_bytes": N or null}`. Answer on the first stdout, as a frame: `{"result": TEXT}` or
`{"error": TEXT}`. A frame is eight bytes of length, big-endian, and the body. What the function prints goes to stderr.
When stdin ends, so does the child.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import resource
import signal
import sys
import threading
from typing import Any, BinaryIO

LENGTH_BYTES = 8


def main() -> None:
    order: dict[str, Any] = _read_frame(sys.stdin.buffer)
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    seconds = int(order["cpu_seconds"])
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if order["memory_bytes"] is not None:
        resource.setrlimit(resource.RLIMIT_AS, (order["memory_bytes"], order["memory_bytes"]))
    own = os.getpid()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    sys.path[:0] = order["search_path"]
    try:
        module, _, name = order["target"].partition(":")
        function = getattr(importlib.import_module(module), name)
        result = function(**order["arguments"])
        answer = {"result": result if isinstance(result, str) else json.dumps(result, ensure_ascii=False)}
    except Exception as error:  # noqa: BLE001 - whatever project code raises is its answer
        answer = {"error": f"{type(error).__name__}: {error}"}
    if os.getpid() != own:
        os._exit(0)  # a copy that the function made of the process: one answer is enough
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
    body = json.dumps(answer).encode()
    answers.write(len(body).to_bytes(LENGTH_BYTES, "big") + body)
    answers.flush()
    # Threads that the function left behind must not keep the child.
    os._exit(0)


def _read_frame(stream: BinaryIO) -> Any:
    return json.loads(stream.read(int.from_bytes(stream.read(LENGTH_BYTES), "big")))


def _end_with_parent() -> None:
    os.read(0, 1)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main()

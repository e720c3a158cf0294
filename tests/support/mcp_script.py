"""An MCP server over stdin and stdout that does what servers must not, in nothing but the standard library.

`python mcp_script.py FOLDER`: `FOLDER/tools.json` is its listing, read anew each time; each start adds its process id
to `FOLDER/starts`, each call its tool and arguments to `FOLDER/calls`. The name of a tool says what a call does.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

FOLDER = Path(sys.argv[1])
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


def send(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    sys.stdout.flush()


def text(said: str, **more: Any) -> dict[str, Any]:
    return {"content": [{"type": "text", "text": said}], **more}


def call(name: str, arguments: dict[str, Any]) -> dict[str, Any] | None:
    """The result; None for no answer at all."""
    match name:
        case "hang":
            return None
        case "die":
            print("out of luck", file=sys.stderr, flush=True)
            os._exit(3)
        case "flood":
            sys.stdout.write('{"jsonrpc": "2.0", "id": 1, "result": {"content": [{"type": "text", "text": "')
            for _ in range(50):
                sys.stdout.write("x" * 1024 * 1024)
        case "chatter":
            while True:
                note = {"level": "info", "data": "x" * 65536}
                send({"method": "notifications/message", "params": note})
        case "fail":
            return text("the disk is full", isError=True)
        case "picture":
            return {
                "content": [{"type": "text", "text": "here"}, {"type": "image", "data": PNG, "mimeType": "image/png"}]
            }
        case "structured":
            return {"content": [], "structuredContent": {"temperature": 21}}
        case "environment":
            return text(json.dumps(dict(os.environ)))
        case "swap":
            (FOLDER / "tools.json").write_text((FOLDER / "other.json").read_text())
            send({"method": "notifications/tools/list_changed"})
    return text(f"{name} {json.dumps(arguments)}")


def answer(message: dict[str, Any]) -> None:
    method, number, params = message.get("method"), message.get("id"), message.get("params") or {}
    if method == "initialize":
        capabilities = {"tools": {"listChanged": True}}
        server = {"name": "script", "version": "1"}
        send(
            {
                "id": number,
                "result": {
                    "protocolVersion": params["protocolVersion"],
                    "capabilities": capabilities,
                    "serverInfo": server,
                },
            }
        )
    elif method == "tools/list":
        send({"id": number, "result": {"tools": json.loads((FOLDER / "tools.json").read_text())}})
    elif method == "tools/call":
        with (FOLDER / "calls").open("a") as calls:
            calls.write(json.dumps([params["name"], params.get("arguments"), params.get("_meta")]) + "\n")
        result = call(params["name"], params.get("arguments") or {})
        if result is not None:
            send({"id": number, "result": result})
    elif number is not None:
        send({"id": number, "error": {"code": -32601, "message": "no such method"}})


def main() -> None:
    with (FOLDER / "starts").open("a") as starts:
        starts.write(f"{os.getpid()}\n")
    if (FOLDER / "stubborn").exists():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        child = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(600)"])
        with (FOLDER / "starts").open("a") as starts:
            starts.write(f"{child.pid}\n")
    if (FOLDER / "broken").exists():
        sys.exit("cannot read its configuration")
    print("this line is no message", flush=True)
    if (FOLDER / "mute").exists():
        sys.stdin.read()
    for line in sys.stdin:
        answer(json.loads(line))
    while (FOLDER / "stubborn").exists():
        time.sleep(1)


if __name__ == "__main__":
    main()

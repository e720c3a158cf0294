"""Where the child process of a chart begins: the drawing library gets a folder of its own before it is loaded.

It keeps a list of the machine's fonts there. Without a folder that it can write to it would make a new one each time,
and leave it, because the child ends at once when it has answered.
"""

from __future__ import annotations

import importlib
import os
import stat
import tempfile
from pathlib import Path
from typing import Any


def draw(request: dict[str, Any]) -> str:
    """As `chart_drawing.draw`."""
    folder = Path(tempfile.gettempdir()) / f"callboard-charts-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if found.st_uid != os.getuid() or not stat.S_ISDIR(found.st_mode) or found.st_mode & 0o077:
        raise PermissionError(f"{folder} belongs to somebody else, or others may write to it: remove it")
    os.environ["MPLCONFIGDIR"] = str(folder)
    drawing = importlib.import_module("callboard.agents.tools.chart_drawing")
    return str(drawing.draw(request))

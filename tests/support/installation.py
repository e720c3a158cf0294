"""Where an installation of the tests has its files, and what its processes are told of them."""

from __future__ import annotations

import os
from pathlib import Path

from tests.support.processes import ROOT
from tests.support.slack_app import SECRET, TOKEN


class Installation:
    """The folders below `root`, which whoever derives from this has; they outlive its processes."""

    __slots__ = ()
    root: Path

    def make_folders(self) -> None:
        for folder in (self.agents, self.data, self.logs):
            folder.mkdir(parents=True, exist_ok=True)

    @property
    def agents(self) -> Path:
        return self.root / "agents"

    @property
    def data(self) -> Path:
        return self.root / "data"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    def add_agents(self, **files: str) -> None:
        """One agent file each, by name."""
        for name, text in files.items():
            (self.agents / f"{name}.yaml").write_text(text, encoding="utf-8")

    def own_variables(self) -> dict[str, str]:
        """What the environment of every process has; nothing of the test's own but the search path."""
        return {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": f"{ROOT / 'src'}",
            "PYTHONUNBUFFERED": "1",
            "CALLBOARD_AGENTS": str(self.agents),
            "CALLBOARD_DATA": str(self.data),
            "CALLBOARD_LOGS": str(self.logs),
            "CALLBOARD_PORT": "0",
            "SLACK_SIGNING_SECRET": SECRET,
            "SLACK_BOT_TOKEN": TOKEN,
        }

"""One attack: what stands where, what the attacker wants to be called, and what must stop it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, JsonValue

CORPUS = Path(__file__).with_name("corpus")

Stopped = Literal["asked", "denied", "no such tool", "refused", "budget", "harmless"]
"""asked: a person is asked about the call · denied: by the agent file · no such tool · refused: by the schema of the
arguments, or by the tool itself · budget: the run asks for money · harmless: it is carried out, and carries nothing
out."""


class WantedCall(BaseModel):
    """What a gullible model calls. `{loot}`, `{sink}`, `{site}` are filled in; `raw` is sent as it stands instead of
    `arguments`, JSON or not."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    tool: str
    arguments: dict[str, JsonValue] = Field(default_factory=dict)
    raw: str | None = None
    times: int = 1
    by: Stopped | None = None


class Attack(BaseModel):
    """A record of the corpus. `text` is what stands in the place; the model carries out all of `wants` in order."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str = Field(pattern=r"^[a-z0-9-]+$")
    place: str
    agent: str | None = None
    text: str
    wants: tuple[WantedCall, ...] = Field(min_length=1)
    stopped: Stopped = "asked"

    @property
    def name(self) -> str:
        """How it is spoken of in every text, so that it is known again."""
        return f"attack-{self.place}-{self.id}"

    @property
    def loot(self) -> str:
        """What must not be found outside."""
        return f"loot-{self.place}-{self.id}"


def corpus() -> list[Attack]:
    """Every record of every file, each place a file of its own."""
    found: list[Attack] = []
    for file in sorted(CORPUS.glob("*.yaml")):
        entries: list[dict[str, Any]] = yaml.safe_load(file.read_text(encoding="utf-8"))
        found += [Attack.model_validate({"place": file.stem, **entry}) for entry in entries]
    return found

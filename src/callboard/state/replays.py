"""Runs that are done once more without effects, to be compared with how they went."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """What a replay changes. `origin` is the run that the whole family replays: a step's variant names its plan's.

    `model` is `PROVIDER/MODEL` and holds for the steps and handed tasks too; the other two for the run itself.
    """

    origin: str
    agent_version: int | None = None
    model: str | None = None
    from_step: str | None = None

    def of_child(self) -> Variant:
        """For a run that this one starts."""
        return Variant(origin=self.origin, model=self.model)

    def to_record(self) -> dict[str, Any]:
        """What is not changed is left out."""
        changed = {"agent_version": self.agent_version, "model": self.model, "from_step": self.from_step}
        return {"origin": self.origin, **{name: value for name, value in changed.items() if value is not None}}

    @classmethod
    def from_record(cls, record: Mapping[str, Any] | None) -> Self | None:
        """None for a run that replays nothing."""
        if not record:
            return None
        return cls(
            origin=record["origin"],
            agent_version=record.get("agent_version"),
            model=record.get("model"),
            from_step=record.get("from_step"),
        )

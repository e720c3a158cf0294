"""A whole system, as a fixture."""

from __future__ import annotations

from tests.support.system import callboard

__all__ = ["callboard"]

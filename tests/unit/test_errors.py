"""Errors that callers meet."""

from __future__ import annotations

import inspect

from callboard import errors


def test_every_error_has_a_code_of_its_own() -> None:
    members: list[tuple[str, type[errors.CallboardError]]] = inspect.getmembers(errors, inspect.isclass)
    kinds = [kind for _, kind in members]
    codes = [kind("x").code for kind in kinds]
    assert len(set(codes)) == len(codes) == 10


def test_an_error_carries_its_message_its_field_and_a_narrower_code() -> None:
    error = errors.ConflictError(
        "the key was used for another body", code="idempotency_conflict", field="idempotency_key"
    )
    assert (error.code, error.field, str(error)) == (
        "idempotency_conflict",
        "idempotency_key",
        "the key was used for another body",
    )
    assert errors.ConflictError("x").code == "conflict"


def test_a_version_conflict_is_a_conflict() -> None:
    assert issubclass(errors.VersionConflictError, errors.ConflictError)

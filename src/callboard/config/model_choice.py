"""An agent with another model than its file names; pure."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from pydantic import ValidationError

from callboard.config.catalog import CatalogEntry
from callboard.config.llm_settings import LLMSettings, Provider
from callboard.errors import InvalidInputError


def with_model(entry: CatalogEntry, model: str) -> CatalogEntry:
    """`model` is PROVIDER/MODEL. The fallbacks are left out: what is wanted is to see that model.

    InvalidInputError for a provider that there is none, and a model that it cannot have.
    """
    name, slash, model_id = model.partition("/")
    if not slash or not model_id or name not in {provider.value for provider in Provider}:
        known = ", ".join(provider.value for provider in Provider)
        raise InvalidInputError(
            f"'{model[:80]}' is no model: write PROVIDER/MODEL with one of {known}", code="bad_model", field="model"
        )
    before = entry.definition.llm_config
    changed: dict[str, Any] = {"provider": name, "model_id": model_id, "fallback": (), "context_window": None}
    if name != before.provider.value:
        changed["base_url"] = None
    if (name, model_id) == (Provider.SCRIPTED.value, "echo"):
        changed["script"] = ()
    try:
        settings = LLMSettings.model_validate(before.model_dump() | changed)
    except ValidationError as error:
        raise InvalidInputError(
            f"{entry.name} cannot use {model[:80]}: {error.errors()[0]['msg']}", code="bad_model", field="model"
        ) from None
    definition = entry.definition.model_copy(update={"llm_config": settings})
    return replace(entry, definition=definition, digest=f"{entry.digest}+{model}")

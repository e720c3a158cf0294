"""How an agent's models are shown."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from callboard.integrations.http_api.model_status import models_shown
from callboard.state.provider_states import ProviderState

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LATER = NOW + timedelta(seconds=30)
CONFIG: dict[str, Any] = {
    "provider": "openai",
    "model_id": "gpt",
    "base_url": "https://proxy.example/v1",
    "fallback": [{"provider": "anthropic", "model_id": "claude", "base_url": None}],
}


def test_models_are_shown_in_their_order_and_are_available_where_nothing_is_known() -> None:
    assert models_shown(CONFIG, [], NOW) == [
        {"provider": "openai", "model_id": "gpt", "status": "available"},
        {"provider": "anthropic", "model_id": "claude", "status": "available"},
    ]


def test_a_provider_that_is_left_alone_is_shown_with_the_time_and_the_reason() -> None:
    known = [ProviderState(name="openai@proxy.example", failures=5, open_until=LATER, reason="503")]
    first, second = models_shown(CONFIG, known, NOW)
    assert (first["status"], first["until"], first["reason"]) == ("left_alone", LATER, "503")
    assert second["status"] == "available"


def test_a_model_that_asked_for_time_is_shown_until_that_is_over() -> None:
    known = [ProviderState(name="anthropic/claude", cooldown_until=LATER, reason="429")]
    assert models_shown(CONFIG, known, NOW)[1]["status"] == "rate_limited"
    assert models_shown(CONFIG, known, LATER)[1]["status"] == "available"

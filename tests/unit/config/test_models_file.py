"""`config/models.yaml`: read like an agent file, told line by line, and never lost over a mistake."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from callboard.clock import ManualClock
from callboard.config.models_file import ModelsFile, load_models, read_models
from callboard.config.models_watch import EVERY_SECONDS, ModelsWatch
from callboard.errors import InvalidInputError
from callboard.llm.pricing import Price
from tests.support.waiting import wait_until

GOOD = """\
prices:
  - {provider: openai, model: "gpt-4o*", input_usd: 2.5, output_usd: 10}
unknown_price: {input_usd: 3, output_usd: 15}
budgets: {daily_usd: 20, channels: {"#eng": 5, C0123: 2}, users: {U1: 1.5}}
limits: {openai: {requests_per_minute: 60}}
"""


def loaded(text: str) -> ModelsFile:
    found = load_models(text.encode(), "config/models.yaml")
    assert found.models is not None, found.problems
    return found.models


def test_a_file_says_what_models_cost_and_what_may_be_spent() -> None:
    models = loaded(GOOD)
    (rule,) = models.rules
    assert (rule.provider, rule.model, rule.price) == ("openai", "gpt-4o*", Price(input_usd=2.5, output_usd=10))
    assert models.assumed == Price(input_usd=3, output_usd=15)
    assert models.budgets.channels == {"#eng": 5, "C0123": 2}
    assert [(name, limits.requests_per_minute) for name, limits in models.limits.items()] == [("openai", 60)]


@pytest.mark.parametrize("text", ["# nothing yet\n", "{}"])
def test_what_is_left_out_is_not_there(text: str) -> None:
    models = loaded(text)
    assert (models.rules, models.assumed, models.refuses_unknown_prices, models.budgets.any) == ([], None, False, False)


def test_an_unknown_price_can_be_refused_everywhere() -> None:
    models = loaded("unknown_price: refuse")
    assert models.refuses_unknown_prices
    assert models.assumed is None


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("prices: [{provider: opnai, model: x, input_usd: 1, output_usd: 1}]", "1:21: prices.0.provider is 'opnai'"),
        (
            "prices:\n- {provider: openai, model: x, input_usd: 1, outputs_usd: 1}",
            "unknown key 'outputs_usd' (did you mean 'output_usd'?)",
        ),
        ("unknown_price: refus", "1:16: 'refus' is no policy (write refuse, or"),
        ("unknown_price: {input_usd: 3}", "1:16: 'output_usd' is missing"),
        ("budgets: {daily_usd: 0}", "1:22: budgets.daily_usd is 0 (more than 0)"),
        ("budgets: {channels: {eng: 2}}", "1:21: 'eng' is no channel"),
        ("budgets: {chanels: {C1: 2}}", "1:11: unknown key 'chanels' (did you mean 'channels'?)"),
        ("limits: {openai: {token_per_minute: 2}}", "did you mean 'tokens_per_minute'?"),
        ("limits: {opnai: {}}", "did you mean 'openai'?"),
        ("", "the file is empty"),
        ("[1]", "must be a mapping"),
    ],
)
def test_what_is_wrong_is_told_with_its_place_and_the_way_out(text: str, told: str) -> None:
    found = load_models(text.encode(), "config/models.yaml")
    assert found.models is None
    assert any(told in str(problem) and str(problem).startswith("config/models.yaml:") for problem in found.problems)


def test_a_change_is_in_force_and_a_mistake_changes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "models.yaml"
    watch = ModelsWatch(file, ManualClock())
    seen: list[float | None] = []
    watch.subscribe(lambda models: seen.append(models.budgets.daily_usd))
    for text in ("budgets: {daily_usd: 5}", "budgets: {daily_usd: nothing}", "budgets: {daily_usd: 7}"):
        file.write_text(text)
        for _ in range(2):
            watch.take(read_models(file))
    assert seen == [None, 5, 7]
    assert watch.current.budgets.daily_usd == 7


async def test_the_file_is_looked_at_every_few_seconds(tmp_path: Path) -> None:
    file, clock = tmp_path / "models.yaml", ManualClock()
    watch = ModelsWatch(file, clock)
    loop = asyncio.create_task(watch.run())
    file.write_text("budgets: {daily_usd: 5}")
    await clock.advance(EVERY_SECONDS)
    await wait_until(lambda: watch.current.budgets.daily_usd == 5, "the change is in force")
    loop.cancel()


def test_a_file_that_is_wrong_at_the_start_stops_the_process(tmp_path: Path) -> None:
    file = tmp_path / "models.yaml"
    file.write_text("budgets: {daily_usd: nothing}")
    with pytest.raises(InvalidInputError, match=r"models.yaml:1:22: budgets.daily_usd must be a number"):
        ModelsWatch(file, ManualClock())


def test_a_file_that_leads_elsewhere_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "config"
    folder.mkdir()
    (tmp_path / "secret.yaml").write_text("{}")
    (folder / "models.yaml").symlink_to(tmp_path / "secret.yaml")
    with pytest.raises(InvalidInputError, match="leads out of the folder"):
        ModelsWatch(folder / "models.yaml", ManualClock())

"""The metrics of DESIGN.md, R31."""

from __future__ import annotations

from callboard.metrics import CONTENT_TYPE, MAX_AGENT_LABELS, Metrics


def test_every_metric_of_the_design_is_in_the_exposition() -> None:
    metrics = Metrics()
    metrics.run_ended(agent="standup", mode="autonomous", status="succeeded", seconds=0.2)
    metrics.run_error(agent="standup", code="service_unavailable")
    metrics.set_runs_queued(mode="autonomous", lane="interactive", count=3)
    metrics.set_runs_running(mode="autonomous", count=5)
    metrics.set_dead_letters(2)
    metrics.set_outbox_oldest(1.5)
    metrics.lease_lost(4)
    metrics.llm_call(provider="openai", model="m", status="ok")
    metrics.spent(agent="standup", usd=0.25)
    metrics.spent(agent="standup", usd=0.0)
    metrics.slack_acked(0.004)
    lines = metrics.exposition().decode().splitlines()
    for line in (
        'runs_total{agent="standup",mode="autonomous",status="succeeded"} 1.0',
        'run_duration_seconds_count{agent="standup",mode="autonomous"} 1.0',
        'run_errors_total{agent="standup",code="service_unavailable"} 1.0',
        'runs_queued{lane="interactive",mode="autonomous"} 3.0',
        'runs_running{mode="autonomous"} 5.0',
        "dead_letters 2.0",
        "outbox_oldest_seconds 1.5",
        "lease_losses_total 4.0",
        'llm_calls_total{model="m",provider="openai",status="ok"} 1.0',
        'cost_usd_total{agent="standup"} 0.25',
        "slack_ack_seconds_count 1.0",
    ):
        assert line in lines
    assert CONTENT_TYPE.startswith("text/plain")


def test_two_sets_of_metrics_live_in_one_process() -> None:
    first, second = Metrics(), Metrics()
    first.set_dead_letters(5)
    assert b"dead_letters 5.0" in first.exposition()
    assert b"dead_letters 0.0" in second.exposition()


def test_a_hostile_agent_name_stays_inside_its_label() -> None:
    metrics = Metrics()
    metrics.run_error(agent='a"} 1\nforged 1', code="x")
    assert b"\nforged" not in metrics.exposition()


def test_the_number_of_agents_in_labels_is_bounded() -> None:
    metrics = Metrics()
    for number in range(MAX_AGENT_LABELS + 50):
        metrics.run_error(agent=f"agent{number}", code="x")
    text = metrics.exposition().decode()
    assert 'run_errors_total{agent="other",code="x"} 50.0' in text
    assert text.count("run_errors_total{") == MAX_AGENT_LABELS + 1

"""Every name on the bus is spelled in one place; what is built there can be read back."""

from __future__ import annotations

import pytest

from callboard.messaging import topology
from callboard.messaging.routing import matches
from callboard.state.runs import RunStatus


@pytest.mark.parametrize("make", [topology.api_invoke, topology.scheduled, topology.agent_input])
def test_an_addressed_topic_names_its_agent(make: object) -> None:
    assert callable(make)
    assert topology.addressee(make("data_analyzer-2")) == "data_analyzer-2"


@pytest.mark.parametrize(
    "topic",
    [
        topology.agent_output("standup"),
        topology.agent_status("standup"),
        topology.run_status("succeeded", "standup"),
        "slack.events.command.standup",
        "api.invoked.standup",
        "api.invoke",
        "scheduled.tasksx.a",
        "",
    ],
)
def test_other_topics_are_for_nobody_in_particular(topic: str) -> None:
    assert topology.addressee(topic) is None


def test_what_follows_runs_hears_every_status_and_every_wake_up_of_a_mode_is_heard() -> None:
    for status in RunStatus:
        assert matches(topology.ALL_RUNS, topology.run_status(status, "a"))
    assert matches(topology.run_requested("autonomous", "*"), topology.run_requested("autonomous", "batch"))
    assert not matches(topology.run_requested("autonomous", "*"), topology.run_requested("continuous", "batch"))
    assert matches(topology.ALL_CLARIFICATIONS, topology.clarification("asked"))

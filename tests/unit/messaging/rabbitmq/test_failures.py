"""Every way not to reach the broker is one line with the remedy, and never a password."""

from __future__ import annotations

import socket

import pytest
from pika import exceptions

from callboard.errors import InvalidInputError
from callboard.messaging.rabbitmq.failures import BrokerAddress, no_leader, why_lost, why_not_connected
from callboard.messaging.rabbitmq.link import parse_url

ADDRESS = BrokerAddress("mq.example", 5672, "prod", "bot")


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (exceptions.ProbableAuthenticationError("x"), "user and password in RABBITMQ_URL"),
        (exceptions.ConnectionClosedByBroker(403, "ACCESS_REFUSED"), "refuses the user 'bot'"),
        (exceptions.ConnectionClosedByBroker(530, "NOT_ALLOWED"), "rabbitmqctl add_vhost prod"),
        (exceptions.AMQPConnectionError(ConnectionRefusedError(111, "refused")), "nothing listens at mq.example:5672"),
        (exceptions.AMQPConnectionError(socket.gaierror(-2, "unknown")), "host name 'mq.example' is unknown"),
        (exceptions.AMQPConnectionError(TimeoutError()), "does not answer"),
        (exceptions.IncompatibleProtocolError("x"), "does not speak AMQP"),
        (exceptions.AMQPConnectionError(OSError(113, "no route")), "check RABBITMQ_URL"),
    ],
)
def test_the_reason_names_the_remedy(error: BaseException, says: str) -> None:
    assert says in why_not_connected(error, ADDRESS)


def test_a_lost_connection_says_why() -> None:
    assert "heartbeats" in why_lost(exceptions.AMQPHeartbeatTimeout("x"), ADDRESS)
    assert "320 forced" in why_lost(exceptions.ConnectionClosedByBroker(320, "forced"), ADDRESS)
    assert "free its disk" in why_lost(exceptions.ConnectionBlockedTimeout("x"), ADDRESS)
    assert "was lost" in why_lost(exceptions.StreamLostError("eof"), ADDRESS)


@pytest.mark.parametrize("url", ["http://u:geheim@h/", "amqp://u:geheim@h:port/", "amqp://u:geheim@h/?heartbeat=no"])
def test_an_address_that_cannot_be_read_is_refused_without_being_quoted(url: str) -> None:
    with pytest.raises(InvalidInputError, match="RABBITMQ_URL") as caught:
        parse_url(url)
    assert "geheim" not in str(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__cause__ is None


def test_an_address_is_shown_without_its_password() -> None:
    _, address = parse_url("amqps://bot:geheim@mq.example/prod")
    assert (address.host, address.port, address.vhost, address.user) == ("mq.example", 5671, "prod", "bot")
    assert "geheim" not in str(vars(address))


def test_a_queue_without_a_leader_is_healed_by_an_election_and_never_by_deleting_it() -> None:
    said = no_leader("orchestrator.inbox", "/")
    assert "quorum_status orchestrator.inbox --vhost /" in said
    assert 'lookup(rabbit_misc:r(<<"/">>, queue, <<"orchestrator.inbox">>)), ra:trigger_election(' in said
    assert "delete" not in said

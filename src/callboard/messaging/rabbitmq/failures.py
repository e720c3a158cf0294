"""What went wrong with the broker, in one line that names the thing and the way out. Never a password."""

from __future__ import annotations

import socket
from collections.abc import Iterator

from pika import exceptions
from pika.adapters.utils import connection_workflow


class BrokerAddress:
    """Where the broker is, without what must not be shown."""

    def __init__(self, host: str, port: int, vhost: str, user: str) -> None:
        self.host, self.port, self.vhost, self.user = host, port, vhost, user

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


def why_not_connected(error: BaseException, address: BrokerAddress) -> str:
    """The reason for a connection that could not be opened, with the remedy."""
    causes = tuple(_causes(error))
    for cause in causes:
        found = _refused(cause, address)
        if found is not None:
            return found
    for cause in causes:
        if isinstance(cause, socket.gaierror):
            return f"the host name {address.host!r} is unknown: correct the host in RABBITMQ_URL"
    if any(isinstance(cause, ConnectionRefusedError) for cause in causes):
        return f"nothing listens at {address}: start RabbitMQ, or correct host and port in RABBITMQ_URL"
    if any(isinstance(cause, TimeoutError | connection_workflow.AMQPConnectorStackTimeout) for cause in causes):
        return (
            f"RabbitMQ at {address} does not answer: look whether it is overloaded or frozen, or a firewall is between"
        )
    last = next((cause for cause in causes if isinstance(cause, OSError)), causes[-1] if causes else error)
    return f"RabbitMQ at {address} cannot be reached ({_short(last)}): check RABBITMQ_URL and the broker's log"


def why_lost(error: BaseException, address: BrokerAddress) -> str:
    """The reason for a connection that was open and is not any more."""
    if isinstance(error, exceptions.AMQPHeartbeatTimeout):
        return f"RabbitMQ at {address} has stopped answering heartbeats"
    if isinstance(error, exceptions.ConnectionBlockedTimeout):
        return f"RabbitMQ at {address} takes no messages (an alarm): free its disk or memory"
    if isinstance(error, exceptions.ConnectionClosed):
        return f"RabbitMQ at {address} closed the connection: {error.reply_code} {error.reply_text}"
    return f"the connection to RabbitMQ at {address} was lost ({_short(error)})"


def no_leader(queue: str, vhost: str) -> str:
    """What to do about a quorum queue that has no leader (docs/decisions/0012-first-seconds-of-a-quorum-queue.md)."""
    return (
        f"look with 'rabbitmq-queues quorum_status {queue} --vhost {vhost}'. Where other members of a cluster are "
        "away, bring them back. A queue of one member that stays a follower lost its name in a crash soon after it was "
        f"made, and a restart does not help it: rabbitmqctl eval '{election(queue, vhost)}'"
    )


def election(queue: str, vhost: str) -> str:
    """What `rabbitmqctl eval` has to run for a quorum queue to elect a leader; it deletes nothing."""
    return (
        f'{{ok, Q}} = rabbit_amqqueue:lookup(rabbit_misc:r(<<"{vhost}">>, queue, <<"{queue}">>)), '
        "ra:trigger_election(amqqueue:get_pid(Q))."
    )


def why_closed(error: BaseException) -> str:
    """The reason for a channel that the broker closed."""
    if isinstance(error, exceptions.ChannelClosed):
        return f"{error.reply_code} {error.reply_text}"
    return _short(error)


def reply_code(error: BaseException) -> int | None:
    return error.reply_code if isinstance(error, exceptions.ChannelClosed) else None


def _refused(cause: BaseException, address: BrokerAddress) -> str | None:
    code = cause.reply_code if isinstance(cause, exceptions.ConnectionClosed) else None
    if code == 403 or isinstance(cause, exceptions.ProbableAuthenticationError | exceptions.AuthenticationError):
        return (
            f"RabbitMQ at {address} refuses the user {address.user!r}: correct user and password in RABBITMQ_URL, or "
            f"set it with rabbitmqctl change_password {address.user}"
        )
    if code in (402, 530) or isinstance(cause, exceptions.ProbableAccessDeniedError):
        return (
            f"the virtual host {address.vhost!r} of RabbitMQ at {address} is unknown or closed to the user "
            f"{address.user!r}: rabbitmqctl add_vhost {address.vhost}, then rabbitmqctl set_permissions -p "
            f"{address.vhost} {address.user} '.*' '.*' '.*', or correct the path of RABBITMQ_URL"
        )
    if isinstance(cause, exceptions.IncompatibleProtocolError):
        return f"what listens at {address} does not speak AMQP 0-9-1: correct host and port in RABBITMQ_URL"
    return None


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and all that it was made of, outermost first."""
    seen: set[int] = set()
    todo: list[BaseException] = [error]
    while todo:
        cause = todo.pop(0)
        if id(cause) in seen:
            continue
        seen.add(id(cause))
        yield cause
        inner = [getattr(cause, "exception", None), cause.__cause__, *getattr(cause, "exceptions", ()), *cause.args]
        todo += [item for item in inner if isinstance(item, BaseException)]


def _short(error: BaseException) -> str:
    text = str(error).strip()
    return f"{type(error).__name__}: {text}"[:300] if text else type(error).__name__

"""The confirm window: which publishes the broker has not answered for yet. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, TypeVar

Waiting = TypeVar("Waiting")


class ConfirmWindow(Generic[Waiting]):
    """Numbers publishes from 1 as the broker does, one window a channel, and finds them again by its answers."""

    def __init__(self) -> None:
        self._oldest = 1
        self._next = 1
        self._waiting: dict[int, Waiting] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, waiting: Waiting) -> int:
        """The number that the broker's answer will carry."""
        tag = self._next
        self._next += 1
        self._waiting[tag] = waiting
        return tag

    def settle(self, tag: int, *, multiple: bool) -> Iterator[Waiting]:
        """Takes out what the answer is for: one, or with `multiple` all up to it. Unknown numbers are nobody's."""
        if not multiple:
            found = self._waiting.pop(tag, None)
            if found is not None:
                yield found
            return
        oldest, self._oldest = self._oldest, max(self._oldest, min(tag + 1, self._next))
        for number in range(oldest, self._oldest):
            found = self._waiting.pop(number, None)
            if found is not None:
                yield found

    def waiting(self) -> Iterator[Waiting]:
        """All that was not answered for yet, the oldest first."""
        return iter(self._waiting.values())

    def clear(self) -> list[Waiting]:
        """All that nobody will answer for any more."""
        left = list(self._waiting.values())
        self._waiting.clear()
        return left

    def oldest(self) -> Waiting | None:
        """What has waited longest."""
        while self._oldest < self._next and self._oldest not in self._waiting:
            self._oldest += 1
        return self._waiting.get(self._oldest)


class AckWindow:
    """Which deliveries of a channel are done with and not acked yet; acks them in as few frames as can be.

    The broker numbers deliveries from 1 without gaps, so all up to a number may be acked at once when each of them is
    done with; what is done with behind one that is still worked on is acked alone, so that it holds up nothing.
    """

    def __init__(self) -> None:
        self._settled_up_to = 0
        self._done: set[int] = set()
        self._acked: set[int] = set()

    def done(self, tag: int) -> None:
        if tag > self._settled_up_to and tag not in self._acked:
            self._done.add(tag)

    def flush(self) -> list[tuple[int, bool]]:
        """Acks to send now, as (number, multiple). A number is never acked twice: the broker closes the channel."""
        if not self._done:
            return []
        at, last = self._settled_up_to, 0
        while True:
            if at + 1 in self._done:
                self._done.discard(at + 1)
                last = at + 1
            elif at + 1 in self._acked:
                self._acked.discard(at + 1)
            else:
                break
            at += 1
        self._settled_up_to = at
        acks = [(last, True)] if last else []
        if self._done:
            acks += [(tag, False) for tag in sorted(self._done)]
            self._acked |= self._done
            self._done = set()
        return acks

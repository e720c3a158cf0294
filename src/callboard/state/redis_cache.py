"""The cache in Redis 7: bypassed as soon as it fails, asked again by itself, empty for everybody once it is back.

The first exchange that fails opens a breaker: from then on nothing waits for the server until a probe has reached it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from callboard.clock import Clock
from callboard.errors import CallboardError, UnavailableError
from callboard.health import Degraded
from callboard.ids import Ids, RandomIds, fraction
from callboard.logs import StructuredLogger
from callboard.state.cache import COPY_SECONDS, KEPT_SECONDS, CacheCounts
from callboard.state.cache_floors import CacheFloors
from callboard.state.codec import decode, pack
from callboard.state.redis_line import RedisLine

TIMEOUT_SECONDS = 0.5
PROBE_SECONDS = 1.0
LOOK_SECONDS = 5.0
JUMP_SECONDS = 1.0
"""A server's clock that moved by more than this has been set: what lies there may live too long."""
FORMAT = 1
"""Counted up when what lies under a key changes its form."""
MAX_VALUE_BYTES = 4 * 1024 * 1024
MAX_WAITING = 5_000
GATHER_SECONDS = 0.005
"""Offers of so long are one exchange, and of several versions of one copy the newest goes alone."""
_AT_ONCE = 100
_BATCH_BYTES = 1024 * 1024
_DIGITS = 20
_PACK_ASIDE_BYTES = 64 * 1024

# A copy is its version in twenty digits and the value. A wrong type or foreign bytes count as nothing stored.
_PUT = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
for i = 2, #KEYS do
  local at = i * 3 - 4
  local stored = redis.pcall('GETRANGE', KEYS[i], 0, 19)
  if type(stored) == 'table' then
    redis.call('DEL', KEYS[i])
    stored = ''
  end
  local known = tonumber(stored)
  if not known or known <= tonumber(ARGV[at]) then
    redis.call('SET', KEYS[i], ARGV[at] .. ARGV[at + 1], 'PXAT', ARGV[at + 2])
  end
end
return 1
"""


@dataclass(frozen=True, slots=True)
class _Offer:
    version: int
    value: bytes | None
    seen_at: float
    seconds: float


_Packed = tuple[str, _Offer, bytes]


class RedisCache:
    """The `Cache` of several processes.

    Keys carry an epoch, which lies in Redis too and is looked at in every exchange. A process that could not reach the
    server for a while sets a new one, and so does one that finds none: what was there before is never read again.
    A copy expires at a moment on the server's clock that is counted from when the database was read, however late the
    copy comes; so a process that was stopped in between cannot bring back what others have changed.
    """

    def __init__(
        self,
        url: str,
        clock: Clock,
        ids: Ids | None = None,
        *,
        prefix: str = "callboard",
        timeout_seconds: float = TIMEOUT_SECONDS,
        probe_seconds: float = PROBE_SECONDS,
        look_seconds: float = LOOK_SECONDS,
    ) -> None:
        self._clock = clock
        self._ids = ids or RandomIds()
        self._prefix = f"{prefix}:{FORMAT}"
        self._reads, self._writes = (RedisLine(url, timeout_seconds) for _ in range(2))
        self._probe_seconds = probe_seconds
        self._look_seconds = look_seconds
        self._floors = CacheFloors(clock, seconds=COPY_SECONDS + 2 * JUMP_SECONDS)
        self._epoch: str | None = None
        self._reason = "not asked yet"
        self._outage = False
        self._server_ahead = 0.0
        self._wanted: list[tuple[str, asyncio.Future[bytes | None]]] = []
        self._offers: dict[str, _Offer] = {}
        self._asked, self._offered, self._failed = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._hits = self._misses = self._bypasses = 0
        self._tasks: list[asyncio.Task[None]] = []
        self._log = StructuredLogger("cache")

    async def start(self) -> None:
        await self._probe()
        loops = (self._read(), self._write(), self._watch())
        self._tasks = [asyncio.create_task(loop) for loop in loops]

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._epoch, self._reason = None, "closed"
        self._give_up()
        for line in (self._reads, self._writes):
            await line.close()

    async def copy(self, key: str) -> Any | None:
        stored = None if self._floors.blind else await self._get(key)
        version = _version_of(stored)
        trusted = stored is not None and version is not None and self._floors.allows(key, version)
        return self._counted(stored if trusted else None)

    async def kept(self, key: str) -> Any | None:
        return self._counted(await self._get(key))

    def put_copy(self, key: str, version: int, make: Callable[[], bytes] | None, *, seen_at: float) -> None:
        if self._floors.raise_to(key, version) and self._room_for(key):
            self._offer(key, _Offer(version, self._made(key, make), seen_at, COPY_SECONDS))

    def keep(self, key: str, make: Callable[[], bytes]) -> None:
        if self._room_for(key):
            self._offer(key, _Offer(0, self._made(key, make), self._clock.monotonic(), KEPT_SECONDS))

    def counts(self) -> CacheCounts:
        return CacheCounts(hits=self._hits, misses=self._misses, bypasses=self._bypasses)

    async def ping(self) -> Degraded | None:
        if self._epoch is not None:
            await self._fetch("ping")
        return None if self._epoch is not None else Degraded(reason=f"bypassed: {self._reason}")

    def _counted(self, stored: bytes | None) -> Any | None:
        """The value behind the version, and whether that was a hit."""
        if stored is None or len(stored) <= _DIGITS:
            return None
        try:
            value = decode(stored[_DIGITS:])
        except CallboardError:
            value = None  # damaged: whoever reads it anew writes over it
        if value is not None:
            self._hits += 1
            self._misses -= 1
        return value

    async def _get(self, key: str) -> bytes | None:
        if self._epoch is None:
            self._bypasses += 1
            return None
        self._misses += 1
        return await self._fetch(key)

    async def _fetch(self, key: str) -> bytes | None:
        answer: asyncio.Future[bytes | None] = asyncio.get_running_loop().create_future()
        self._wanted.append((key, answer))
        self._asked.set()
        return await answer

    async def _read(self) -> None:
        """All that is wanted while one exchange is under way goes with the next."""
        while True:
            await self._asked.wait()
            self._asked.clear()
            wanted, self._wanted = self._wanted, []
            found: Sequence[Any] = ()
            epoch = self._epoch
            try:
                if epoch is not None:
                    keys = (self._name(epoch, key) for key, _ in wanted)
                    stored, *found = await self._reads.ask("MGET", self._epoch_name, *keys)
                    if not self._still(epoch, stored):
                        found = ()
            except UnavailableError as error:
                self._bypass(error.message)
            finally:
                for place, (_, answer) in enumerate(wanted):
                    if not answer.done():
                        answer.set_result(found[place] if found else None)

    async def _write(self) -> None:
        while True:
            await self._offered.wait()
            await self._clock.sleep(GATHER_SECONDS)
            epoch, batch, self._offers = self._epoch, self._offers, {}
            self._offered.clear()
            try:
                packed = [(key, offer, await self._packed(key, offer)) for key, offer in batch.items()]
                for part in _parts(packed):
                    if epoch is None or epoch != self._epoch:
                        break
                    names = [self._name(epoch, key) for key, _, _ in part]
                    values = [argument for _, offer, value in part for argument in self._arguments(offer, value)]
                    fresh = await self._writes.ask(
                        "EVAL", _PUT, len(names) + 1, self._epoch_name, *names, epoch, *values
                    )
                    if not fresh:
                        await self._fetch("epoch")
            except UnavailableError as error:
                self._bypass(error.message)

    def _arguments(self, offer: _Offer, value: bytes) -> tuple[bytes, bytes, int]:
        until = offer.seen_at + self._server_ahead + offer.seconds
        return b"%0*d" % (_DIGITS, offer.version), value, max(1, int(until * 1000))

    async def _packed(self, key: str, offer: _Offer) -> bytes:
        if offer.value is None:
            return b""
        try:
            large = len(offer.value) > _PACK_ASIDE_BYTES
            value = await asyncio.to_thread(pack, offer.value) if large else pack(offer.value)
        except CallboardError as error:
            self._log.warning("not cached", key=key, reason=error.message)
            return b""
        return value if len(value) <= MAX_VALUE_BYTES else b""

    def _made(self, key: str, make: Callable[[], bytes] | None) -> bytes | None:
        try:
            return None if make is None else make()
        except ValueError as error:
            self._log.warning("not cached", key=key, reason=str(error))
            return None

    def _room_for(self, key: str) -> bool:
        return self._epoch is not None and (len(self._offers) < MAX_WAITING or key in self._offers)

    def _offer(self, key: str, offer: _Offer) -> None:
        self._offers[key] = offer
        self._offered.set()

    async def _watch(self) -> None:
        """Asks a server that is bypassed every second, and one that answers now and then, for its clock."""
        while True:
            self._failed.clear()
            down = self._epoch is None
            spread = 0.5 + fraction(self._ids.new())
            pause = asyncio.ensure_future(
                self._clock.sleep(self._probe_seconds * spread if down else self._look_seconds)
            )
            failed = asyncio.ensure_future(self._failed.wait())
            try:
                await asyncio.wait({pause, failed}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                pause.cancel()
                failed.cancel()
            if pause.done() and not pause.cancelled():
                await self._probe()

    async def _probe(self) -> None:
        """Half-open: one exchange decides. After an outage it begins a new epoch."""
        try:
            await self._look_at_clock()
            if self._epoch is None:
                fresh = self._ids.new()
                await self._writes.ask("SET", self._epoch_name, fresh, *(() if self._outage else ("NX",)))
                stored = await self._writes.ask("GET", self._epoch_name)
                self._begin(_text(stored) or fresh)
        except UnavailableError as error:
            self._bypass(error.message)

    async def _look_at_clock(self) -> None:
        begun = self._clock.monotonic()
        seconds, micros = await self._writes.ask("TIME")
        now = self._clock.monotonic()
        if now - begun > JUMP_SECONDS / 2:
            return
        ahead = int(seconds) + int(micros) / 1e6 - now
        if self._epoch is not None and abs(ahead - self._server_ahead) > JUMP_SECONDS:
            self._bypass("the server's clock was set")
        self._server_ahead = ahead

    def _begin(self, epoch: str) -> None:
        if self._outage:
            self._log.info("cache in use again, emptied")
        self._epoch, self._outage = epoch, False

    def _still(self, epoch: str, stored: Any) -> bool:
        """Whether the epoch goes on; another one is taken over, none means that the server was emptied."""
        now = _text(stored)
        if now == epoch:
            return True
        if now is None:
            self._bypass("the server was emptied")
        elif self._epoch == epoch:
            self._epoch = now
        return False

    def _bypass(self, reason: str) -> None:
        if self._epoch is not None or not self._outage:
            self._log.warning("cache bypassed; the database answers alone", reason=reason, server=self._reads.server)
        self._epoch, self._reason, self._outage = None, reason, True
        self._give_up()
        self._failed.set()

    def _give_up(self) -> None:
        self._offers = {}
        for _, answer in self._wanted:
            if not answer.done():
                answer.set_result(None)

    @property
    def _epoch_name(self) -> str:
        return f"{self._prefix}:epoch"

    def _name(self, epoch: str, key: str) -> str:
        return f"{self._prefix}:{epoch}:{key}"


def _parts(packed: Iterable[_Packed]) -> Iterator[list[_Packed]]:
    """Portions that the server works off in a moment."""
    part: list[_Packed] = []
    size = 0
    for item in packed:
        value = item[2]
        if part and (len(part) >= _AT_ONCE or size + len(value) > _BATCH_BYTES):
            yield part
            part, size = [], 0
        part.append(item)
        size += len(value)
    if part:
        yield part


def _version_of(stored: bytes | None) -> int | None:
    digits = stored[:_DIGITS] if stored is not None else b""
    return int(digits) if len(digits) == _DIGITS and digits.isdigit() else None


def _text(stored: Any) -> str | None:
    if not isinstance(stored, bytes) or not stored.isalnum() or len(stored) > 64:
        return None
    return stored.decode()

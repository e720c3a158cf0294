"""Records that never change, behind the cache."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Generic, TypeVar

from pydantic import TypeAdapter, ValidationError

from callboard.state.cache import Cache

Record = TypeVar("Record")


class KeptRecords(Generic[Record]):
    """Those of one kind. A record that another release has kept in another form counts as missing."""

    def __init__(self, kind: type[Record], cache: Cache) -> None:
        self._form: TypeAdapter[Record] = TypeAdapter(kind)
        self._cache = cache

    async def load(
        self, key: str, read: Callable[[], Awaitable[Record | None]], *, final: Callable[[Record], bool]
    ) -> Record | None:
        """From the cache, else what `read` gives, which is kept if it is `final`: if it will never be another.

        Raises what `read` raises.
        """
        kept = await self._cache.kept(key)
        if kept is not None:
            try:
                return self._form.validate_python(kept)
            except ValidationError:
                pass
        found = await read()
        if found is not None and final(found):
            self._cache.keep(key, partial(self._form.dump_json, found))
        return found

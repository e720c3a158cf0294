"""Records that never change, behind a cache: what is kept, and what is read again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest

from callboard.state.cache import NoCache
from callboard.state.kept_records import KeptRecords


@dataclass(frozen=True, slots=True, kw_only=True)
class Book:
    title: str
    pages: int


@dataclass(eq=False)
class Shelf(NoCache):
    """A cache that forgets nothing."""

    values: dict[str, Any] = field(default_factory=dict)

    async def kept(self, key: str) -> Any | None:
        return self.values.get(key)

    def keep(self, key: str, make: Callable[[], bytes]) -> None:
        self.values[key] = orjson.loads(make())


@dataclass(eq=False)
class Library:
    book: Book | None = field(default_factory=lambda: Book(title="Emma", pages=400))
    reads: int = 0

    async def read(self) -> Book | None:
        self.reads += 1
        return self.book


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


@pytest.fixture
def books(shelf: Shelf) -> KeptRecords[Book]:
    return KeptRecords(Book, shelf)


async def test_what_is_final_is_read_once(books: KeptRecords[Book]) -> None:
    library = Library()
    for _ in range(3):
        assert await books.load("emma", library.read, final=lambda book: True) == library.book
    assert library.reads == 1


async def test_what_may_change_is_read_every_time(books: KeptRecords[Book], shelf: Shelf) -> None:
    library = Library()
    for _ in range(2):
        assert await books.load("emma", library.read, final=lambda book: book.pages > 1000) == library.book
    assert library.reads == 2
    assert shelf.values == {}


async def test_nothing_is_kept_of_what_there_is_not(books: KeptRecords[Book], shelf: Shelf) -> None:
    assert await books.load("emma", Library(book=None).read, final=lambda book: True) is None
    assert shelf.values == {}


async def test_what_another_release_has_kept_is_read_again_and_replaced(books: KeptRecords[Book], shelf: Shelf) -> None:
    shelf.values["emma"] = {"name": "Emma"}
    library = Library()
    assert await books.load("emma", library.read, final=lambda book: True) == library.book
    assert shelf.values["emma"] == {"title": "Emma", "pages": 400}

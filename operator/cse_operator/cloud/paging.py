"""Collects the pages of a list, although nobody knows what its `offset` counts.

The vendor's documents call `offset` a page number in one place and an item's position in
another, and offsets 0 and 1 may return the same page. So where the first page is not all, the
page at offset 1 tells, or the one at 2 where 1 is the first page once more (counted from 1): it
shares nothing with the first (pages are counted), or is shifted by one (items are counted).
Rows are told apart by their ids, and neither `total` nor a full page is taken at its word.
In the usual case, one page that holds as many rows as `total` says, this is one call.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

Row = TypeVar("Row")


@dataclass(frozen=True, slots=True)
class Page(Generic[Row]):
    """One page of a list."""

    rows: Mapping[str, Row | None]
    """The rows by their ids; `None` for those that say too little besides their id."""
    lines: int
    """How many rows were read, those without an id included."""
    total: int | None
    """How many rows there are on all pages, if the vendor said so (it may be wrong)."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """Where collecting ends, whatever the server answers."""

    page: int
    """Rows asked for at once; a server may give fewer."""
    pages: int
    """Calls for one list."""
    rows: int
    """Rows after which no further page is fetched."""


ENGINES = Bounds(page=1000, pages=64, rows=60_000)
"""60,000 engines with names as they are take 20 MB."""


async def collect_pages(
    fetch: Callable[[int, int], Awaitable[Page[Row]]], bounds: Bounds = ENGINES
) -> list[Row]:
    """Fetch all usable rows, each once, as last seen; see `collect_rows`."""
    rows = await collect_rows(fetch, bounds)
    return [row for row in rows.values() if row is not None]


async def collect_rows(
    fetch: Callable[[int, int], Awaitable[Page[Row]]], bounds: Bounds = ENGINES
) -> dict[str, Row | None]:
    """Fetch all rows by their ids, each as last seen; `None` where one never was usable.

    Args:
        fetch: Gets the page at an offset with at most so many rows.
        bounds: Where to end.
    """
    listing = _Listing(fetch, bounds)
    first = await listing.page_at(0)
    if listing.is_done():
        return listing.rows
    origin = 0
    second = await listing.page_at(1)
    if not listing.is_done() and second.rows.keys() == first.rows.keys():
        origin = 1
        second = await listing.page_at(2)
    if second.rows and not listing.is_done():
        counts_items = not first.rows.keys().isdisjoint(second.rows)
        offset = origin + (first.lines if counts_items else 2)
        await listing.rest(offset, counts_items=counts_items)
    return listing.rows


class _Listing(Generic[Row]):
    def __init__(self, fetch: Callable[[int, int], Awaitable[Page[Row]]], bounds: Bounds) -> None:
        self._fetch = fetch
        self._bounds = bounds
        self.rows: dict[str, Row | None] = {}
        self._calls = 0
        self._last: Page[Row] | None = None
        self._stale = False
        """Whether the last page brought nothing new."""

    async def page_at(self, offset: int) -> Page[Row]:
        """Fetch a page and keep what is on it."""
        page = await self._fetch(offset, self._bounds.page)
        known = len(self.rows)
        self.rows.update(
            (key, row) for key, row in page.rows.items() if row or key not in self.rows
        )
        self._calls += 1
        self._stale = len(self.rows) == known
        self._last = page
        return page

    def is_done(self) -> bool:
        """Whether there is no reason to expect more."""
        bounds = self._bounds
        if not self.rows or self._calls >= bounds.pages or len(self.rows) >= bounds.rows:
            return True
        page = self._last
        if page is None or page.total is None or page.lines >= bounds.page:
            # A full page may have successors that `total` forgot.
            return False
        return 0 < page.total <= len(self.rows)

    async def rest(self, offset: int, *, counts_items: bool) -> None:
        """Fetch page after page until one brings nothing new."""
        while not self.is_done():
            page = await self.page_at(offset)
            if self._stale:
                return
            offset += page.lines if counts_items else 1

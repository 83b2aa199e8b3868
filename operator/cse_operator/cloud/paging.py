"""Collects the pages of a list without knowing what its `offset` counts.

The vendor's documents call `offset` a page number in one place and an item's position in
another, and offsets 0 and 1 may return the same page. So if the first page is not the whole list,
a second page decides: the one at offset 1, or the one at offset 2 if offset 1 returned the first
page again (pages counted from 1). A second page without any row of the first means that `offset`
counts pages; a page shifted by one row means that it counts items.

Rows are identified by their ids, and neither `total` nor a full page is trusted. The usual case,
one page with as many rows as `total` says, takes one call.
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
    """The rows by their ids; `None` for a row that lacks required fields."""
    lines: int
    """How many rows were read, including rows without an id."""
    total: int | None
    """How many rows all pages have, if the vendor says so (it may be wrong)."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """The limits of one list, whatever the server answers."""

    page: int
    """Rows asked for per page; a server may return fewer."""
    pages: int
    """The most calls for one list."""
    rows: int
    """Rows after which no further page is fetched."""


ENGINES = Bounds(page=1000, pages=64, rows=60_000)
"""60,000 engines with usual names take 20 MB."""


async def collect_pages(
    fetch: Callable[[int, int], Awaitable[Page[Row]]], bounds: Bounds = ENGINES
) -> list[Row]:
    """Fetch all usable rows, each once and in its last seen form; see `collect_rows`."""
    rows = await collect_rows(fetch, bounds)
    return [row for row in rows.values() if row is not None]


async def collect_rows(
    fetch: Callable[[int, int], Awaitable[Page[Row]]], bounds: Bounds = ENGINES
) -> dict[str, Row | None]:
    """Fetch all rows by their ids, each in its last seen form; `None` if it was never usable.

    Args:
        fetch: Gets a page: takes the offset and the most rows to return.
        bounds: The limits of the list.
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
        """Whether the last page had no new row."""

    async def page_at(self, offset: int) -> Page[Row]:
        """Fetch a page and keep its rows."""
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
        """Whether the list is complete or at one of its limits."""
        bounds = self._bounds
        if not self.rows or self._calls >= bounds.pages or len(self.rows) >= bounds.rows:
            return True
        page = self._last
        if page is None or page.total is None or page.lines >= bounds.page:
            # More pages may follow a full page, even if `total` says otherwise.
            return False
        return 0 < page.total <= len(self.rows)

    async def rest(self, offset: int, *, counts_items: bool) -> None:
        """Fetch page after page until one has no new row."""
        while not self.is_done():
            page = await self.page_at(offset)
            if self._stale:
                return
            offset += page.lines if counts_items else 1

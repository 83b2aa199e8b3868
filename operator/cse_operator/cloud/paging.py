"""Collects the pages of ListEngines, although nobody knows what its `offset` counts.

The vendor's documents call `offset` a page number in one place and an item's position in
another, and offsets 0 and 1 may return the same page. So where the first page is not all, the
page at offset 1 tells, or the one at 2 where 1 is the first page once more (counted from 1): it
shares nothing with the first (pages are counted), or is shifted by one (items are counted).
Engines are told apart by their ids, and neither `total` nor a full page is taken at its word.
In the usual case, one page that holds as many engines as `total` says, this is one call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from cse_operator.cloud.wire import EnginePage
    from cse_operator.core.observation import EngineView

PAGE_LIMIT = 1000
"""Engines asked for at once; a server may give fewer."""
MAX_PAGES = 64
"""Calls for one listing, whatever the server answers."""
MAX_ENGINES = 60_000
"""Engines after which no further page is fetched. With names as they are they take 20 MB."""


async def collect_pages(fetch: Callable[[int, int], Awaitable[EnginePage]]) -> list[EngineView]:
    """Fetch all engines, each once, as last seen.

    Args:
        fetch: Gets the page at an offset with at most so many entries.
    """
    listing = _Listing(fetch)
    first = await listing.page_at(0)
    if listing.is_done():
        return list(listing.engines.values())
    origin = 0
    second = await listing.page_at(1)
    if not listing.is_done() and set(second.ids) == set(first.ids):
        origin = 1
        second = await listing.page_at(2)
    if second.ids and not listing.is_done():
        counts_items = not set(first.ids).isdisjoint(second.ids)
        offset = origin + (first.lines if counts_items else 2)
        await listing.rest(offset, counts_items=counts_items)
    return list(listing.engines.values())


class _Listing:
    def __init__(self, fetch: Callable[[int, int], Awaitable[EnginePage]]) -> None:
        self._fetch = fetch
        self._ids: set[str] = set()
        self._calls = 0
        self.engines: dict[str, EngineView] = {}
        self._last: EnginePage | None = None
        self.stale = False
        """Whether the last page brought nothing new."""

    async def page_at(self, offset: int) -> EnginePage:
        """Fetch a page and keep what is on it."""
        page = await self._fetch(offset, PAGE_LIMIT)
        known = len(self._ids)
        self._ids.update(page.ids)
        self.engines.update((engine.engine_id, engine) for engine in page.engines)
        self._calls += 1
        self.stale = len(self._ids) == known
        self._last = page
        return page

    def is_done(self) -> bool:
        """Whether there is no reason to expect more."""
        if not self._ids or self._calls >= MAX_PAGES or len(self._ids) >= MAX_ENGINES:
            return True
        page = self._last
        if page is None or page.total is None or page.lines >= PAGE_LIMIT:
            # A full page may have successors that `total` forgot.
            return False
        return 0 < page.total <= len(self._ids)

    async def rest(self, offset: int, *, counts_items: bool) -> None:
        """Fetch page after page until one brings nothing new."""
        while not self.is_done():
            page = await self.page_at(offset)
            if self.stale:
                return
            offset += page.lines if counts_items else 1

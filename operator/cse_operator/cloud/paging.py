"""Collects the pages of ListEngines, although nobody knows what its `offset` counts.

The vendor's documents call `offset` a page number in one place and an item's position in
another, and offsets 0 and 1 may return the same page. So both meanings are tried where the
first page is not all, engines are told apart by their ids, and neither `total` nor a full page
is taken at its word. In the usual case, one page that holds as many engines as `total` says, this
is one call.
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


async def collect_pages(fetch: Callable[[int, int], Awaitable[EnginePage]]) -> list[EngineView]:
    """Fetch all engines, each once, as last seen.

    Args:
        fetch: Gets the page at an offset with at most so many entries.
    """
    listing = _Listing(fetch)
    await listing.fetch_page(0)
    await listing.by_item_offsets()
    await listing.by_page_numbers()
    return list(listing.engines.values())


class _Listing:
    def __init__(self, fetch: Callable[[int, int], Awaitable[EnginePage]]) -> None:
        self._fetch = fetch
        self._calls = 0
        self._lines = 0
        self._last: EnginePage | None = None
        self._ids: set[str] = set()
        self.engines: dict[str, EngineView] = {}

    async def fetch_page(self, offset: int) -> int:
        """Fetch one page; returns how many engines on it were new."""
        page = await self._fetch(offset, PAGE_LIMIT)
        known = len(self._ids)
        self._ids.update(page.ids)
        self.engines.update((engine.engine_id, engine) for engine in page.engines)
        self._calls += 1
        self._lines += page.lines
        self._last = page
        return len(self._ids) - known

    @property
    def _done(self) -> bool:
        page = self._last
        if page is None or self._calls >= MAX_PAGES:
            return True
        if page.total is None or page.total <= 0:
            return page.lines == 0
        # A full page may have successors that `total` forgot.
        return len(self._ids) >= page.total and page.lines < PAGE_LIMIT

    async def by_item_offsets(self) -> None:
        """Go on as if `offset` counted items."""
        while not self._done:
            if await self.fetch_page(self._lines) == 0:
                return

    async def by_page_numbers(self) -> None:
        """Go on as if `offset` counted pages, from 0 or from 1."""
        number = 1
        previous: frozenset[str] | None = None
        while not self._done:
            await self.fetch_page(number)
            page = self._last
            ids = frozenset(page.ids) if page else frozenset()
            if not ids or ids == previous:
                return
            previous = ids
            number += 1

"""Each engine is found once, whatever `offset` counts and however wrong `total` is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cse_operator.cloud.paging import ENGINES, Page, collect_pages
from cse_operator.core.views import EngineView
from support.cloud_calls import NOW


def view(number: int) -> EngineView:
    return EngineView(f"e{number}", "", "", "Available", "1.0.0", None, None, (), NOW)


def page_of(shown: list[EngineView], total: int | None) -> Page[EngineView]:
    return Page({engine.engine_id: engine for engine in shown}, len(shown), total)


class Server:
    """A list of engines under one reading of the documents."""

    def __init__(self, engines: int, cap: int, meaning: str, total: int | None) -> None:
        self.engines = [view(number) for number in range(engines)]
        self.cap = cap
        self.meaning = meaning
        self.total = total
        self.calls = 0

    async def fetch(self, offset: int, limit: int) -> Page[EngineView]:
        self.calls += 1
        size = min(limit, self.cap)
        start = {
            "item from 0": offset,
            "item from 1": max(offset - 1, 0),
            "page from 0": offset * size,
            "page from 1": max(offset - 1, 0) * size,
        }[self.meaning]
        return page_of(self.engines[start : start + size], self.total)


@given(
    engines=st.integers(0, 40),
    cap=st.integers(3, 50),
    meaning=st.sampled_from(["item from 0", "item from 1", "page from 0", "page from 1"]),
    honest=st.booleans(),
)
async def test_every_engine_is_found_under_each_reading(
    engines: int, cap: int, meaning: str, honest: bool
) -> None:
    server = Server(engines, cap, meaning, total=engines if honest else None)
    found = await collect_pages(server.fetch)
    assert server.calls <= engines / cap + 4
    assert sorted(found, key=lambda e: e.engine_id) == sorted(
        server.engines, key=lambda e: e.engine_id
    )


@pytest.mark.parametrize("engines", [0, 1, 7, 999])
async def test_one_honest_page_costs_one_call(engines: int) -> None:
    server = Server(engines, ENGINES.page, "item from 0", total=engines)
    assert len(await collect_pages(server.fetch)) == engines
    assert server.calls == 1


async def test_a_full_page_is_not_taken_for_the_last_one() -> None:
    server = Server(ENGINES.page + 5, ENGINES.page, "item from 0", total=ENGINES.page)
    assert len(await collect_pages(server.fetch)) == ENGINES.page + 5


@pytest.mark.parametrize("total", [10**9, 4])
async def test_a_server_that_repeats_its_last_engine_for_ever_is_left(total: int) -> None:
    calls = 0

    async def fetch(offset: int, limit: int) -> Page[EngineView]:
        nonlocal calls
        calls += 1
        return page_of([view(1)], total)

    assert await collect_pages(fetch) == [view(1)]
    assert calls <= 4


async def test_a_server_without_an_end_is_left() -> None:
    server = Server(10**5, 3, "item from 0", total=10**9)
    await collect_pages(server.fetch)
    assert server.calls == ENGINES.pages


async def test_a_server_with_engines_without_end_is_left() -> None:
    server = Server(10 * ENGINES.rows, ENGINES.page, "item from 0", total=None)
    assert ENGINES.rows <= len(await collect_pages(server.fetch)) < ENGINES.rows + ENGINES.page
    assert server.calls < ENGINES.pages


async def test_an_engine_seen_twice_counts_as_last_seen() -> None:
    newer = EngineView("e0", "renamed", "", "Available", "1.0.1", None, None, (), NOW)
    pages = [
        page_of([view(0), view(1)], 3),
        page_of([newer, view(2)], 3),
    ]

    async def fetch(offset: int, limit: int) -> Page[EngineView]:
        return pages.pop(0)

    assert await collect_pages(fetch) == [newer, view(1), view(2)]

"""Names are resolved fairly in separate threads; misses are cached for a moment."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator

import pytest

from cse_operator.cloud.fairness import Turn
from cse_operator.cloud.resolver import (
    LOOKUPS,
    MISS_REMEMBERED,
    MOST_MISSES,
    NameResolver,
    current_turn,
)
from support.cloud_calls import FakeTime


class Names:
    """The system's resolver: names that hang, names that do not exist, and others."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.begun, self.end = threading.Event(), threading.Event()

    def __call__(self, host: str, port: int, **_: object) -> list[tuple[object, ...]]:
        self.asked.append(host)
        self.begun.set()
        if host.startswith("hanging"):
            self.end.wait(60)
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        if host.startswith("missing"):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", port))]


@pytest.fixture
def names() -> Iterator[Names]:
    names = Names()
    yield names
    names.end.set()


async def resolve(resolver: NameResolver, host: str, namespace: str = "") -> str:
    current_turn.set(Turn(namespace=namespace))
    [found] = await resolver.resolve(host, 443)
    assert found["port"] == 443
    return found["host"]


async def test_two_hundred_made_up_regions_leave_threads_to_other_namespaces(
    names: Names,
) -> None:
    resolver = NameResolver(look_up=names)
    hanging = [
        asyncio.create_task(resolve(resolver, f"hanging-{number}", "crowded"))
        for number in range(200)
    ]
    await asyncio.sleep(0)
    async with asyncio.timeout(10):
        assert await resolve(resolver, "healthy", "quiet") == "192.0.2.1"
    assert resolver._slots._held_by_namespace["crowded"] == LOOKUPS // 2
    names.end.set()
    failed = await asyncio.gather(*hanging, return_exceptions=True)
    assert all(isinstance(one, OSError) for one in failed)
    assert resolver._slots._free == LOOKUPS


async def test_a_miss_is_remembered_for_a_moment_and_told_in_the_same_words(
    names: Names,
) -> None:
    time = FakeTime()
    resolver = NameResolver(look_up=names, clock=time)
    for _ in range(3):
        with pytest.raises(OSError, match="Name or service not known"):
            await resolver.resolve("missing", 443)
    assert names.asked == ["missing"]
    time.advance(MISS_REMEMBERED)
    with pytest.raises(OSError, match="Name or service not known"):
        await resolver.resolve("missing", 443)
    assert len(names.asked) == 2


async def test_what_is_remembered_is_bounded(names: Names) -> None:
    resolver = NameResolver(look_up=names)
    for number in range(MOST_MISSES + 10):
        with pytest.raises(OSError, match="Name or service not known"):
            await resolver.resolve(f"missing-{number}", 443)
    assert len(resolver._misses) == MOST_MISSES


async def test_a_thread_keeps_its_slot_when_its_caller_goes_away(names: Names) -> None:
    resolver = NameResolver(look_up=names)
    caller = asyncio.create_task(resolve(resolver, "hanging", "a"))
    await asyncio.to_thread(names.begun.wait, 10)
    caller.cancel()
    await asyncio.gather(caller, return_exceptions=True)
    assert resolver._slots._free == LOOKUPS - 1
    names.end.set()
    async with asyncio.timeout(10):
        await resolver._slots.until_idle()


async def test_what_cannot_be_a_name_does_not_resolve() -> None:
    with pytest.raises(OSError, match="cannot be a host's name"):
        await NameResolver().resolve("a" * 70 + ".example.com", 443)

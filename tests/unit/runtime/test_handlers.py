"""kopf's side: it watches, and neither compares nor remembers what it shows."""

from __future__ import annotations

from cse_operator.runtime import handlers
from support.resources import stored


async def test_kopf_remembers_nothing_of_a_resource_between_its_events() -> None:
    memories = handlers.make_memories()
    assert memories is not None, "kopf's signature no longer names the class of its memories"
    first = await memories.recall(stored(), noticed_by_listing=True, memobase=None)
    second = await memories.recall(stored(), noticed_by_listing=False, memobase=None)
    assert first is not second
    assert list(memories.iter_all_memories()) == []


def test_kopf_has_nothing_to_compare() -> None:
    storage = handlers.make_settings().persistence.diffbase_storage
    assert storage.fetch(body=None) is None  # type: ignore[arg-type]
    assert storage.build(body=None) == {}  # type: ignore[arg-type]

"""Which keys belong to a name."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cse_operator.core.multimap import Multimap

CHANGES = st.lists(st.tuples(st.booleans(), st.sampled_from("xyz"), st.sampled_from("abcd")))


@given(changes=CHANGES)
def test_a_name_has_the_keys_that_were_added_and_not_removed_in_the_order_they_came(
    changes: list[tuple[bool, str, str]],
) -> None:
    found: Multimap[str] = Multimap()
    expected: dict[str, list[str]] = {name: [] for name in "xyz"}
    for added, name, key in changes:
        keys = expected[name]
        if added:
            found.add(name, key)
            expected[name] = keys if key in keys else [*keys, key]
        else:
            found.remove(name, key)
            expected[name] = [other for other in keys if other != key]
        assert {each: list(found[each]) for each in "xyz"} == expected


def test_a_key_of_several_letters_is_one_key() -> None:
    found: Multimap[str] = Multimap()
    found.add("x", "shop/orders")
    assert found["x"] == ("shop/orders",)
    found.remove("x", "shop")
    assert found["x"] == ("shop/orders",)
    found.remove("x", "shop/orders")
    assert found["x"] == ()

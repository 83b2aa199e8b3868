"""What is packed is what comes out, and small."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from cse_operator.runtime.packing import _TYPICAL, pack, unpack

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(content=st.dictionaries(st.text(), JSON), times=st.integers(1, 40))
def test_what_is_packed_is_what_comes_out_however_large(
    content: dict[str, Any], times: int
) -> None:
    large = {"status": {"history": [content] * times}, "text": "\u00e4 and more" * 50 * times}
    assert unpack(pack(large)) == large


def test_a_usual_resource_takes_little() -> None:
    spec = {**_TYPICAL["spec"], "engineId": "891bf21a-4024-4f47-b38c-bd259ca8f10a"}
    assert len(pack({**_TYPICAL, "spec": spec})) < 100

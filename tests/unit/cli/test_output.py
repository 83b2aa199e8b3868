"""The output of a command reaches the other end of a pipe whole."""

from __future__ import annotations

import io
import sys

import pytest

from cse_operator.cli.output import write_out
from cse_operator.kubectl.output import Output


class _AtMostOnePage(io.RawIOBase):
    """A pipe whose large writes are interrupted after 4,096 bytes."""

    def __init__(self) -> None:
        self.taken = b""

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        part = bytes(data)[:4096]  # type: ignore[call-overload]  # a buffer, as raw streams get it
        self.taken += part
        return len(part)


@pytest.mark.parametrize(
    "text", ["x" * 100_000, "引擎" * 30_000, ""], ids=["ascii", "wide", "none"]
)
def test_a_large_text_is_written_whole_to_an_unbuffered_pipe(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipe = _AtMostOnePage()
    unbuffered = io.TextIOWrapper(pipe, encoding="utf-8", write_through=True)  # type: ignore[arg-type]  # as Python does with -u
    monkeypatch.setattr(sys, "stdout", unbuffered)
    write_out(text)
    assert pipe.taken.decode() == text


def test_the_plug_in_writes_a_large_fleet_whole_to_an_unbuffered_pipe() -> None:
    pipe = _AtMostOnePage()
    unbuffered = io.TextIOWrapper(pipe, encoding="utf-8", write_through=True)  # type: ignore[arg-type]  # as Python does with -u
    Output(out=unbuffered).write("x" * 100_000)
    assert pipe.taken.decode() == "x" * 100_000 + "\n"

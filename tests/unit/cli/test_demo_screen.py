"""The demo's display, on a terminal and elsewhere."""

from __future__ import annotations

import io
from typing import Any

from rich.console import Console

from cse_simulator.demo.screen import Screen, row_of


def resource(name: str, **status: Any) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": {"version": "2.4.0"}, "status": status}


def screen(*, terminal: bool, typed: str = "") -> tuple[Screen, io.StringIO]:
    output = io.StringIO()
    console = Console(file=output, force_terminal=terminal, width=100, _environ={"TERM": "xterm"})
    console.input = lambda _: typed  # type: ignore[method-assign,assignment]
    return Screen(console), output


def test_a_resource_that_nobody_has_looked_at_has_a_row():
    assert row_of({"metadata": {"name": "a"}, "spec": {"version": "1"}}) == (
        "a", "1", "", "", "", "", "",
    )  # fmt: skip


def test_elsewhere_than_on_a_terminal_a_line_appears_per_change_and_only_then():
    shown, output = screen(terminal=False)
    waiting = resource("shop", phase="Pending")
    done = resource("shop", phase="UpToDate", currentVersion="2.4.0", jobId=7, result="Succeeded")
    with shown.table() as view:
        for state in (waiting, waiting, done, done):
            view.show([state])
    header, *lines = output.getvalue().splitlines()
    assert header.split() == [
        "NAME", "DESIRED", "CURRENT", "PHASE", "JOB", "RESULT", "MESSAGE",
    ]  # fmt: skip
    assert [line.split()[2:] for line in lines] == [
        ["shop", "2.4.0", "-", "Pending", "-", "-", "-"],
        ["shop", "2.4.0", "2.4.0", "UpToDate", "7", "Succeeded", "-"],
    ]
    assert "\x1b" not in output.getvalue()


def test_on_a_terminal_the_table_changes_in_place_and_shows_whole_messages():
    shown, output = screen(terminal=True)
    message = (
        "upgrading from 2.3.1 to 2.4.0, job 7, 2 of 5 steps done, now Upgrade standby instance"
    )
    with shown.table() as view:
        view.show([resource("shop", phase="Submitting")])
        view.show([resource("shop", phase="Upgrading", jobId=7, message=message)])
    text = output.getvalue()
    assert "\x1b[1A" in text  # moves up, to draw over the old lines
    for word in message.split():
        assert word in text


def test_a_command_is_never_broken_so_that_it_can_be_copied():
    shown, output = screen(terminal=True)
    command = f"kubectl patch mse payments --type=merge -p '{'x' * 200}'"
    shown.command(command)
    assert command in output.getvalue()


def test_only_a_yes_is_a_yes():
    for typed, expected in (
        ("y", True),
        ("Yes ", True),
        ("", False),
        ("n", False),
        ("maybe", False),
    ):
        shown, _ = screen(terminal=True, typed=typed)
        assert shown.ask("Use it?") is expected

"""The documents about the core agree with the code."""

from __future__ import annotations

import importlib.util
import re
from typing import Any

import pytest

from cse_operator.api.status import Status
from cse_operator.core import messages
from cse_operator.core.machine import TRANSITIONS
from cse_operator.core.observation import Limits
from cse_operator.core.states import Effect, State
from support.model.world import UNSEEN
from support.repository import ROOT

_SPEC = importlib.util.spec_from_file_location("core_docs", ROOT / "hack" / "core_docs.py")
assert _SPEC is not None
assert _SPEC.loader is not None
core_docs = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(core_docs)

EXACTLY_ONCE = (ROOT / "docs" / "exactly-once.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", core_docs.FILES)
def test_a_generated_document_is_as_its_code_makes_it(name):
    assert (ROOT / name).read_text(encoding="utf-8") == core_docs.FILES[name](), "make generate"


def test_each_row_of_an_intent_without_an_answer_says_why_it_is_safe():
    section = EXACTLY_ONCE.split("## An intent without an answer")[1].split("\n## ")[0]
    for state, situation in TRANSITIONS:
        if state is State.UNANSWERED and situation not in core_docs._ANSWERS:
            assert f"| {situation} |" in section


def test_the_seconds_that_the_document_names_are_the_codes():
    limits = Limits()
    assert f"The **outcome grace** ({limits.grace:g} s" in EXACTLY_ONCE
    assert f"The **read lag** ({limits.lag:g} s" in EXACTLY_ONCE
    assert f"a look older than {limits.look_valid:g} s" in EXACTLY_ONCE
    assert f"the last {UNSEEN:g} s" in " ".join(EXACTLY_ONCE.split())
    waits = [limits.grace * factor for factor in (1, 2, 4)]
    told = "at most twice (`--outcome-repeats`), {:g} and then {:g} seconds after the one before. "
    told += "{:g} seconds after the last one a person is asked"
    assert told.format(*waits) in " ".join(EXACTLY_ONCE.split())
    assert limits.repeats == 2


def test_the_drawing_names_each_call_that_changes_an_engine():
    drawing = core_docs.states().split("```mermaid")[1].split("```")[0]
    for (_, situation), transition in TRANSITIONS.items():
        if transition.effect in {Effect.UPGRADE, Effect.RETRY}:
            assert f"{situation} / {transition.effect}" in drawing


def pages_named_in(text: str) -> list[tuple[str, str]]:
    """Return the pages in a text, each with its anchor, which may be empty."""
    return re.findall(r"(docs/[a-z/-]+[.]md)(?:#([a-z-]+))?", text)


def test_each_page_that_the_code_names_exists_and_has_the_named_part():
    sources = (ROOT / "operator").rglob("*.py")
    named = {one for source in sources for one in pages_named_in(source.read_text("utf-8"))}
    assert ("docs/reference/reasons.md", "unreadablestatus") in named
    for page, anchor in named:
        text = (ROOT / page).read_text(encoding="utf-8")
        heading = anchor.replace("-", "[- ]")
        found = re.search(rf'<a id="{anchor}">|^#+ {heading}$', text, re.MULTILINE | re.IGNORECASE)
        assert found or not anchor, f"{page}#{anchor}"


def test_the_page_of_an_unreadable_status_says_how_to_remove_the_record():
    not_looked_at: Any = None
    [(page, _)] = pages_named_in(messages.unreadable(not_looked_at, Status()))
    text = (ROOT / page).read_text(encoding="utf-8")
    [row] = [line for line in text.splitlines() if 'id="unreadablestatus"' in line]
    assert '"op":"remove","path":"/status/upgrade"' in row

"""The documents about the core agree with the code."""

from __future__ import annotations

import importlib.util

import pytest

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

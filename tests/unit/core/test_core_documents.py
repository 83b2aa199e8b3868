"""The documents about the core say what the code does."""

from __future__ import annotations

import importlib.util
import re

import pytest

from cse_operator.core.observed import Policy
from cse_operator.core.states import TRANSITIONS, Effect, Stage
from support.model_world import UNSEEN
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


def follows(stage: Stage, transition) -> str:
    if transition.effect is not Effect.NONE:
        return str(transition.effect)
    verb = "stays" if transition.to is stage else "goes on as"
    return f"{verb} {transition.to}"


def test_the_table_of_unanswered_intents_is_the_codes_table():
    section = EXACTLY_ONCE.split("## An intent without an answer")[1].split("\n## ")[0]
    rows = re.findall(r"^\| (.+?) \| .+? \| (.+?) \| .+? \|$", section, re.MULTILINE)
    assert dict(rows[1:]) == {
        str(situation): follows(stage, transition)
        for (stage, situation), transition in TRANSITIONS.items()
        if stage is Stage.UNANSWERED
    }


def test_the_seconds_that_the_document_names_are_the_codes():
    policy = Policy()
    assert f"The grace ({policy.grace:g} s" in EXACTLY_ONCE
    assert f"a look older than {policy.look_valid:g} s" in EXACTLY_ONCE
    assert f"last {UNSEEN:g} s" in EXACTLY_ONCE
    repeats = [policy.grace * factor for factor in (1, 2, 4, 8)]
    assert "after {:g}, {:g}, {:g}, then every {:g} seconds".format(*repeats) in EXACTLY_ONCE


def test_the_drawing_names_each_call_that_changes_an_engine():
    drawing = core_docs.states().split("```mermaid")[1].split("```")[0]
    for (_, situation), transition in TRANSITIONS.items():
        if transition.effect in {Effect.UPGRADE, Effect.RETRY}:
            assert f"{situation} / {transition.effect}" in drawing

"""The list of reasons: complete, and ready to be read by people."""

from __future__ import annotations

import re

import pytest

from cse_operator.api.reason_facts import FACTS
from cse_operator.api.reasons import ConditionType, Reason
from cse_operator.core.machine import TRANSITIONS


def test_each_reason_has_its_facts():
    assert list(FACTS) == list(Reason)


@pytest.mark.parametrize("reason", Reason)
def test_each_reason_is_a_word_that_kubernetes_accepts(reason):
    assert re.fullmatch(r"[A-Z][A-Za-z]{1,63}", reason)


@pytest.mark.parametrize("reason", Reason)
def test_each_reason_is_told_in_sentences_that_fit_a_table(reason):
    for text in (FACTS[reason].meaning, FACTS[reason].cause, FACTS[reason].way_out):
        assert text.endswith(".")
        assert "|" not in text
        assert "\n" not in text


@pytest.mark.parametrize(
    "reason", [r for r in Reason if FACTS[r].condition is ConditionType.STALLED]
)
def test_what_needs_a_person_warns_and_names_a_way_out(reason):
    assert FACTS[reason].event_type == "Warning"
    assert "None needed" not in FACTS[reason].way_out


def test_only_an_engine_at_its_version_is_ready():
    ready = {reason for reason in Reason if FACTS[reason].condition is ConditionType.READY}
    assert ready == {Reason.UP_TO_DATE}


def test_each_reason_of_the_table_of_states_is_in_the_list():
    told = (transition.reason for transition in TRANSITIONS.values())
    shown = {reason for reason in told if isinstance(reason, Reason)}
    assert shown <= set(FACTS)

"""Counters exist from the start, so that the first event is an increase."""

from __future__ import annotations

import pytest

from cse_operator.api.reasons import Reason
from cse_operator.api.upgrade_record import Result
from cse_operator.runtime.metrics import Metrics


@pytest.mark.parametrize(
    ("counter", "label", "values"),
    [
        ("cse_operator_reconcile_errors", "cause", {"kubernetes", "unforeseen"}),
        ("cse_operator_transitions", "reason", {reason.value for reason in Reason}),
        ("cse_operator_upgrades", "result", {result.value for result in Result}),
    ],
)
def test_what_has_not_happened_yet_is_shown_as_zero(
    counter: str, label: str, values: set[str]
) -> None:
    [family] = [f for f in Metrics().registry.collect() if f.name == counter]

    assert {sample.labels[label]: sample.value for sample in family.samples} == dict.fromkeys(
        values, 0.0
    )


def test_what_happens_is_counted_from_there() -> None:
    metrics = Metrics()

    metrics.reconcile_error("unforeseen")

    errors = "cse_operator_reconcile_errors_total"
    assert metrics.registry.get_sample_value(errors, {"cause": "unforeseen"}) == 1
    assert metrics.registry.get_sample_value(errors, {"cause": "kubernetes"}) == 0

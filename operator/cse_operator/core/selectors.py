"""Label selectors, as Kubernetes reads them."""

from __future__ import annotations

from collections.abc import Mapping

from cse_operator.api.policy import Operator, Requirement, Selector


def matches(selector: Selector | None, labels: Mapping[str, str]) -> bool:
    """Whether a selector takes an object with these labels; without a selector, all match."""
    if selector is None:
        return True
    if any(labels.get(key) != value for key, value in selector.match_labels.items()):
        return False
    return all(_holds(requirement, labels) for requirement in selector.match_expressions)


def _holds(requirement: Requirement, labels: Mapping[str, str]) -> bool:
    value = labels.get(requirement.key)
    match requirement.operator:
        case Operator.IN:
            return value in requirement.values
        case Operator.NOT_IN:
            return value not in requirement.values
        case Operator.EXISTS:
            return value is not None
        case Operator.DOES_NOT_EXIST:
            return value is None

"""The policies' CustomResourceDefinitions that are made from the models."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from cse_operator.api import names, policy_crd
from cse_operator.api.advice import ADVICE
from cse_operator.api.patterns import CRON_PATTERN, ZONE_PATTERN
from cse_operator.api.policy import ClusterPolicySpec, PolicySpec
from support.repository import CRDS

DEFINITIONS = {
    names.POLICY_PLURAL: policy_crd.upgrade_policy(),
    names.CLUSTER_POLICY_PLURAL: policy_crd.cluster_upgrade_policy(),
}


def nodes(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, schema
    for name, child in schema.get("properties", {}).items():
        yield from nodes(child, f"{path}.{name}")
    if "items" in schema:
        yield from nodes(schema["items"], f"{path}[]")


def schema_of(plural: str) -> dict[str, Any]:
    return DEFINITIONS[plural]["spec"]["versions"][0]["schema"]["openAPIV3Schema"]


@pytest.mark.parametrize("plural", DEFINITIONS)
def test_the_crds_in_the_repository_are_what_the_models_make(plural):
    stored = yaml.safe_load((CRDS / f"{plural}.yaml").read_text(encoding="utf-8"))
    assert stored == DEFINITIONS[plural], "run `make generate`"


@pytest.mark.parametrize("plural", DEFINITIONS)
def test_each_field_of_a_policy_has_a_description_and_each_text_and_list_a_bound(plural):
    for path, node in nodes(schema_of(plural)["properties"]["spec"], ".spec"):
        if not path.endswith("[]"):
            assert node.get("description", "").endswith("."), path
        if node["type"] == "string":
            assert "maxLength" in node or "enum" in node, path
        if node["type"] == "array":
            assert "maxItems" in node, path


def test_the_two_kinds_differ_by_the_namespaces_alone():
    one, both = (set(model.model_fields) for model in (PolicySpec, ClusterPolicySpec))
    assert both - one == {"namespace_selector"}


@pytest.mark.parametrize("plural", DEFINITIONS)
def test_each_column_of_a_policy_shows_a_field_that_exists(plural):
    known = {path for path, _ in nodes(schema_of(plural))}
    for column in DEFINITIONS[plural]["spec"]["versions"][0]["additionalPrinterColumns"]:
        path = column["jsonPath"].split("[?(")[0]
        assert path == ".metadata.creationTimestamp" or path in known


@pytest.mark.parametrize("schedule", ["0 2 * * SAT", "0,30 2-4 L * *", "5 23 * JAN,MAR-MAY 1#2"])
def test_the_pattern_takes_cron_with_fixed_minutes_and_hours(schedule):
    assert re.fullmatch(CRON_PATTERN, schedule)


@pytest.mark.parametrize("schedule", ["* 2 * * *", "0 */2 * * *", "0 24 * * *", "60 2 * * *"])
def test_the_pattern_takes_no_wildcard_there_and_no_number_that_is_none(schedule):
    assert not re.fullmatch(CRON_PATTERN, schedule)


@pytest.mark.parametrize("plural", DEFINITIONS)
def test_the_rule_with_advice_takes_what_the_pattern_takes(plural):
    found = dict(nodes(schema_of(plural)))
    for field, pattern in (("schedule", CRON_PATTERN), ("timeZone", ZONE_PATTERN)):
        rule = found[f".spec.windows[].{field}"]["x-kubernetes-validations"][0]
        assert rule == {"rule": f"self.matches('{pattern}')", "message": ADVICE[pattern]}


@pytest.mark.parametrize("pattern", ADVICE)
def test_a_pattern_with_advice_needs_no_escapes_in_a_rule(pattern):
    assert not set(pattern) & {"'", "\\"}
    assert (pattern[0], pattern[-1]) == ("^", "$")

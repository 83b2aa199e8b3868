"""The CustomResourceDefinition that is made from the models."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from cse_operator.api import crd, names
from cse_operator.api.spec import Spec
from cse_operator.api.status import NEVER_OBSERVED, Status
from support.repository import ROOT

VERSION = crd.definition()["spec"]["versions"][0]
SCHEMA = VERSION["schema"]["openAPIV3Schema"]


def nodes(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each field of the schema, and each list's items, with the path."""
    yield path, schema
    for name, child in schema.get("properties", {}).items():
        yield from nodes(child, f"{path}.{name}")
    if "items" in schema:
        yield from nodes(schema["items"], f"{path}[]")


NODES = dict(nodes(SCHEMA))
FIELDS = [path for path in NODES if path.startswith((".spec", ".status"))]
STRUCTURAL = {
    "type",
    "description",
    "format",
    "pattern",
    "minLength",
    "maxLength",
    "minimum",
    "maximum",
    "maxItems",
    "enum",
    "default",
    "required",
    "properties",
    "items",
    "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-map-type",
    "x-kubernetes-validations",
}


def test_the_crd_in_the_repository_is_what_the_models_make():
    stored = (ROOT / "crds" / "microserviceengines.yaml").read_text(encoding="utf-8")
    assert stored == crd.render(), "run `make generate`"


def test_what_is_rendered_is_the_definition():
    assert yaml.safe_load(crd.render()) == crd.definition()


@pytest.mark.parametrize("path", NODES)
def test_each_node_is_structural(path):
    """No $ref, no anyOf, no preserve-unknown-fields: only what a structural schema may have."""
    node = NODES[path]
    assert set(node) <= STRUCTURAL
    assert node["type"] in {"object", "array", "string", "integer", "boolean"}


@pytest.mark.parametrize("path", [path for path in FIELDS if not path.endswith("[]")])
def test_each_field_has_a_description(path):
    assert NODES[path].get("description", "").endswith((".", "…")), path


@pytest.mark.parametrize("path", FIELDS)
def test_an_object_names_its_fields(path):
    node = NODES[path]
    if node["type"] == "object":
        assert node["properties"]


@pytest.mark.parametrize("path", [path for path in FIELDS if path.startswith(".spec")])
def test_each_text_of_the_spec_is_bounded_and_shaped(path):
    node = NODES[path]
    if node["type"] == "string":
        assert node["maxLength"] <= 253
        assert node["pattern"].startswith("^")
        assert node["pattern"].endswith("$")


def test_the_models_and_the_schema_have_the_same_fields():
    for model, part in ((Spec, ".spec"), (Status, ".status")):
        aliases = {field.alias or name for name, field in model.model_fields.items()}
        assert set(NODES[part]["properties"]) == aliases


def test_an_engine_cannot_be_exchanged():
    immutable = {
        name
        for name, field in SCHEMA["properties"]["spec"]["properties"].items()
        if any(rule["rule"] == "self == oldSelf" for rule in field.get(RULES, []))
    }
    assert immutable == {"region", "projectId", "engineId"}


RULES = "x-kubernetes-validations"


def test_a_resource_that_nobody_looked_at_does_not_look_finished():
    default = SCHEMA["properties"]["status"]["default"]
    assert default == {"observedGeneration": NEVER_OBSERVED, "phase": "Pending"}


def test_people_find_it_under_its_short_name_and_category():
    told = crd.definition()["spec"]["names"]
    assert told["shortNames"] == ["mse"]
    assert told["categories"] == ["cse"]
    assert told["plural"] == names.PLURAL
    assert VERSION["subresources"] == {"status": {}}


def test_each_column_shows_a_field_that_exists():
    for column in VERSION["additionalPrinterColumns"]:
        path = column["jsonPath"].split("[?(")[0]
        assert path == ".metadata.creationTimestamp" or path in NODES


def test_the_status_is_one_unit_and_the_spec_is_not():
    assert SCHEMA["properties"]["status"]["x-kubernetes-map-type"] == "atomic"
    assert "x-kubernetes-map-type" not in SCHEMA["properties"]["spec"]

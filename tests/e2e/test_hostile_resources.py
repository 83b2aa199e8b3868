"""Hostile resources: the API server refuses the field, or the status says why, without a call."""

from __future__ import annotations

import copy
import json
import unicodedata
from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import pytest

from cse_operator.api import crd
from cse_simulator.control_plane import ApiError, Cluster, LocalControlPlane
from cse_simulator.vendor.simulation import Simulation
from support.engines import engine_manifest, engine_path
from support.kubectl import Kubectl
from support.operator_process import OperatorProcess
from support.policies import install_policy_crds
from support.scene import Scene, condition_types, ready
from support.wait import wait_for_all

Schema = dict[str, Any]

HOSTILE = {
    "way-up": "../../v3/auth/tokens",
    "dots": "..",
    "encoded": "a%2fb",
    "twice-encoded": "a%252e%252e%252fb",
    "backslash": "a\\b",
    "namespace": "other/secret",
    "query": "a?limit=1",
    "fragment": "a#b",
    "host": "a@evil.example.com",
    "port": "a:80",
    "blank": "a b",
    "end-of-line": "cn-north-4\n",
    "header": "a\r\nX-Evil: 1",
    "zero": "a\x00b",
    "escape": "a\x1b[2Jb",
    "delete": "a\x7fb",
    "wide-dots": "\uff0e\uff0e\uff0fa",
    "cyrillic": "\u0441n-north-4",
    "other-digits": "\u0662.\u0664.\u0660",
    "zero-width": "a\u200bb",
    "right-to-left": "a\u202eb",
    "half-a-character": "a\ud800b",
    "too-long": "a" * 300,
}
ANNOTATIONS_LIMIT = 256 * 1024
"""Bytes of all annotations together: the API server's limit."""


def text_fields(schema: Schema, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The paths of all texts in a schema."""
    if schema.get("type") == "string":
        yield path
    for name, child in schema.get("properties", {}).items():
        yield from text_fields(child, (*path, name))


SPEC = crd.definition()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
FIELDS = [".".join(path) for path in text_fields(SPEC)]


def hostile_manifest(namespace: str, field: str, kind: str) -> dict[str, Any]:
    """Return a resource with one hostile field, named after that field and the attack."""
    name = f"{field.lower()}.{kind}"
    manifest = engine_manifest(name, namespace=namespace)
    *parents, last = field.split(".")
    place, schema = manifest["spec"], SPEC
    for parent in parents:
        place, schema = place.setdefault(parent, {}), schema["properties"][parent]
        for needed in schema.get("required", ()):
            place.setdefault(needed, "iam::a:agency:a" if needed.endswith("Urn") else "a")
    place[last] = HOSTILE[kind]
    return manifest


@pytest.mark.parametrize("field", FIELDS)
def test_the_api_server_refuses_a_hostile_text_in_any_field(
    control_plane: Cluster, namespace: str, field: str
) -> None:
    for kind in HOSTILE:
        manifest = hostile_manifest(namespace, field, kind)
        with pytest.raises(ApiError) as refused:
            control_plane.request("POST", engine_path(namespace), manifest)
        assert (refused.value.status, refused.value.reason) == (422, "Invalid"), kind
        assert f"spec.{field}: " in str(refused.value), kind


@pytest.fixture
def unguarded(private_control_plane: LocalControlPlane, simulator: Simulation) -> Scene:
    """A cluster with a CRD of another origin, which lets every text in."""
    definition = crd.definition()
    version = definition["spec"]["versions"][0]
    version["schema"]["openAPIV3Schema"]["properties"]["spec"] = _lenient(SPEC)
    private_control_plane.cluster.install_crd(definition)
    install_policy_crds(private_control_plane.cluster)
    private_control_plane.cluster.create_namespace("payments")
    return Scene(private_control_plane.cluster, "payments", simulator)


def _lenient(schema: Schema) -> Schema:
    kept = copy.deepcopy(schema)
    for rule in ("pattern", "minLength", "maxLength", "x-kubernetes-validations"):
        kept.pop(rule, None)
    for name, child in kept.get("properties", {}).items():
        kept["properties"][name] = _lenient(child)
    return kept


async def test_hostile_text_past_the_api_server_is_refused_without_a_call(
    unguarded: Scene, start_operator: Callable[..., OperatorProcess]
) -> None:
    scene = unguarded
    hostile = list(product(FIELDS, HOSTILE))
    for field, kind in hostile:
        manifest = hostile_manifest(scene.namespace, field, kind)
        scene.cluster.request("POST", engine_path(scene.namespace), manifest)
    operator = start_operator(scene)

    items = await wait_for_all(
        scene.cluster,
        scene.namespace,
        len(hostile),
        lambda item: ready(item)["reason"] == "InvalidSpec",
    )
    named = {f"{field.lower()}.": field for field in FIELDS}
    for item in items:
        field = next(f for start, f in named.items() if item["metadata"]["name"].startswith(start))
        message = item["status"]["message"]
        assert f"spec.{field}: " in message
        assert condition_types(item) == {"Ready": "False", "Stalled": "True"}
        assert not any(unicodedata.category(character)[0] == "C" for character in message)
    assert scene.admin.counts() == {}
    assert "\x1b" not in operator.output()


async def test_a_secret_of_another_namespace_is_never_read(scene: Scene, elsewhere: Scene) -> None:
    elsewhere.secret("shared")
    engine = scene.engine()
    scene.resource(engine, credentialsRef={"name": "shared"})

    item = await scene.until_reason("orders", "CredentialsNotFound")
    message = item["status"]["message"]
    assert f"There is no Secret shared in the namespace {scene.namespace}" in message
    assert scene.calls() == []


@pytest.mark.parametrize(
    ("size", "said"),
    [
        (10 * 1024 * 1024, "Request entity too large"),
        (ANNOTATIONS_LIMIT, "metadata.annotations: Too long: may not be more than 262144 bytes"),
    ],
    ids=["10 MB", "256 KiB and a name"],
)
def test_the_api_server_refuses_oversized_annotations(
    kubectl: Kubectl, namespace: str, size: int, said: str
) -> None:
    manifest = engine_manifest("orders", namespace=namespace)
    manifest["metadata"]["annotations"] = {"example.com/a": "a" * size}
    created = kubectl.run("create", "-f", "-", stdin=json.dumps(manifest))
    assert created.returncode == 1
    assert said in created.stderr


@pytest.mark.parametrize(
    ("character", "share"),
    # The API server stores each of the last ones as six characters, so more would not fit.
    [("a", 1.0), ("\u2028", 1.0), ("\x01", 0.8)],
    ids=["letters", "separators", "control characters"],
)
async def test_annotations_of_the_largest_size_do_not_disturb_an_upgrade(
    scene: Scene, character: str, share: float
) -> None:
    engine = scene.engine()
    scene.secret()
    manifest = engine_manifest(
        "orders", namespace=scene.namespace, projectId=scene.project, engineId=engine.id
    )
    verbs = [f"cse-operator.io/{verb}-requested-at" for verb in ("reconcile", "retry")]
    room = ANNOTATIONS_LIMIT - sum(map(len, verbs))
    each = int(room * share) // 2 // len(character.encode())
    manifest["metadata"]["annotations"] = dict.fromkeys(verbs, character * each)
    scene.cluster.request("POST", engine_path(scene.namespace), manifest)

    item = await scene.until_reason("orders", "UpToDate")
    assert item["status"]["result"] == "Succeeded"
    assert item["status"]["lastHandledReconcileAt"].startswith("sha256:")
    assert scene.accepted(engine) == {"2.4.0": 1}

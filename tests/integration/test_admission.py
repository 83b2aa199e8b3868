"""Which resources the real API server accepts, and its messages for the others."""

from __future__ import annotations

import pytest
import yaml

from cse_simulator.control_plane import Cluster
from support.engines import create_engine, engine_manifest, patch_engine
from support.kubectl import Kubectl

REFUSED_AT_CREATION = [
    ({"version": "2" * 25}, "spec.version: Too long: may not be more than 24 bytes"),
    ({"version": ""}, "spec.version"),
    ({"version": "2.4.0 or so"}, "spec.version"),
    (
        {"version": "v2.4.0"},
        'spec.version: Invalid value: "v2.4.0": write at least three',
    ),
    (
        {"version": "2.4"},
        "numeric parts and no leading v, such as 2.4.0",
    ),
    ({"version": "latest"}, "at least three numeric parts"),
    ({"engineId": "../../v3/evil"}, "spec.engineId"),
    ({"engineId": ".."}, "spec.engineId"),
    ({"engineId": "a/b"}, "spec.engineId"),
    ({"engineId": "a%2fb"}, "spec.engineId"),
    ({"projectId": "a/b"}, "spec.projectId"),
    ({"region": "evil.example.com"}, "spec.region"),
    ({"enterpriseProjectId": "0\r\nX-Evil: 1"}, "spec.enterpriseProjectId"),
    ({"credentialsRef": {"name": "../other"}}, "spec.credentialsRef.name"),
    ({"credentialsRef": {}}, "name a Secret by name, or a serviceAccount: one of the two"),
    (
        {"credentialsRef": {"name": "a", "serviceAccount": {"name": "b", "identityProvider": "c"}}},
        "name a Secret by name, or a serviceAccount: one of the two",
    ),
    (
        {"credentialsRef": {"serviceAccount": {"name": "b"}}},
        "name an identityProvider or a trustAgency: one of the two",
    ),
    (
        {
            "credentialsRef": {
                "serviceAccount": {
                    "name": "b",
                    "identityProvider": "c",
                    "trustAgency": {"providerUrn": "p", "agencyUrn": "a"},
                }
            }
        },
        "name an identityProvider or a trustAgency: one of the two",
    ),
    (
        {"credentialsRef": {"serviceAccount": {"name": "../b", "identityProvider": "c"}}},
        "spec.credentialsRef.serviceAccount.name",
    ),
    (
        {"credentialsRef": {"serviceAccount": {"name": "b", "identityProvider": "c\r\nX-Evil: 1"}}},
        "spec.credentialsRef.serviceAccount.identityProvider",
    ),
    (
        {"credentialsRef": {"serviceAccount": {"name": "b", "trustAgency": {"agencyUrn": "a"}}}},
        "spec.credentialsRef.serviceAccount.trustAgency.providerUrn: Required value",
    ),
    ({"region": "cnnorth4"}, '"cnnorth4": write a region such as cn-north-4'),
    ({"upgrade": {"timeout": "soon"}}, "spec.upgrade.timeout"),
    ({"upgrade": {"timeout": "1d"}}, "such as 90m or 24h: there is no unit d"),
    ({"upgrade": {"retryLimit": 11}}, "spec.upgrade.retryLimit"),
]


def apply(kubectl: Kubectl, namespace: str, **spec: object) -> str:
    """Apply a resource, and return kubectl's output."""
    manifest = yaml.safe_dump(engine_manifest("orders", namespace=namespace, **spec))
    result = kubectl.run("apply", "-f", "-", stdin=manifest)
    return result.stdout + result.stderr


@pytest.mark.parametrize(("spec", "said"), REFUSED_AT_CREATION, ids=lambda value: str(value)[:40])
def test_a_spec_that_does_not_fit_is_refused_by_field(
    kubectl: Kubectl, namespace: str, spec: dict[str, object], said: str
) -> None:
    answer = apply(kubectl, namespace, **spec)
    assert "created" not in answer
    assert said in answer


def test_a_namespace_in_the_reference_to_the_credentials_is_not_a_field(
    kubectl: Kubectl, namespace: str
) -> None:
    reference = {"name": "huaweicloud", "namespace": "kube-system"}
    answer = apply(kubectl, namespace, credentialsRef=reference)
    assert 'unknown field "spec.credentialsRef.namespace"' in answer


@pytest.mark.parametrize(
    "reference",
    [
        {"serviceAccount": {"name": "upgrades", "identityProvider": "cce"}},
        {
            "serviceAccount": {
                "name": "upgrades",
                "trustAgency": {
                    "providerUrn": "iam::0a1b:identityProvider:cce",
                    "agencyUrn": "iam::0a1b:agency:cse",
                },
            }
        },
        None,
    ],
)
def test_a_service_account_leaves_no_name_that_could_be_taken_for_a_secrets(
    control_plane: Cluster, namespace: str, reference: dict[str, object] | None
) -> None:
    created = create_engine(control_plane, "orders", namespace=namespace, credentialsRef=reference)
    stored = created["spec"].get("credentialsRef")
    assert stored == reference
    assert stored is None or "name" not in stored


def test_a_namespace_in_the_reference_to_a_service_account_is_not_a_field(
    kubectl: Kubectl, namespace: str
) -> None:
    account = {"name": "b", "identityProvider": "c", "namespace": "kube-system"}
    answer = apply(kubectl, namespace, credentialsRef={"serviceAccount": account})
    assert 'unknown field "spec.credentialsRef.serviceAccount.namespace"' in answer


@pytest.mark.parametrize(
    ("field", "value"), [("engineId", "another"), ("projectId", "b"), ("region", "cn-east-3")]
)
def test_another_engine_needs_another_resource(
    control_plane: Cluster, kubectl: Kubectl, namespace: str, field: str, value: str
) -> None:
    create_engine(control_plane, "orders", namespace=namespace)
    answer = apply(kubectl, namespace, **{field: value})
    assert f"{field} is immutable: to manage another engine, create another resource" in answer


def test_the_version_the_credentials_and_the_policy_can_be_changed(
    control_plane: Cluster, namespace: str
) -> None:
    create_engine(control_plane, "orders", namespace=namespace)
    changes = {"version": "2.5.0", "suspend": True, "upgrade": {"retryLimit": 3}}
    changed = patch_engine(control_plane, "orders", {"spec": changes}, namespace=namespace)
    assert changed["metadata"]["generation"] == 2
    assert changed["spec"]["upgrade"] == {"priority": 0, "retryLimit": 3, "timeout": "2h"}


def test_a_new_resource_does_not_look_finished(control_plane: Cluster, namespace: str) -> None:
    created = create_engine(control_plane, "orders", namespace=namespace)
    assert created["status"] == {"observedGeneration": -1, "phase": "Pending"}
    assert created["spec"]["suspend"] is False
    assert created["spec"]["upgrade"] == {"priority": 0, "retryLimit": 1, "timeout": "2h"}


def test_a_status_in_a_manifest_is_not_taken(control_plane: Cluster, namespace: str) -> None:
    forged = engine_manifest("orders", namespace=namespace)
    forged["status"] = {"observedGeneration": 1, "phase": "UpToDate"}
    path = f"/apis/cse-operator.io/v1alpha1/namespaces/{namespace}/microserviceengines"
    created = control_plane.request("POST", path, forged)
    assert created["status"] == {"observedGeneration": -1, "phase": "Pending"}


def test_kubectl_lists_and_explains_it(
    control_plane: Cluster, kubectl: Kubectl, namespace: str
) -> None:
    create_engine(control_plane, "orders", namespace=namespace)
    header, row = kubectl("get", "mse", "-n", namespace).splitlines()
    assert header.split() == [
        "NAME",
        "DESIRED",
        "CURRENT",
        "READY",
        "PHASE",
        "JOB",
        "AGE",
    ]
    assert row.split()[:3] == ["orders", "2.4.0", "Pending"]
    assert "orders" in kubectl("get", "cse", "-n", namespace)
    assert "Versions only go up" in kubectl("explain", "mse.spec.version")

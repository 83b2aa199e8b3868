"""What the Helm chart renders, compared with the kustomize base and its components."""

from __future__ import annotations

import importlib
import json
import shutil
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from cse_operator.api import crd
from cse_operator.runtime.settings import Settings
from cse_simulator.control_plane import Cluster
from support.chart_tools import BUILD_SECONDS, CHART, Helm
from support.installation import (
    SYSTEM,
    Manifest,
    environment_of,
    kustomization,
    kustomized,
    parsed,
    the,
)
from support.kubectl import Kubectl
from support.prometheus_operator import definitions
from support.repository import ROOT
from support.strict_schemas import kubeconform

pytestmark = pytest.mark.timeout(BUILD_SECONDS)

MONITORING = [
    f"--set=monitoring.{part}.enabled=true"
    for part in ("serviceMonitor", "prometheusRule", "dashboard")
]
HIGH_AVAILABILITY = ["--set=highAvailability.enabled=true"]
NAMESPACED = [f"--set=namespaces={{{SYSTEM}}}"]

VARIANTS: dict[str, tuple[tuple[str, ...], list[str]]] = {
    "cluster-wide": ((), []),
    "namespaced": (("namespaced",), NAMESPACED),
    "high-availability": (("high-availability",), HIGH_AVAILABILITY),
    "with-monitoring": (("monitoring",), MONITORING),
    "everything": (
        ("namespaced", "high-availability", "monitoring"),
        [*NAMESPACED, *HIGH_AVAILABILITY, *MONITORING],
    ),
}
"""The components and the values that mean the same."""

CHART_LABELS = {
    "app.kubernetes.io/instance",
    "app.kubernetes.io/managed-by",
    "app.kubernetes.io/version",
    "helm.sh/chart",
}


@pytest.fixture
def helm(tmp_path: Path) -> Helm:
    return Helm(tmp_path / "helm")


@pytest.fixture
def generator(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script that makes the chart's generated files."""
    monkeypatch.syspath_prepend(str(ROOT / "hack"))
    return importlib.import_module("helm_chart")


def rendered(helm: Helm, *arguments: str, chart: Path = CHART) -> list[Manifest]:
    """The objects of a release called like the chart."""
    return parsed(helm("template", "cse-operator", str(chart), f"--namespace={SYSTEM}", *arguments))


def comparable(manifests: list[Manifest]) -> dict[tuple[str, str], Any]:
    """The objects by kind and name, without what only one of the two ways has."""
    return {
        (item["kind"], item["metadata"]["name"]): _comparable(item)
        for item in manifests
        if item["kind"] != "Namespace"  # Helm makes it itself
    }


def _comparable(manifest: Manifest) -> Any:
    plain = _without_chart_labels(manifest)
    plain["metadata"].get("annotations", {}).pop("helm.sh/resource-policy", None)
    plain["metadata"] = {key: value for key, value in plain["metadata"].items() if value}
    if manifest["kind"] == "Deployment":
        [container] = plain["spec"]["template"]["spec"]["containers"]
        container["env"] = environment_of(manifest)
    return plain


def _without_chart_labels(node: Any) -> Any:
    if isinstance(node, dict):
        return {
            key: _without_chart_labels(value)
            for key, value in node.items()
            if key not in CHART_LABELS
        }
    return [_without_chart_labels(child) for child in node] if isinstance(node, list) else node


# --- the same as kustomize ------------------------------------------------------------------------


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_chart_renders_the_objects_of_the_overlay(
    helm: Helm, kubectl: Kubectl, tmp_path: Path, variant: str
) -> None:
    components, arguments = VARIANTS[variant]

    ours = comparable(rendered(helm, *arguments))

    assert ours == comparable(kustomized(kubectl, kustomization(tmp_path / "k", *components)))


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_api_server_s_own_schemas_know_every_field(
    helm: Helm, control_plane: Cluster, kubectl: Kubectl, tmp_path: Path, variant: str
) -> None:
    components, arguments = VARIANTS[variant]
    objects = rendered(helm, *arguments)
    objects += kustomized(kubectl, kustomization(tmp_path / "k", *components))

    report = kubeconform(control_plane, tmp_path, objects, definitions=definitions())

    assert report["resources"] == []
    assert report["summary"] == {
        "valid": len(objects),
        "invalid": 0,
        "errors": 0,
        "skipped": 0,
    }


def test_a_field_that_the_api_does_not_know_is_found(
    helm: Helm, control_plane: Cluster, tmp_path: Path
) -> None:
    deployment = the(rendered(helm), "Deployment")
    deployment["spec"]["template"]["spec"]["serviceAcountName"] = "misspelt"

    report = kubeconform(control_plane, tmp_path, [deployment])

    assert report["summary"]["invalid"] == 1
    assert "serviceAcountName" in json.dumps(report["resources"])


def test_a_field_that_the_prometheus_operator_does_not_know_is_found(
    helm: Helm, control_plane: Cluster, tmp_path: Path
) -> None:
    objects = rendered(helm, *MONITORING)
    monitor, rule = the(objects, "ServiceMonitor"), the(objects, "PrometheusRule")
    monitor["spec"]["endpoints"][0]["honourLabels"] = True
    rule["spec"]["groups"][0]["rules"][-1]["keepFiringFor"] = "10m"

    report = kubeconform(control_plane, tmp_path, [monitor, rule], definitions=definitions())

    assert report["summary"]["invalid"] == 2
    assert "honourLabels" in json.dumps(report["resources"])
    assert "keepFiringFor" in json.dumps(report["resources"])


# --- values ---------------------------------------------------------------------------------------


def test_the_chart_passes_helm_s_own_lint(helm: Helm) -> None:
    helm("lint", "--strict", str(CHART))


def test_the_chart_speaks_of_this_version() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

    assert chart["version"] == chart["appVersion"] == project["version"]


def test_every_value_is_in_the_schema_and_the_other_way_round() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
    schema = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))

    def compare(values: dict[str, Any], schema: dict[str, Any], path: str) -> None:
        assert values.keys() == schema["properties"].keys() - {"global"}, path
        assert schema["additionalProperties"] is False, path
        for name, value in values.items():
            inner = schema["properties"][name]
            if "properties" in inner and name != "settings":
                compare(value, inner, f"{path}.{name}")

    compare(values, schema, "")


def test_a_value_that_nobody_explained_does_not_get_into_the_readme(
    generator: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = tmp_path / generator.CHART / "values.yaml"
    values.parent.mkdir(parents=True)
    values.write_text("# How many\nreplicas: 2\n\nimage:\n  # Which one\n  tag: x\n  digest: y\n")
    monkeypatch.setattr(generator, "ROOT", tmp_path)

    with pytest.raises(ValueError, match=r"image\.digest has no comment"):
        generator.documented_values()


@pytest.mark.parametrize(
    ("argument", "complaint"),
    [
        ("--set=imagee.tag=1", "imagee"),
        ("--set=image.digest=latest", "digest"),
        ("--set=settings.pollinterval=5", "pollinterval"),
        ("--set=settings.workers=0", "workers"),
        ("--set=settings.logFormat=xml", "logFormat"),
        ("--set=namespaces={Payments}", "namespaces"),
        ("--set=namespaces={a,a}", "namespaces"),
        ("--set=highAvailability.replicas=1", "replicas"),
        ("--set=networkPolicy.egressPorts={https}", "egressPorts"),
        ("--set=monitoring.prometheusRule.runbookUrl=", "runbookUrl"),
    ],
)
def test_a_value_that_means_nothing_is_refused_by_its_name(
    helm: Helm, argument: str, complaint: str
) -> None:
    result = helm.run("template", "cse-operator", str(CHART), argument)

    assert result.returncode != 0
    assert complaint in result.stderr


def test_every_setting_reaches_the_operator(helm: Helm, monkeypatch: pytest.MonkeyPatch) -> None:
    schema = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
    settings = {
        name: _another_value(field)
        for name, field in schema["properties"]["settings"]["properties"].items()
    }
    settings["outcomeGrace"] = 99  # it has to cover the other waits

    objects = rendered(helm, f"--set-json=settings={json.dumps(settings)}")

    for name, value in environment_of(the(objects, "Deployment")).items():
        monkeypatch.setenv(name, value)
    understood = Settings()
    usual = Settings.model_construct()
    assert len(settings) > 10
    changed = {name for name in Settings.model_fields if name in understood.model_fields_set}
    assert len(changed) >= len(settings)
    for name in changed - {"listen"}:
        assert getattr(understood, name) != getattr(usual, name), name


def _another_value(field: dict[str, Any]) -> Any:
    """A valid value that is not the default."""
    if "enum" in field:
        return next(value for value in field["enum"] if value != field["default"])
    match field["type"]:
        case "boolean":
            return not field["default"]
        case "array":
            return ["cn-north-4", "ap-southeast-3"]
        case "integer" | "number":
            return field["default"] + 1
        case _:
            return "https://else.example.com"


def test_every_alert_links_to_the_runbook_that_the_values_name(helm: Helm) -> None:
    runbook = "https://git.example.com/cse-operator/docs/runbook.md"

    objects = rendered(helm, *MONITORING, f"--set=monitoring.prometheusRule.runbookUrl={runbook}")

    rules = the(objects, "PrometheusRule")["spec"]["groups"][0]["rules"]
    links = {rule["alert"]: rule["annotations"]["runbook_url"] for rule in rules if "alert" in rule}
    assert links == {alert: f"{runbook}#{alert.lower()}" for alert in links}
    assert len(links) > 5


def test_several_namespaces_get_a_role_each_and_the_election_stays_at_home(helm: Helm) -> None:
    objects = rendered(helm, "--set=namespaces={payments,orders}")

    homes = [
        (item["metadata"]["namespace"], item["metadata"]["name"])
        for item in objects
        if item["kind"] == "RoleBinding"
    ]
    assert homes == [
        ("payments", "cse-operator"),
        ("orders", "cse-operator"),
        (SYSTEM, "cse-operator-lease"),
    ]
    environment = environment_of(the(objects, "Deployment"))
    assert environment["CSE_OPERATOR_NAMESPACES"] == "payments,orders"
    assert {item["kind"] for item in objects}.isdisjoint({"ClusterRole", "ClusterRoleBinding"})


def test_a_release_of_another_name_keeps_its_parts_together(helm: Helm) -> None:
    objects = parsed(
        helm("template", "engines", str(CHART), f"--namespace={SYSTEM}", *HIGH_AVAILABILITY)
    )

    deployment = the(objects, "Deployment")
    assert deployment["metadata"]["name"] == "engines-cse-operator"
    account = the(objects, "ServiceAccount")["metadata"]["name"]
    assert deployment["spec"]["template"]["spec"]["serviceAccountName"] == account
    for binding in ("ClusterRoleBinding", "RoleBinding"):
        assert the(objects, binding)["subjects"][0]["name"] == account
    lease_names = the(objects, "Role")["rules"][1]["resourceNames"]
    assert lease_names == [environment_of(deployment)["CSE_OPERATOR_LEASE_NAME"]]


@pytest.mark.parametrize(
    ("arguments", "image"),
    [
        ([], "registry.example.com/cse-operator:0.1.0"),
        (["--set=image.tag=1.2.3"], "registry.example.com/cse-operator:1.2.3"),
        (
            ["--set=image.tag=1.2.3", f"--set=image.digest=sha256:{'0' * 64}"],
            f"registry.example.com/cse-operator@sha256:{'0' * 64}",
        ),
    ],
)
def test_the_image_is_named_by_digest_else_by_tag(
    helm: Helm, arguments: list[str], image: str
) -> None:
    repository = "--set=image.repository=registry.example.com/cse-operator"

    deployment = the(rendered(helm, repository, *arguments), "Deployment")

    [container] = deployment["spec"]["template"]["spec"]["containers"]
    assert container["image"] == image


def test_a_ca_bundle_is_mounted_where_the_operator_looks_for_it(
    helm: Helm, control_plane: Cluster, tmp_path: Path
) -> None:
    deployment = the(
        rendered(helm, "--set=caBundle.configMap=our-ca", "--set=caBundle.key=bundle.pem"),
        "Deployment",
    )

    pod = deployment["spec"]["template"]["spec"]
    [mount] = pod["containers"][0]["volumeMounts"]
    [volume] = pod["volumes"]
    bundle = Path(environment_of(deployment)["CSE_OPERATOR_CA_BUNDLE"])
    assert (bundle.parent, bundle.name) == (Path(mount["mountPath"]), "bundle.pem")
    assert (mount["name"], mount["readOnly"]) == (volume["name"], True)
    assert volume["configMap"] == {"name": "our-ca"}
    assert kubeconform(control_plane, tmp_path, [deployment])["summary"]["valid"] == 1


# --- the CRD --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argument", "policy"), [("--set=crds.keep=true", "keep"), ("--set=crds.keep=false", None)]
)
def test_the_crd_stays_when_the_release_goes_unless_told_otherwise(
    helm: Helm, argument: str, policy: str | None
) -> None:
    definition = the(rendered(helm, argument), "CustomResourceDefinition")

    annotations = definition["metadata"].get("annotations", {})
    assert annotations.get("helm.sh/resource-policy") == policy


def test_without_the_crd_everything_else_is_the_same(helm: Helm) -> None:
    with_it = rendered(helm)
    definition = the(with_it, "CustomResourceDefinition")

    assert rendered(helm, "--set=crds.install=false") == [i for i in with_it if i != definition]


def test_braces_in_a_description_do_not_become_part_of_the_template(
    helm: Helm, generator: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    definition = yaml.safe_load(crd.render())
    schema = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    schema["description"] = "an {{ .Values.image }} of {{ braces }} and {{{ more }}} of them"
    monkeypatch.setattr(crd, "render", lambda: yaml.safe_dump(definition, sort_keys=False))
    chart = tmp_path / "cse-operator"
    shutil.copytree(CHART, chart)
    (chart / "templates" / "crd.yaml").write_text(generator.custom_resource_definition())

    shown = the(rendered(helm, chart=chart), "CustomResourceDefinition")

    assert shown["spec"] == definition["spec"]

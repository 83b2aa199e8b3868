"""The Helm chart's objects, compared with the kustomize base and its components."""

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

from cse_operator import __version__
from cse_operator.api import crd, policy_crd
from cse_operator.runtime.settings import Settings
from cse_simulator.control_plane import Cluster
from support.chart_tools import BUILD_SECONDS, CHART, Helm
from support.installation import (
    DEPLOY,
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
SECURE_METRICS = [
    "--set=secureMetrics.enabled=true",
    "--set=secureMetrics.secretName=cse-operator-metrics-tls",
]
HIGH_AVAILABILITY = ["--set=highAvailability.enabled=true"]
KEYLESS = ["--set=keyless.enabled=true"]
NAMESPACED = [f"--set=namespaces={{{SYSTEM}}}"]

VARIANTS: dict[str, tuple[tuple[str, ...], list[str]]] = {
    "cluster-wide": ((), []),
    "namespaced": (("namespaced",), NAMESPACED),
    "high-availability": (("high-availability",), HIGH_AVAILABILITY),
    "with-monitoring": (("monitoring",), MONITORING),
    "secure-metrics": (("monitoring", "secure-metrics"), [*MONITORING, *SECURE_METRICS]),
    "keyless": (("keyless",), KEYLESS),
    "everything": (
        ("namespaced", "high-availability", "monitoring", "keyless"),
        [*NAMESPACED, *HIGH_AVAILABILITY, *MONITORING, *KEYLESS],
    ),
}
"""Components, and the values that mean the same."""

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
    """The script that generates files of the chart."""
    monkeypatch.syspath_prepend(str(ROOT / "hack"))
    return importlib.import_module("helm_chart")


def rendered(helm: Helm, *arguments: str, chart: Path = CHART) -> list[Manifest]:
    """Return the objects of a release with the chart's name."""
    return parsed(helm("template", "cse-operator", str(chart), f"--namespace={SYSTEM}", *arguments))


def comparable(manifests: list[Manifest]) -> dict[tuple[str, str], Any]:
    """Return the objects by kind and name, without the parts that only one of the two ways has."""
    return {
        (item["kind"], item["metadata"]["name"]): _comparable(item)
        for item in manifests
        if item["kind"] != "CustomResourceDefinition"  # with kustomize, the CRD is a separate step
    }


def _comparable(manifest: Manifest) -> Any:
    plain = _without_chart_labels(manifest)
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


def test_the_chart_lists_every_definition_that_it_installs() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
    kept = [yaml.safe_load(path.read_text()) for path in (ROOT / "crds").glob("*.yaml")]

    listed = yaml.safe_load(chart["annotations"]["artifacthub.io/crds"])

    assert {(one["name"], one["kind"]) for one in listed} == {
        (one["metadata"]["name"], one["spec"]["names"]["kind"]) for one in kept
    }
    assert {one["version"] for one in listed} == {"v1alpha1"}


def test_every_value_is_in_the_schema_and_the_other_way_round() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
    schema = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))

    def compare(values: dict[str, Any], schema: dict[str, Any], path: str) -> None:
        from_outside = set() if path else {"global", "enabled"}
        assert values.keys() == schema["properties"].keys() - from_outside, path
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


NASTY = [
    *("priorityClassName", "image.repository", "image.tag", "caBundle.configMap"),
    *("serviceAccount.name", "fullnameOverride", "nameOverride"),
]


@pytest.mark.parametrize("value", NASTY)
def test_a_value_cannot_bring_a_field_of_its_own(helm: Helm, tmp_path: Path, value: str) -> None:
    values: Any = "x\n      hostPID: true"
    for name in reversed(value.split(".")):
        values = {name: values}
    (tmp_path / "values.yaml").write_text(yaml.safe_dump(values))

    result = helm.run("template", "x", str(CHART), f"--values={tmp_path / 'values.yaml'}")

    assert result.returncode != 0
    assert value in result.stderr.replace("/", ".")


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
        ("--set=replicas=-1", "replicas"),
        ("--set=replicas=2", "more than one needs highAvailability.enabled"),
        ("--set=serviceAccount.create=false", "serviceAccount.name is needed"),
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
    settings["clockTolerance"] = 4
    settings["outcomeGrace"] = 99  # it must cover the other waits

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
    """Return a valid value that is not the default."""
    if "enum" in field:
        return next(value for value in field["enum"] if value != field["default"])
    match field["type"]:
        case "boolean":
            return not field["default"]
        case "array":
            return ["cn-north-4", "ap-southeast-3"]
        case "integer" | "number":
            return field["default"] * 2 or 1
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
        ([], f"registry.example.com/cse-operator:{__version__}"),
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


# --- values as users write them -------------------------------------------------------------------


def _with_values(helm: Helm, folder: Path, text: str, *arguments: str) -> list[Manifest]:
    """Render with a values file, whose numbers Helm reads differently from those of `--set`."""
    (folder / "values.yaml").write_text(text)
    return rendered(helm, f"--values={folder / 'values.yaml'}", *arguments)


def _pod(manifests: list[Manifest]) -> Manifest:
    spec: Manifest = the(manifests, "Deployment")["spec"]["template"]["spec"]
    return spec


@pytest.mark.parametrize("written", ["1000000", "1e6", "1000000.0"])
def test_a_large_number_of_a_values_file_stays_one_that_the_operator_reads(
    helm: Helm, tmp_path: Path, written: str
) -> None:
    objects = _with_values(
        helm,
        tmp_path,
        f"settings: {{metricsResourceLimit: {written}, pollInterval: 0.25}}\n"
        f"podAnnotations: {{number: {written}, truth: true}}\n"
        f"extraEnv: [{{name: OTHER, value: {written}}}]\n",
    )

    environment = environment_of(the(objects, "Deployment"))
    assert environment["CSE_OPERATOR_METRICS_RESOURCE_LIMIT"] == "1000000"
    assert environment["CSE_OPERATOR_POLL_INTERVAL"] == "0.25"
    assert environment["OTHER"] == "1000000"
    annotations = the(objects, "Deployment")["spec"]["template"]["metadata"]["annotations"]
    assert (annotations["number"], annotations["truth"]) == ("1000000", "true")


@pytest.mark.parametrize(("enabled", "deployments"), [(True, 1), (False, 0)])
def test_a_chart_around_it_can_switch_it_and_has_global_values(
    helm: Helm, tmp_path: Path, *, enabled: bool, deployments: int
) -> None:
    parent = tmp_path / "platform"
    (parent / "charts").mkdir(parents=True)
    shutil.copytree(CHART, parent / "charts" / "cse-operator")
    dependency = {
        "name": "cse-operator",
        "version": __version__,
        "condition": "cse-operator.enabled",
    }
    about = {"apiVersion": "v2", "name": "platform", "version": "1.0.0"}
    (parent / "Chart.yaml").write_text(yaml.safe_dump({**about, "dependencies": [dependency]}))
    values = {"cse-operator": {"enabled": enabled}, "global": {"registry": "x"}}
    (parent / "values.yaml").write_text(yaml.safe_dump(values))

    objects = parsed(helm("template", "platform", str(parent)))

    assert [item["kind"] for item in objects].count("Deployment") == deployments


def test_a_repeated_variable_is_there_once_and_the_last_word_wins(helm: Helm) -> None:
    again = [
        {"name": "CSE_OPERATOR_LISTEN", "value": ":9090"},
        {"name": "TWICE", "value": "first"},
        {"name": "CSE_OPERATOR_LOG_FORMAT", "value": "text"},
        {"name": "TWICE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}},
    ]

    objects = rendered(helm, f"--set-json=extraEnv={json.dumps(again)}")

    names = [entry["name"] for entry in _pod(objects)["containers"][0]["env"]]
    assert len(names) == len(set(names))
    environment = environment_of(the(objects, "Deployment"))
    assert environment["CSE_OPERATOR_LISTEN"] == ":9090"
    assert environment["CSE_OPERATOR_LOG_FORMAT"] == "text"
    assert environment["TWICE"] == SYSTEM


def test_the_pod_takes_volumes_hosts_dns_and_annotations(
    helm: Helm, control_plane: Cluster, tmp_path: Path
) -> None:
    objects = _with_values(
        helm,
        tmp_path,
        """
        replicas: 0
        imagePullSecrets: [swr, {name: other}]
        extraVolumes: [{name: kubeconfig, secret: {secretName: elsewhere}}]
        extraVolumeMounts: [{name: kubeconfig, mountPath: /etc/kubeconfig, readOnly: true}]
        hostAliases: [{ip: 10.0.0.7, hostnames: [cse.example.com]}]
        dnsPolicy: None
        dnsConfig: {nameservers: [10.0.0.53]}
        caBundle: {configMap: our-ca}
        commonAnnotations: {team: platform, kubectl.kubernetes.io/default-container: x}
        commonLabels: {team: platform, app.kubernetes.io/name: other}
        podLabels: {team: platform, app.kubernetes.io/name: other}
        podAnnotations: {kubectl.kubernetes.io/default-container: other}
        podSecurityContext: {runAsUser: 1000700000, seccompProfile: null}
        """,
    )

    pod, deployment = _pod(objects), the(objects, "Deployment")
    assert deployment["spec"]["replicas"] == 0
    assert pod["imagePullSecrets"] == [{"name": "swr"}, {"name": "other"}]
    assert [volume["name"] for volume in pod["volumes"]] == ["ca-bundle", "kubeconfig"]
    assert pod["containers"][0]["volumeMounts"][1]["mountPath"] == "/etc/kubeconfig"
    assert pod["hostAliases"][0]["hostnames"] == ["cse.example.com"]
    assert (pod["dnsPolicy"], pod["dnsConfig"]) == ("None", {"nameservers": ["10.0.0.53"]})
    assert pod["securityContext"] == {"runAsNonRoot": True, "runAsUser": 1000700000}
    template = deployment["spec"]["template"]["metadata"]
    assert deployment["spec"]["selector"]["matchLabels"].items() <= template["labels"].items()
    assert template["annotations"] == {"kubectl.kubernetes.io/default-container": "other"}
    ours = [item for item in objects if item["kind"] != "CustomResourceDefinition"]
    assert {item["metadata"]["annotations"]["team"] for item in ours} == {"platform"}
    assert {item["metadata"]["labels"]["team"] for item in ours} == {"platform"}
    names = {item["metadata"]["labels"]["app.kubernetes.io/name"] for item in ours}
    assert names == {"cse-operator"}
    assert kubeconform(control_plane, tmp_path, objects)["summary"]["valid"] == len(objects)


@pytest.mark.parametrize("arguments", [[], ["--set=podSecurityContext.runAsUser=null"]])
def test_no_user_is_named_so_that_openshift_can_choose_one(
    helm: Helm, arguments: list[str]
) -> None:
    context = _pod(rendered(helm, *arguments))["securityContext"]

    assert context == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}


def test_names_that_yaml_would_read_as_something_else_stay_names(
    helm: Helm, control_plane: Cluster, tmp_path: Path
) -> None:
    objects = parsed(
        helm(
            *("template", "12345", str(CHART), "--namespace=123", "--set-string=namespaces={123}"),
            *("--set-string=fullnameOverride=007", "--set-string=priorityClassName=123"),
            *("--set-string=serviceAccount.name=0x1f", *HIGH_AVAILABILITY, *MONITORING),
        )
    )

    report = kubeconform(control_plane, tmp_path, objects, definitions=definitions())
    assert report["summary"]["valid"] == len(objects), report
    assert the(objects, "Deployment")["metadata"]["name"] == "007"


# --- the networks ---------------------------------------------------------------------------------

CLUSTERS = {"EKS and GKE": 443, "CCE": 5443, "CCE's Service": 5444, "kind": 6443, "k3s": 6444}


@pytest.mark.parametrize("way", ["chart", "kustomize"])
def test_the_policy_lets_the_operator_out_to_every_usual_api_server_and_to_dns(
    helm: Helm, kubectl: Kubectl, way: str
) -> None:
    objects = rendered(helm) if way == "chart" else kustomized(kubectl, DEPLOY / "base")

    dns, others = the(objects, "NetworkPolicy")["spec"]["egress"]
    assert {port["port"] for port in others["ports"]} >= set(CLUSTERS.values())
    for protocol in ("UDP", "TCP"):
        open_ports = {port["port"] for port in dns["ports"] if port["protocol"] == protocol}
        assert open_ports == {53, 5353}, "OpenShift's DNS is on 5353"
    families = {":" in block["ipBlock"]["cidr"] for block in others["to"]}
    assert families == {True, False}
    assert environment_of(the(objects, "Deployment"))["CSE_OPERATOR_LISTEN"] == ":8080"


def test_other_ports_are_a_value_away(helm: Helm, tmp_path: Path) -> None:
    objects = _with_values(
        helm, tmp_path, "networkPolicy: {egressPorts: [16443], dnsPorts: [1053], metricsFrom: []}"
    )

    policy = the(objects, "NetworkPolicy")["spec"]
    assert [port["port"] for port in policy["egress"][1]["ports"]] == [16443]
    assert {(p["port"], p["protocol"]) for p in policy["egress"][0]["ports"]} == {
        (1053, "UDP"),
        (1053, "TCP"),
    }
    # An empty list in the policy itself would let every client in.
    assert "ingress" not in policy
    assert "Ingress" in policy["policyTypes"]


@pytest.mark.parametrize("way", ["chart", "kustomize"])
def test_the_metrics_are_for_few_by_default_and_for_all_by_one_word(
    helm: Helm, kubectl: Kubectl, tmp_path: Path, way: str
) -> None:
    everybody = '--set-json=networkPolicy.metricsFrom=[{"namespaceSelector":{}}]'
    if way == "chart":
        narrow, wide = rendered(helm), rendered(helm, everybody)
    else:
        narrow = kustomized(kubectl, DEPLOY / "base")
        wide = kustomized(kubectl, kustomization(tmp_path, "metrics-for-all"))

    [rule] = the(narrow, "NetworkPolicy")["spec"]["ingress"]
    assert all(peer["namespaceSelector"] for peer in rule["from"])
    [rule] = the(wide, "NetworkPolicy")["spec"]["ingress"]
    assert rule["from"] == [{"namespaceSelector": {}}]


# --- the CRD --------------------------------------------------------------------------------------


def crds_of(objects: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [item for item in objects if item["kind"] == "CustomResourceDefinition"]


def test_the_crds_stay_when_the_release_goes_and_are_those_of_the_other_ways(helm: Helm) -> None:
    ours = [crd.definition(), policy_crd.upgrade_policy(), policy_crd.cluster_upgrade_policy()]
    shown = {item["metadata"]["name"]: item for item in crds_of(rendered(helm))}

    assert len(shown) == len(ours)
    for definition in ours:
        of_the_chart = shown[definition["metadata"]["name"]]
        assert of_the_chart["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"
        labels = of_the_chart["metadata"].pop("labels")
        assert of_the_chart == definition
        assert "app.kubernetes.io/name" not in labels


def test_without_the_crd_everything_else_is_the_same(helm: Helm) -> None:
    with_it = rendered(helm)
    ours = crds_of(with_it)

    assert rendered(helm, "--set=crds.install=false") == [i for i in with_it if i not in ours]


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

    shown = {item["metadata"]["name"]: item for item in crds_of(rendered(helm, chart=chart))}

    assert shown[definition["metadata"]["name"]]["spec"] == definition["spec"]

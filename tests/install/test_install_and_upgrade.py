"""Each way to install, from an empty cluster to an upgraded engine, and to uninstall."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from cse_simulator.control_plane import Cluster, LocalControlPlane
from cse_simulator.vendor.jobs import JobPlan
from cse_simulator.vendor.simulation import Simulation
from support import processes
from support.chart_tools import BUILD_SECONDS, CHART, Helm
from support.engines import engine_path
from support.installation import (
    CRD,
    DEPLOY,
    IN_THE_CLUSTER,
    SYSTEM,
    WHERE_IT_SERVES,
    Manifest,
    Right,
    await_crd,
    environment_of,
    install_steps_before,
    kustomization,
    operator_of,
    rights,
    rights_once_granted,
    until_it_says,
    where_it_runs,
)
from support.kubectl import Kubectl
from support.operator_process import OperatorProcess
from support.repository import ROOT
from support.scene import Scene
from support.wait import wait_until_gone

pytestmark = pytest.mark.timeout(BUILD_SECONDS)

CRDS = "apis/apiextensions.k8s.io/v1/customresourcedefinitions"
LEADS = "cse_operator_leader 1.0"
CRD_PATH = f"/{CRDS}/{CRD}"

ELECTED = ("--poll-interval=0.2", "--lease-duration=6", "--outcome-grace=8.5")
"""With leader election, the grace must outlast the calls of a previous leader."""

Installer = Callable[[Cluster, Path], Manifest]
"""Installs in a cluster with the namespace `payments`, and returns the Deployment."""


def cluster_wide(cluster: Cluster, folder: Path) -> Manifest:
    install_steps_before(Kubectl(cluster))
    Kubectl(cluster)("apply", "-k", str(DEPLOY / "base"))
    return deployment(cluster, SYSTEM, "cse-operator")


def namespaced(cluster: Cluster, folder: Path) -> Manifest:
    own = kustomization(folder / "own", "namespaced", namespace="payments")
    Kubectl(cluster)("apply", "-k", str(ROOT / "crds"))
    Kubectl(cluster)("apply", "-k", str(own))
    return deployment(cluster, "payments", "cse-operator")


def high_availability(cluster: Cluster, folder: Path) -> Manifest:
    install_steps_before(Kubectl(cluster))
    Kubectl(cluster)("apply", "-k", str(DEPLOY / "overlays" / "high-availability"))
    return deployment(cluster, SYSTEM, "cse-operator")


def helm(cluster: Cluster, folder: Path) -> Manifest:
    Helm(folder, cluster)(
        "install", "ours", str(CHART), f"--namespace={SYSTEM}", "--create-namespace"
    )
    return deployment(cluster, SYSTEM, "ours-cse-operator")


def helm_for_one_namespace(cluster: Cluster, folder: Path) -> Manifest:
    Helm(folder, cluster)(
        "install",
        "cse-operator",
        str(CHART),
        f"--namespace={SYSTEM}",
        "--create-namespace",
        "--set=namespaces={payments}",
        "--set=highAvailability.enabled=true",
    )
    return deployment(cluster, SYSTEM, "cse-operator")


def deployment(cluster: Cluster, namespace: str, name: str) -> Manifest:
    found: Manifest = Kubectl(cluster).json("get", "deployment", name, "-n", namespace)
    return found


@pytest.mark.parametrize(
    "install",
    [cluster_wide, namespaced, high_availability, helm, helm_for_one_namespace],
    ids=lambda install: install.__name__,
)
async def test_an_engine_is_upgraded_under_exactly_the_rights_that_were_installed(
    private_control_plane: LocalControlPlane,
    simulator: Simulation,
    tmp_path: Path,
    install: Installer,
) -> None:
    cluster = private_control_plane.cluster
    for name in ("payments", "elsewhere"):
        cluster.create_namespace(name)
    installed = install(cluster, tmp_path)
    await_crd(cluster, Kubectl(cluster))
    confined = install in {namespaced, helm_for_one_namespace}
    _its_rights_are_these_and_no_others(cluster, installed, confined=confined)

    scene = Scene(cluster, "payments", simulator)
    beyond = Scene(cluster, "elsewhere", simulator)
    for each in (beyond, scene):
        each.secret()
        each.resource(each.engine())
    with operator_of(
        installed, cluster, tmp_path, cse_endpoint=simulator.url, flags=ELECTED
    ) as operator:
        await scene.until_reason("orders", "UpToDate")
        await scene.event("orders", "UpToDate")
        if not confined:
            await beyond.until_reason("orders", "UpToDate")
        assert operator.terminate() == 0
    assert "forbidden" not in operator.output()
    assert len(scene.changing_calls()) == 1
    assert "All is right." in _checked(installed, tmp_path, simulator)
    if confined:
        assert beyond.calls() == []
        assert beyond.get("orders")["status"]["observedGeneration"] == -1


def _checked(installed: Manifest, folder: Path, simulator: Simulation) -> str:
    """Return the output of `cse-operator check` in the operator's Pod."""
    flags = [f"--{api}-endpoint={simulator.url}" for api in ("cse", "iam")]
    result = subprocess.run(
        [sys.executable, "-m", "cse_operator", "check", *flags, "--allow-insecure-endpoint"],
        env=processes.python_environment(
            {**environment_of(installed), "KUBECONFIG": str(folder / "operator.kubeconfig")}
        ),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def _its_rights_are_these_and_no_others(
    cluster: Cluster, installed: Manifest, *, confined: bool
) -> None:
    home = installed["metadata"]["namespace"]
    account = installed["spec"]["template"]["spec"]["serviceAccountName"]
    token = cluster.service_account_token(home, account)
    Kubectl(cluster)("create", "serviceaccount", "nobody", "-n", home)
    nobody = cluster.service_account_token(home, "nobody")

    served = WHERE_IT_SERVES if confined else WHERE_IT_SERVES | IN_THE_CLUSTER
    expected: dict[str, set[Right]] = {
        name: set() if confined and name != "payments" else set(served)
        for name in ("payments", "elsewhere", home)
    }
    expected[home] |= where_it_runs(lease=installed["metadata"]["name"])
    for name, granted in expected.items():
        found = rights_once_granted(cluster, token, name, granted)
        assert found - rights(cluster, nobody, name) == granted, name


# --- high availability --------------------------------------------------------------------------


async def test_with_high_availability_the_other_one_goes_on_when_the_leader_dies(
    private_control_plane: LocalControlPlane, simulator: Simulation, tmp_path: Path
) -> None:
    cluster = private_control_plane.cluster
    installed = high_availability(cluster, tmp_path)
    await_crd(cluster, Kubectl(cluster))
    cluster.create_namespace("payments")
    scene = Scene(cluster, "payments", simulator)
    engine = scene.engine()
    scene.secret()
    token = cluster.service_account_token(SYSTEM, "cse-operator")
    everything = WHERE_IT_SERVES | where_it_runs()
    assert rights_once_granted(cluster, token, SYSTEM, everything) >= everything

    with ExitStack() as stack:
        first, second = (
            stack.enter_context(_candidate(installed, cluster, tmp_path, simulator, name))
            for name in ("first", "second")
        )
        leader = await _leader_of(first, second)
        standby = second if leader is first else first
        simulator.admin.plan_jobs(JobPlan(seconds=600), engine.id)
        scene.resource(engine)
        item = await scene.until_reason("orders", "Upgrading")

        leader.kill()
        simulator.admin.end_job(item["status"]["jobId"])
        await scene.until_reason("orders", "UpToDate")
        assert await _leader_of(standby) is standby
        assert len(scene.changing_calls()) == 1


def _candidate(
    installed: Manifest, cluster: Cluster, folder: Path, simulator: Simulation, name: str
) -> OperatorProcess:
    flags = ["--poll-interval=0.2", "--lease-duration=3"]
    return operator_of(
        installed, cluster, folder, cse_endpoint=simulator.url, flags=flags, name=name
    )


async def _leader_of(*candidates: OperatorProcess) -> OperatorProcess:
    """Wait until one of them reports that it leads, and no other does."""
    deadline = time.monotonic() + 60.0
    while True:
        leaders = [one for one in candidates if LEADS in one.get("/metrics")[1].splitlines()]
        if len(leaders) == 1:
            return leaders[0]
        assert not leaders
        assert time.monotonic() < deadline, [one.output() for one in candidates]
        await asyncio.sleep(0.05)


# --- upgrading ----------------------------------------------------------------------------------


async def test_an_operator_that_is_newer_than_the_crd_begins_nothing_and_says_so(
    private_control_plane: LocalControlPlane, simulator: Simulation, tmp_path: Path
) -> None:
    cluster = private_control_plane.cluster
    installed = cluster_wide(cluster, tmp_path)
    await_crd(cluster, Kubectl(cluster))
    older = cluster.request("GET", CRD_PATH)
    schema = older["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    del schema["properties"]["status"]["properties"]["upgrade"]
    cluster.request("PUT", CRD_PATH, older)
    cluster.create_namespace("payments")
    scene = Scene(cluster, "payments", simulator)
    scene.secret()
    scene.resource(scene.engine())

    with operator_of(
        installed, cluster, tmp_path, cse_endpoint=simulator.url, flags=ELECTED
    ) as operator:
        await until_it_says(operator, 'unknown field \\"status.upgrade\\"')
        operator.wait_until_shown(
            r'^cse_operator_reconcile_errors_total\{cause="kubernetes"\} [1-9]'
        )
        assert scene.changing_calls() == []

        Kubectl(cluster)("apply", "--server-side", "--force-conflicts", "-k", str(ROOT / "crds"))
        await scene.until_reason("orders", "UpToDate")


# --- uninstalling -------------------------------------------------------------------------------


async def test_uninstalling_in_mid_upgrade_touches_no_engine_and_leaves_nothing_stuck(
    private_control_plane: LocalControlPlane, simulator: Simulation, tmp_path: Path
) -> None:
    cluster, kubectl = private_control_plane.cluster, Kubectl(private_control_plane.cluster)
    installed = cluster_wide(cluster, tmp_path)
    await_crd(cluster, kubectl)
    cluster.create_namespace("payments")
    scene = Scene(cluster, "payments", simulator)
    engine = scene.engine()
    scene.secret()
    simulator.admin.plan_jobs(JobPlan(seconds=600), engine.id)
    scene.resource(engine)
    with operator_of(
        installed, cluster, tmp_path, cse_endpoint=simulator.url, flags=ELECTED
    ) as operator:
        item = await scene.until_reason("orders", "Upgrading")

        # The CRD goes last, and all resources with it.
        kubectl("delete", "-k", str(DEPLOY / "base"))
        assert scene.get("orders")["status"]["jobId"] == item["status"]["jobId"]
        kubectl("delete", "-k", str(ROOT / "crds"), "--wait=false")
        await wait_until_gone(cluster, None, CRD, collection=CRDS)
        assert operator.terminate() == 0

    assert len(scene.changing_calls()) == 1
    simulator.admin.end_job(item["status"]["jobId"])
    assert simulator.admin.engine(engine.id).version == "2.4.0"


# --- Helm ---------------------------------------------------------------------------------------


def test_helm_brings_the_crd_up_to_date_and_leaves_it_with_the_resources(
    private_control_plane: LocalControlPlane, tmp_path: Path
) -> None:
    cluster = private_control_plane.cluster
    helm, home = Helm(tmp_path, cluster), f"--namespace={SYSTEM}"

    helm("install", "ours", str(_older_chart(tmp_path)), home, "--create-namespace")
    assert "shortNames" not in cluster.request("GET", CRD_PATH)["spec"]["names"]
    helm("upgrade", "ours", str(CHART), home)
    assert cluster.request("GET", CRD_PATH)["spec"]["names"]["shortNames"] == ["mse"]

    await_crd(cluster, Kubectl(cluster))
    Kubectl(cluster)("apply", "-f", str(DEPLOY / "samples" / "servicecomb-engine.yaml"))
    helm("uninstall", "ours", home)
    assert cluster.request("GET", engine_path("default", "orders"))["spec"]["version"] == "2.4.0"

    # Another release does not touch the CRD until it is told that it owns it.
    before = cluster.request("GET", CRD_PATH)["metadata"]
    helm("install", "theirs", str(CHART), home)
    assert cluster.request("GET", CRD_PATH)["metadata"] == before
    own = {"release-name": "theirs", "release-namespace": SYSTEM}
    told = [f"meta.helm.sh/{name}={value}" for name, value in own.items()]
    Kubectl(cluster)("annotate", "--overwrite", f"crd/{CRD}", *told)
    helm("upgrade", "theirs", str(CHART), home)
    assert "CustomResourceDefinition" in helm("get", "manifest", "theirs", home)
    assert cluster.request("GET", engine_path("default", "orders"))["spec"]["version"] == "2.4.0"


def test_an_earlier_chart_without_its_crds_leaves_the_newer_crds_and_a_rollback_does_not(
    private_control_plane: LocalControlPlane, tmp_path: Path
) -> None:
    """docs/install.md says how to roll the operator back, and why not by `helm rollback`."""
    cluster = private_control_plane.cluster
    helm, home = Helm(tmp_path, cluster), f"--namespace={SYSTEM}"
    older = str(_older_chart(tmp_path))

    def is_newer() -> bool:
        return "shortNames" in cluster.request("GET", CRD_PATH)["spec"]["names"]

    helm("install", "ours", older, home, "--create-namespace")
    helm("upgrade", "ours", str(CHART), home)
    again = (home, "--reset-then-reuse-values")
    helm("upgrade", "ours", older, *again, "--set=crds.install=false")
    assert "CustomResourceDefinition" not in helm("get", "manifest", "ours", home)
    assert is_newer()

    helm("upgrade", "ours", str(CHART), *again, "--set=crds.install=true")
    assert "CustomResourceDefinition" in helm("get", "manifest", "ours", home)
    assert is_newer()

    helm("rollback", "ours", "1", home)
    assert not is_newer()


def _older_chart(folder: Path) -> Path:
    """Write the chart as it was before the CRD had short names; return its folder."""
    chart = folder / "older"
    shutil.copytree(CHART, chart)
    template = chart / "templates" / "crd.yaml"
    older = template.read_text().replace("    shortNames:\n    - mse\n", "")
    assert older != template.read_text()
    template.write_text(older)
    return chart

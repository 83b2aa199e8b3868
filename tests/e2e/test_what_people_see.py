"""README, docs/fleet.md and docs/kubectl-cse.md show the output of real runs, and it reads well.

`CSE_DOCS=write make test ARGS="-k what_people_see"` rewrites the blocks on the pages.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from cse_operator.api import crd
from cse_operator.api.status import Phase
from cse_simulator.control_plane import LocalControlPlane
from cse_simulator.vendor.faults import Fault
from cse_simulator.vendor.jobs import JobPlan
from cse_simulator.vendor.simulation import Simulation
from support import plugin
from support.command import run as run_command
from support.engines import create_engine, engine_manifest
from support.operator_process import OperatorProcess
from support.plugin import Plugin
from support.policies import install_policy_crds
from support.repository import ROOT
from support.scene import Scene

PAGE, README = ROOT / "docs" / "fleet.md", ROOT / "README.md"
PLUGIN_PAGE = ROOT / "docs" / "kubectl-cse.md"
PLAN_PAGE = ROOT / "docs" / "plan-and-import.md"
BLOCK = re.compile(r"```console\n\$ ((?:kubectl|cse-operator) [^\n]+)\n(.*?)```\n", re.DOTALL)

LIFE = "kubectl get mse -n payments -w"

NARROW, WIDE = 80, 160
"""Columns of a terminal."""

CHANGING = (
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "TIME"),
    (r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "UUID"),
    (r"\b[0-9a-f]{32}\b", "ID"),
    (r"(Resource Version:) +\d+", r"\1 N"),
    (r"\b(\d+[smh])+\b( \(x\d+ over \w+\))?", "AGE"),
    (r"(\n +completion)\s+", r"\1 "),  # argparse breaks this line from Python 3.14 on no more
    (r" +", " "),
    (r"-{4,}", "----"),
    (r"Kubernetes v[0-9.]+", "Kubernetes VERSION"),
)
"""Patterns of text that differs from run to run, or with the Python."""


@pytest.fixture
def fleet(private_control_plane: LocalControlPlane, simulator: Simulation) -> Scene:
    """Three namespaces in their own cluster; no operator serves the last one."""
    cluster = private_control_plane.cluster
    cluster.install_crd(crd.definition())
    install_policy_crds(cluster)
    for namespace in ("payments", "search", "staging"):
        cluster.create_namespace(namespace)
    return Scene(cluster, "payments", simulator, project="0a1b2c3d4e5f60718293a4b5c6d7e8f9")


async def test_a_fleet_in_all_phases_reads_as_the_page_shows(
    fleet: Scene, start_operator: Callable[..., OperatorProcess], tmp_path: Path
) -> None:
    search = Scene(fleet.cluster, "search", fleet.simulation, project=fleet.project)
    create_engine(fleet.cluster, "orders", namespace="staging")
    for scene in (fleet, search):
        scene.secret()
    patient = (
        "--request-timeout=20",
        "--send-window=1",
        "--read-lag=0",
        "--clock-tolerance=1",
        "--outcome-grace=23",
    )
    start_operator(fleet, "--namespaces=search", *patient).wait_until_it_may_call()

    await bring(fleet, "orders", "UpToDate")
    await bring(fleet, "ledger", "Upgrading", JobPlan(outcome="never"))
    await bring(fleet, "invoices", "UpgradeFailed", JobPlan(outcome="error", times=None))
    fleet.resource(fleet.engine("refunds"), version="9.9.9")
    await fleet.until_reason("refunds", "UpgradeRejected")
    registry = search.engine("registry", type="NACOS", version="2.1.0.9", latest_version="2.1.0.16")
    search.resource(registry, version="2.1.0.16", suspend=True)
    await search.until_reason("registry", "Suspended")
    await what_the_tools_say(fleet, tmp_path)
    edge = search.engine("edge", type="MICROGATEWAY")
    fleet.admin.add_fault(Fault(operation="Upgrade", engine_id=edge.id, hang=True))
    search.resource(edge)
    await search.until_reason("edge", "Submitting")
    await fleet.event("invoices", "UpgradeFailed")

    shown = {command: fleet.kubectl(*command.split()[1:]) for command in blocks_of(PAGE)}
    items = fleet.kubectl.json("get", "mse", "-A")["items"]
    assert {item["status"]["phase"] for item in items} == set(Phase)
    assert widest(shown["kubectl get mse -n payments"]) <= NARROW
    assert widest(shown["kubectl get mse -A"]) <= NARROW
    wide = re.sub(r"AGE +", "AGE   ", shown["kubectl get mse -A -o wide"])  # as in a young cluster
    assert wide.index("MESSAGE") <= WIDE - 40
    assert_shown(PAGE, shown)


async def test_an_upgrade_reads_as_the_readme_shows(
    unserved_with_own_vendor: Scene, start_operator: Callable[..., OperatorProcess]
) -> None:
    scene = unserved_with_own_vendor
    engine = scene.engine()
    scene.secret()
    start_operator(scene).wait_until_it_may_call()
    scene.resource(engine, version="2.3.1")
    await scene.until_reason("orders", "UpToDate")

    seen: list[str] = []
    async with (
        scene.kubectl.lines("get", "mse", "-n", scene.namespace, "-w") as lines,
        asyncio.timeout(60),
    ):
        async for line in lines:
            seen.append(line)
            if len(seen) == len(["the header", "the engine as it is"]):
                scene.patch("orders", version="2.4.0")
            if line.split()[1:5] == ["2.4.0", "2.4.0", "True", "UpToDate"]:
                break

    assert_shown(README, {LIFE: "".join(f"{line}\n" for line in seen)})


async def what_the_tools_say(fleet: Scene, folder: Path) -> None:
    """Show the same resources with `kubectl cse` and `cse-operator plan`."""
    person = Plugin(fleet.cluster, plugin.build(folder / "plugin"))
    commands = set(blocks_of(PLUGIN_PAGE))
    said = {command: person.run(*command.split()[2:]).stdout for command in commands}
    assert max(map(widest, said.values())) <= NARROW
    assert_shown(PLUGIN_PAGE, said)

    write_what_is_planned(fleet, folder / "engines")
    planned = {
        command: run_command(
            *command.split()[1:],
            "--ask-vendor",
            vendor=fleet.simulation.url,
            kubeconfig=fleet.cluster.kubeconfig,
            access_key=False,
            folder=folder,
        ).stdout
        for command in blocks_of(PLAN_PAGE)
    }
    assert_shown(PLAN_PAGE, planned)


async def bring(scene: Scene, name: str, reason: str, plan: JobPlan | None = None) -> None:
    """Create a resource and wait until it has this reason, before the next one makes its calls."""
    engine = scene.engine(name)
    if plan is not None:
        scene.admin.plan_jobs(plan, engine.id)
    scene.resource(engine, upgrade={"retryLimit": 0})
    await scene.until_reason(name, reason)


def write_what_is_planned(fleet: Scene, folder: Path) -> None:
    """Write the manifests of a commit: one asks for an offered version, one resumes a resource."""
    folder.mkdir()
    items = fleet.kubectl.json("get", "mse", "-A")["items"]
    changes = {"refunds": {"version": "2.4.0"}, "registry": {"suspend": False}}
    for item in items:
        place, name = item["metadata"]["namespace"], item["metadata"]["name"]
        spec = {**item["spec"], **changes.get(name, {})}
        if place != "staging":
            manifest = engine_manifest(name, namespace=place, **spec)
            (folder / f"{name}.yaml").write_text(json.dumps(manifest))


def widest(text: str) -> int:
    return max(map(len, text.splitlines()))


def settled(text: str) -> str:
    """Return the text without the parts that vary; the order of Events varies too."""
    for pattern, instead in CHANGING:
        text = re.sub(pattern, instead, text)
    body, mark, events = text.partition("Events:")
    lines = [line.strip() for line in body.strip().splitlines()]
    return "\n".join([*lines, mark, *sorted({line.strip() for line in events.splitlines()})])


def blocks_of(page: Path) -> dict[str, str]:
    """Return the kubectl commands on a page, each with the output that the page shows."""
    return dict(BLOCK.findall(page.read_text()))


def assert_shown(page: Path, shown: dict[str, str]) -> None:
    """Assert that the blocks of a page equal the output of their commands."""
    if os.environ.get("CSE_DOCS") == "write":
        write(page, shown)
    blocks = blocks_of(page)
    held = blocks.keys() & shown
    assert held
    for command in held:
        assert settled(shown[command]) == settled(blocks[command]), command


def write(page: Path, shown: dict[str, str]) -> None:
    def block(found: re.Match[str]) -> str:
        text = shown.get(found[1], found[2])
        return f"```console\n$ {found[1]}\n{text}```\n"

    page.write_text(BLOCK.sub(block, page.read_text()))

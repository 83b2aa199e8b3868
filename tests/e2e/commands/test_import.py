"""`cse-operator import` from the simulated vendor into a cluster with a running operator."""

from __future__ import annotations

from pathlib import Path

import pytest

from cse_operator.cli.manifests import read_text
from cse_simulator.vendor.engines import DEFAULT_PROJECT
from cse_simulator.vendor.faults import Fault
from cse_simulator.vendor.seeds import Generation
from cse_simulator.vendor.simulation import start_simulator
from support import command, wait
from support.scene import Scene, ready

FLEET = 300


def imported(scene: Scene, folder: Path, *flags: str) -> str:
    """Import the scene's project into a folder, and return the output."""
    result = command.run(
        "import",
        "--region=cn-north-4",
        f"--project-id={scene.project}",
        f"--namespace={scene.namespace}",
        f"--folder={folder}",
        *flags,
        vendor=scene.simulation.url,
        kubeconfig=scene.cluster.kubeconfig,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout == ""
    return result.stderr


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.timeout(300)
async def test_three_hundred_engines_are_imported_and_applied_and_nothing_is_started(
    scene: Scene, tmp_path: Path
):
    scene.admin.generate_engines(
        Generation(count=FLEET, version="2.3.1", latest_version="2.4.0", project=scene.project)
    )
    scene.secret()
    assert f"wrote {FLEET} to" in imported(scene, tmp_path, "--kustomization")
    first = files(tmp_path)
    assert len(first) == FLEET + 1

    scene.kubectl("apply", "-k", str(tmp_path), timeout=240)
    await wait.wait_for_all(
        scene.cluster,
        scene.namespace,
        FLEET,
        lambda item: ready(item)["reason"] == "UpToDate",
        timeout=240,
    )
    assert scene.changing_calls() == []

    assert f"left out {FLEET}" in imported(scene, tmp_path, "--kustomization")
    imported(scene, tmp_path, "--kustomization", "--overwrite")
    assert files(tmp_path) == first


@pytest.mark.parametrize("style", ["item", "item-from-one", "page", "page-from-zero"])
def test_each_engine_is_imported_once_under_every_paging_style(tmp_path: Path, style: str):
    with start_simulator(engines=1100, paging_style=style) as simulation:
        result = command.run(
            "import",
            "--region=cn-north-4",
            f"--project-id={DEFAULT_PROJECT}",
            "--no-cluster",
            vendor=simulation.url,
        )
        assert result.returncode == 0, result.stderr
        assert {call.method for call in simulation.admin.calls()} == {"GET"}
    manifests = read_text(result.stdout)
    assert len({manifest.spec["engineId"] for manifest in manifests}) == len(manifests) == 1100


def test_an_engine_that_cannot_be_read_is_said_and_the_others_are_written(tmp_path: Path):
    with start_simulator(engines=2) as simulation:
        here, there = simulation.admin.engines()
        simulation.admin.add_fault(
            Fault(operation="ShowEngine", engine_id=there.id, times=None, status=403)
        )
        result = command.run(
            "import",
            "--region=cn-north-4",
            f"--project-id={DEFAULT_PROJECT}",
            f"--engine={here.id}",
            f"--engine={there.id}",
            "--no-cluster",
            vendor=simulation.url,
        )
    assert result.returncode == 1
    assert f"engine {there.id} cannot be read" in result.stderr
    assert [manifest.name for manifest in read_text(result.stdout)] == [here.name]


def test_engines_that_the_cluster_already_has_are_named_and_left_out(scene: Scene):
    engine, other = scene.engine("orders"), scene.engine("ledger")
    scene.secret()
    scene.resource(engine, "mine", version="2.3.1")
    result = command.run(
        "import",
        "--region=cn-north-4",
        f"--project-id={scene.project}",
        f"--namespace={scene.namespace}",
        vendor=scene.simulation.url,
        kubeconfig=scene.cluster.kubeconfig,
        access_key=False,
    )
    assert result.returncode == 0, result.stderr
    found = f"left out orders ({engine.id}): the cluster has it already, as {scene.namespace}/mine"
    assert found in result.stderr
    assert [manifest.spec["engineId"] for manifest in read_text(result.stdout)] == [other.id]


def test_an_import_without_a_cluster_needs_an_explicit_flag(tmp_path: Path):
    result = command.run("import", "--region=cn-north-4", "--project-id=0a")
    assert result.returncode == 1
    assert "Set KUBECONFIG. Without a cluster, say --no-cluster" in result.stderr


@pytest.mark.parametrize("name", ["import", "versions"])
def test_a_secret_that_is_missing_is_named_with_what_to_do(unserved: Scene, name: str):
    result = command.run(
        *(name, "--region=cn-north-4", "--project-id=0a", "-n", unserved.namespace),
        kubeconfig=unserved.cluster.kubeconfig,
        access_key=False,
    )
    assert result.returncode == 1
    assert result.stderr == (
        "the engines cannot be listed: There is no Secret huaweicloud in the namespace"
        f" {unserved.namespace}; set HUAWEICLOUD_SDK_AK and HUAWEICLOUD_SDK_SK, or name a Secret"
        " with --secret and -n\n"
    )


def test_versions_without_a_cluster_and_without_a_key_say_what_to_do():
    asked = ("versions", "--region=cn-north-4", "--project-id=0a")
    result = command.run(*asked, access_key=False)
    assert result.returncode == 1
    assert "Without a cluster, set HUAWEICLOUD_SDK_AK and HUAWEICLOUD_SDK_SK" in result.stderr

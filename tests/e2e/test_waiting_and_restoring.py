"""Scripts that wait for the end of an upgrade, and resources restored from a backup."""

from __future__ import annotations

import asyncio
import re
import shlex
from pathlib import Path

import pytest

from cse_simulator.vendor.jobs import JobPlan
from support.processes import python_environment
from support.repository import ROOT
from support.scene import Scene

PAGE = (ROOT / "docs" / "gitops.md").read_text(encoding="utf-8")
[SCRIPT] = re.findall(r"^```sh\n(kubectl[^`]+? wait mse.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize(
    ("plan", "reason", "ends_with"), [(None, "UpToDate", 0), ("error", "UpgradeFailed", 1)]
)
async def test_the_script_of_the_docs_ends_with_the_upgrade_however_that_ends(
    scene: Scene, tmp_path: Path, plan: str | None, reason: str, ends_with: int
) -> None:
    engine = scene.engine()
    scene.secret()
    if plan:
        scene.admin.plan_jobs(JobPlan(outcome=plan), engine.id)
    scene.resource(engine, version="2.3.1", upgrade={"retryLimit": 0})
    await scene.until_reason("orders", "UpToDate")
    assert scene.cluster.kubectl is not None
    words = [str(scene.cluster.kubectl), f"--kubeconfig={scene.cluster.kubeconfig}"]
    ours = SCRIPT.replace("kubectl -n payments", f"{shlex.join(words)} -n {scene.namespace}")

    scene.patch("orders", version="2.4.0")
    waiting = await asyncio.create_subprocess_exec(
        "bash", "-c", ours, stdout=asyncio.subprocess.PIPE, env=python_environment(), cwd=tmp_path
    )
    async with asyncio.timeout(60):
        await waiting.communicate()

    assert waiting.returncode == ends_with
    await scene.until_reason("orders", reason)


async def test_a_resource_restored_without_its_status_follows_its_job_and_calls_nothing_again(
    scene: Scene,
) -> None:
    engine = scene.engine()
    scene.secret()
    scene.admin.plan_jobs(JobPlan(outcome="never"), engine.id)
    scene.resource(engine)
    before = await scene.until_reason("orders", "Upgrading")

    scene.delete("orders")
    scene.resource(engine)
    restored = await scene.until_reason("orders", "Upgrading")
    assert restored["metadata"]["uid"] != before["metadata"]["uid"]
    assert restored["status"]["jobId"] == before["status"]["jobId"]

    scene.admin.end_job(before["status"]["jobId"])
    await scene.until_reason("orders", "UpToDate")
    assert len(scene.changing_calls(engine)) == 1

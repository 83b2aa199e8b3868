"""A day in a GitOps repository: raise, upgrade, revert, without any diff by the operator."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from support.engines import engine_manifest
from support.git_repository import GitRepository
from support.judge import Judge
from support.scene import Scene, condition_types

TOOL = "argocd-controller"


class Tool:
    """Applies what is in git as a GitOps tool does: server-side, as another field manager."""

    def __init__(self, scene: Scene, git: GitRepository) -> None:
        self._scene = scene
        self._git = git

    def sync(self, *flags: str) -> dict[str, Any]:
        """Check out the newest commit, apply its files and return the engine after that."""
        command = ("apply", "--server-side", "--force-conflicts", f"--field-manager={TOOL}")
        folder = str(self._git.checkout())
        applied: dict[str, Any] = json.loads(
            self._scene.kubectl(*command, *flags, "-f", folder, "-o", "json")
        )
        return applied

    def assert_in_sync(self) -> None:
        """Assert that a dry run of the next sync changes nothing."""
        live, synced = self._scene.get("orders"), self.sync("--dry-run=server")
        for item in (live, synced):
            item["metadata"].pop("managedFields", None)
        assert synced == live


async def test_a_day_in_a_gitops_repository(scene: Scene, tmp_path: Path) -> None:
    engine = scene.engine()
    scene.secret()
    git = GitRepository(tmp_path / "git")
    tool = Tool(scene, git)
    judge = Judge()

    def commit(version: str) -> None:
        manifest = engine_manifest(
            "orders",
            namespace=scene.namespace,
            projectId=scene.project,
            engineId=engine.id,
            version=version,
        )
        git.commit("orders.yaml", manifest, f"orders: {version}")

    try:
        commit("2.3.1")
        assert judge.kstatus(tool.sync()) == "InProgress"
        there = await scene.until_reason("orders", "UpToDate")
        assert judge.kstatus(there) == "Current"
        tool.assert_in_sync()

        commit("2.4.0")
        assert judge.kstatus(tool.sync()) == "InProgress"
        upgraded = await scene.until(
            "orders",
            lambda item: (
                item["status"].get("result") == "Succeeded"
                and condition_types(item) == {"Ready": "True"}
            ),
        )
        assert judge.kstatus(upgraded) == "Current"
        tool.assert_in_sync()

        git.revert()
        assert tool.sync()["spec"]["version"] == "2.3.1"
        refused = await scene.until_reason("orders", "DowngradeNotSupported")
        assert judge.kstatus(refused) == "Failed"
        assert "set spec.version to 2.4.0 or higher" in refused["status"]["message"]
        tool.assert_in_sync()

        git.revert()
        assert tool.sync()["spec"]["version"] == "2.4.0"
        mended = await scene.until_reason("orders", "UpToDate")
        assert judge.kstatus(mended) == "Current"
        tool.assert_in_sync()
    finally:
        judge.close()
    assert scene.accepted(engine) == {"2.4.0": 1}
    assert len(scene.changing_calls(engine)) == 1

"""A day in a GitOps repository: raised, upgraded, reverted; and never a diff that we caused."""

from __future__ import annotations

import json
from typing import Any

import yaml

from support.engines import engine_manifest
from support.judge import Judge
from support.scene import Scene, condition_types

TOOL = "argocd-controller"


class Repository:
    """What Git says of one engine, applied as a GitOps tool applies it."""

    def __init__(self, scene: Scene, engine_id: str) -> None:
        self._scene = scene
        self._manifest = engine_manifest(
            "orders", namespace=scene.namespace, projectId=scene.project, engineId=engine_id
        )

    def commit(self, version: str) -> None:
        """Change the wanted version in Git."""
        self._manifest["spec"]["version"] = version

    def sync(self, *flags: str) -> dict[str, Any]:
        """Apply Git's manifest as another field manager does."""
        command = ("apply", "--server-side", "--force-conflicts", f"--field-manager={TOOL}")
        manifest = yaml.safe_dump(self._manifest)
        applied: dict[str, Any] = json.loads(
            self._scene.kubectl(*command, *flags, "-f", "-", "-o", "json", stdin=manifest)
        )
        return applied

    def assert_in_sync(self) -> None:
        """A dry run of the next sync changes nothing."""
        live, synced = self._scene.get("orders"), self.sync("--dry-run=server")
        for item in (live, synced):
            item["metadata"].pop("managedFields", None)
        assert synced == live


async def test_a_day_in_a_gitops_repository(scene: Scene) -> None:
    engine = scene.engine()
    scene.secret()
    git = Repository(scene, engine.id)
    judge = Judge()
    try:
        git.commit("2.3.1")
        assert judge.kstatus(git.sync()) == "InProgress"
        there = await scene.until_reason("orders", "UpToDate")
        assert judge.kstatus(there) == "Current"
        git.assert_in_sync()

        git.commit("2.4.0")
        assert judge.kstatus(git.sync()) == "InProgress"
        upgraded = await scene.until(
            "orders",
            lambda item: (
                item["status"].get("result") == "Succeeded"
                and condition_types(item) == {"Ready": "True"}
            ),
        )
        assert judge.kstatus(upgraded) == "Current"
        git.assert_in_sync()

        git.commit("2.3.1")
        git.sync()
        refused = await scene.until_reason("orders", "DowngradeNotSupported")
        assert judge.kstatus(refused) == "Failed"
        assert "set spec.version to 2.4.0 or higher" in refused["status"]["message"]
        git.assert_in_sync()

        git.commit("2.4.0")
        git.sync()
        mended = await scene.until_reason("orders", "UpToDate")
        assert judge.kstatus(mended) == "Current"
        git.assert_in_sync()
    finally:
        judge.close()
    assert scene.accepted(engine) == {"2.4.0": 1}
    assert len(scene.changing_calls(engine)) == 1

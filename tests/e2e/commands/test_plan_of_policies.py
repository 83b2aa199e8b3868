"""`cse-operator plan` of a merge that changes only a policy: the prediction comes true."""

from __future__ import annotations

import json
from pathlib import Path

import yaml

from cse_operator.api.names import POLICY_PLURAL
from support import command, wait
from support.engines import engine_manifest
from support.plans import commit, git
from support.policies import policy_manifest
from support.scene import Scene
from support.wait import ENGINES


async def test_a_merge_that_lifts_a_hold_starts_the_upgrade_that_the_plan_tells_of(
    scene: Scene, tmp_path: Path
):
    scene.secret()
    engine = scene.engine("orders", version="2.3.1")
    ids = {"projectId": scene.project, "engineId": engine.id}
    manifest = engine_manifest("orders", namespace=scene.namespace, **ids)
    (tmp_path / "orders.yaml").write_text(yaml.safe_dump(manifest))
    policy = tmp_path / "policy.yaml"
    policy.write_text(yaml.safe_dump(policy_manifest(scene.namespace, suspend=True)))
    git("init", "--quiet", str(tmp_path))
    commit("held", tmp_path)
    apply = ("apply", "--server-side", "--force-conflicts", "-f")
    scene.kubectl(*apply, str(policy))
    await wait.wait_for_resource(
        scene.cluster,
        scene.namespace,
        "production",
        lambda item: item["status"]["conditions"],
        collection=f"{ENGINES.rpartition('/')[0]}/{POLICY_PLURAL}",
    )
    scene.kubectl(*apply, str(tmp_path / "orders.yaml"))
    await scene.until_reason("orders", "PolicySuspended")

    policy.write_text(yaml.safe_dump(policy_manifest(scene.namespace, suspend=False)))
    lifted = command.run(
        *("plan", "-f", ".", "--base", "HEAD", "-o", "json", "--detailed-exitcode"),
        folder=tmp_path,
        vendor=scene.simulation.url,
        kubeconfig=scene.cluster.kubeconfig,
        settings={"CSE_OPERATOR_NAMESPACES": scene.namespace},
    )
    assert lifted.returncode == 2, lifted.stderr
    [told] = json.loads(lifted.stdout)["engines"]
    assert (told["name"], told["verdict"], told["change"]) == ("orders", "upgrade", "same")
    assert scene.changing_calls() == []

    scene.kubectl(*apply, str(policy))
    await scene.until_reason("orders", "UpToDate")
    assert len(scene.changing_calls(engine)) == 1

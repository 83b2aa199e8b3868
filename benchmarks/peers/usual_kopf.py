"""A peer: an operator for the same upgrades, written as kopf's documentation suggests.

It has handlers for creation and update, a timer per resource that polls its job, and plain httpx.
It promises nothing beyond that: it writes no intent and uses no precondition.
"""

from __future__ import annotations

import base64
import os
from typing import Any

import httpx
import kopf
from kubernetes.aio import client, config

RESOURCE = ("cse-operator.io", "v1alpha1", "microserviceengines")
ENDPOINT = os.environ["PEER_ENDPOINT"]
POLL_SECONDS = float(os.environ["PEER_POLL_SECONDS"])


@kopf.on.startup()
async def start(memo: kopf.Memo, settings: kopf.OperatorSettings, **_: Any) -> None:
    memo.http = httpx.AsyncClient(base_url=ENDPOINT, timeout=20.0)
    memo.tokens = {}
    settings.posting.loggers = False
    await config.load_kube_config()
    memo.kube = client.ApiClient()


@kopf.on.cleanup()
async def stop(memo: kopf.Memo, **_: Any) -> None:
    await memo.http.aclose()
    await memo.kube.close()


@kopf.on.create(*RESOURCE)
@kopf.on.update(*RESOURCE, field="spec.version")
async def upgrade(
    *,
    body: kopf.Body,
    spec: kopf.Spec,
    status: kopf.Status,
    meta: kopf.Meta,
    patch: kopf.Patch,
    memo: kopf.Memo,
    **_: Any,
) -> None:
    generation = meta["generation"]
    current = status.get("currentVersion") or (await _engine(memo, spec, meta))["version"]
    if current == spec["version"]:
        patch.status.update(_settled(generation, current))
        return
    answer = await memo.http.put(
        f"{_path(spec)}/upgrade",
        json={"version": spec["version"]},
        headers=await _headers(memo, spec, meta),
    )
    if answer.status_code >= 500:
        raise kopf.TemporaryError(answer.text, delay=5)
    if answer.status_code >= 400:
        patch.status.update(phase="Failed", message=answer.text, result="Rejected")
        raise kopf.PermanentError(answer.text)
    job = answer.json()["jobId"]
    message = f"upgrading from {current} to {spec['version']}, job {job}"
    patch.status.update(
        observedGeneration=generation,
        phase="Upgrading",
        message=message,
        currentVersion=current,
        jobId=job,
        result=None,
    )
    kopf.info(body, reason="Upgrading", message=message)


@kopf.timer(
    *RESOURCE,
    interval=POLL_SECONDS,
    initial_delay=POLL_SECONDS,
    when=lambda status, **_: bool(status.get("jobId")) and not status.get("result"),
)
async def follow(
    *,
    body: kopf.Body,
    spec: kopf.Spec,
    status: kopf.Status,
    meta: kopf.Meta,
    patch: kopf.Patch,
    memo: kopf.Memo,
    **_: Any,
) -> None:
    answer = await memo.http.get(
        f"{_path(spec)}/jobs/{status['jobId']}", headers=await _headers(memo, spec, meta)
    )
    answer.raise_for_status()
    ended = answer.json()["status"]
    if ended == "Finished":
        patch.status.update(_settled(status["observedGeneration"], spec["version"]))
        patch.status["result"] = "Succeeded"
        kopf.info(body, reason="UpToDate", message=f"engine is at {spec['version']}")
    elif ended in {"Error", "Timeout"}:
        patch.status.update(phase="Failed", message=f"the job ended as {ended}", result="Failed")
        kopf.warn(body, reason="Failed", message=f"the job ended as {ended}")


def _settled(generation: int, version: str) -> dict[str, Any]:
    return {
        "observedGeneration": generation,
        "phase": "UpToDate",
        "message": f"engine is at {version}",
        "currentVersion": version,
    }


def _path(spec: kopf.Spec) -> str:
    return f"/v2/{spec['projectId']}/enginemgr/engines/{spec['engineId']}"


async def _engine(memo: kopf.Memo, spec: kopf.Spec, meta: kopf.Meta) -> dict[str, Any]:
    answer = await memo.http.get(_path(spec), headers=await _headers(memo, spec, meta))
    answer.raise_for_status()
    found: dict[str, Any] = answer.json()
    return found


async def _headers(memo: kopf.Memo, spec: kopf.Spec, meta: kopf.Meta) -> dict[str, str]:
    return {"X-Auth-Token": await _token(memo, spec["credentialsRef"]["name"], meta["namespace"])}


async def _token(memo: kopf.Memo, name: str, namespace: str) -> str:
    if (namespace, name) not in memo.tokens:
        secret = await client.CoreV1Api(memo.kube).read_namespaced_secret(name, namespace)
        memo.tokens[namespace, name] = base64.b64decode(secret.data["token"]).decode()
    token: str = memo.tokens[namespace, name]
    return token

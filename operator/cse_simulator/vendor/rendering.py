"""The vendor's JSON: every documented field of a list row, an engine and a job, in camelCase.

Field names are those of the Huawei Cloud CSE API Reference (querying the engine list, an engine,
an engine job), which its SDK's models repeat.
"""

from __future__ import annotations

from typing import Any

from cse_simulator.vendor import jobs
from cse_simulator.vendor.answers import encode
from cse_simulator.vendor.clock import milliseconds
from cse_simulator.vendor.engines import ENGINE_TYPES, FLAVORS, Engine, EngineState
from cse_simulator.vendor.settings import Settings


def row(engine: Engine, state: EngineState) -> bytes:
    """Return an engine's row of the engine list."""
    rendered = state.cache.get("row")
    if rendered is None:
        rendered = state.cache["row"] = encode(_row(engine, state))
    return rendered


def details(engine: Engine, state: EngineState) -> bytes:
    """Return an engine's details."""
    rendered = state.cache.get("details")
    if rendered is None:
        rendered = state.cache["details"] = encode(_details(engine, state))
    return rendered


def _common(engine: Engine, state: EngineState) -> dict[str, Any]:
    description = engine.description
    is_default = description.enterprise_project_id == "0"
    return {
        "id": description.id,
        "name": description.name,
        "enterpriseProjectId": description.enterprise_project_id,
        "enterpriseProjectName": "default" if is_default else "enterprise project",
        "type": description.type,
        "description": description.description,
        "flavor": FLAVORS[description.type],
        "payment": "1",
        "authType": description.auth_type,
        "status": state.status,
        "version": state.version,
        "latestVersion": state.latest_version,
        "createTime": milliseconds(engine.created_at),
        "latestJobId": state.latest_job_id,
        "engineAdditionalActions": list(state.actions),
        "specType": ENGINE_TYPES[description.type],
        "reference": _reference(engine),
    }


def _row(engine: Engine, state: EngineState) -> dict[str, Any]:
    address = _address(engine)
    return _common(engine, state) | {
        "externalAddress": address,
        "serviceEndpoint": _endpoints(engine, address),
        "publicAddress": "",
        "publicServiceEndpoint": {},
        "totalInstance": 100,
        "usedInstance": 0,
        "availableInstance": 100,
        "dueTo": 0,
    }


def _details(engine: Engine, state: EngineState) -> dict[str, Any]:
    address = _address(engine)
    description = engine.description
    return _common(engine, state) | {
        "beDefault": False,
        "createUser": description.create_user,
        "projectId": description.project,
        "vmIds": [],
        "cceSpec": {
            "id": engine.number + 1,
            "engineId": description.id,
            "specType": "CCE",
            "cluster": None,
            "clusterId": f"cluster-{engine.number % 16}",
            "clusterNodes": {
                "clusterNodes": [
                    {
                        "id": f"{description.id[:8]}-node-{zone}",
                        "az": f"az{zone}",
                        "ip": f"192.168.{engine.number % 256}.{10 + zone}",
                        "label": "active" if zone == 1 else "standby",
                        "status": "Active",
                    }
                    for zone in (1, 2)
                ]
            },
            "flavor": FLAVORS[description.type],
            "region": "simulated-1",
            "version": "v1.29",
            "extendParam": "",
        },
        "externalEntrypoint": {
            "externalAddress": address,
            "publicAddress": "",
            "serviceEndpoint": _endpoints(engine, address),
            "publicServiceEndpoint": {},
        },
    }


def _address(engine: Engine) -> str:
    return f"192.168.{engine.number // 250 % 250}.{engine.number % 250 + 2}"


def _endpoints(engine: Engine, address: str) -> dict[str, Any]:
    ports = {"NACOS": {"nacos": 8848}, "MICROGATEWAY": {"gateway": 80}}
    chosen = ports.get(engine.description.type, {"serviceCenter": 30100, "kie": 30110})
    return {
        name: {
            "masterEntrypoint": f"{address}:{port}",
            "masterEntrypointIpv6": "",
            "slaveEntrypoint": "",
            "slaveEntrypointIpv6": "",
            "type": name,
        }
        for name, port in chosen.items()
    }


def _reference(engine: Engine) -> dict[str, Any]:
    return {
        "vpc": "vpc-default",
        "azList": ["az1", "az2"],
        "networkId": f"network-{engine.number % 16}",
        "subnetCidr": "192.168.0.0/16",
        "subnetCidrV6": "",
        "subnetGateway": "192.168.0.1",
        "publicIpId": "",
        "serviceLimit": "200",
        "instanceLimit": "100",
        "inputs": {},
    }


def job(job_: jobs.Job, run: jobs.Run, moment: float, settings: Settings) -> bytes:
    """Return a job's JSON at a moment."""
    style = (settings.quirks, settings.running_end_time)
    known = job_.rendering
    if (
        known is None
        or known.run is not run
        or known.style != style
        or not known.since <= moment < known.until
    ):
        body = encode(_job(job_, run, moment, settings))
        known = jobs.Rendering(run, moment, run.next_change(moment), style, body)
        job_.rendering = known
    return known.body


def _job(job_: jobs.Job, run: jobs.Run, moment: float, settings: Settings) -> dict[str, Any]:
    ended = run.has_ended(moment)
    status = run.status(moment)
    steps = run.step_states(moment)
    rendered: dict[str, Any] = {
        "id": job_.id,
        "engineId": job_.engine_id,
        "type": job_.type,
        "description": _description(job_, status, run),
        "status": status,
        "scheduling": 0 if ended else 1,
        "createUser": job_.create_user,
        "startTime": milliseconds(run.started_at),
        "context": "",
        "tasks": [_step(job_, index, step, settings) for index, step in enumerate(steps)],
    }
    if ended:
        rendered["endTime"] = milliseconds(run.ends_at)
        if settings.quirks and status == jobs.FINISHED:
            rendered["tasks"][-1]["tasks"][-1]["status"] = jobs.INIT
    elif settings.running_end_time != "absent":
        values = {"zero": 0, "null": None, "start": milliseconds(run.started_at)}
        rendered["endTime"] = values[settings.running_end_time]
    return rendered


def _description(job_: jobs.Job, status: str, run: jobs.Run) -> str:
    words = f"{job_.type} engine {job_.engine_name} to {job_.target_version}"
    if status in {"Error", "Timeout"}:
        return f"{words}: {status} at step {run.steps[run.failing_step - 1][0]!r}"
    return words


def _step(job_: jobs.Job, index: int, step: jobs.StepState, settings: Settings) -> dict[str, Any]:
    return {
        "taskName": step.name,
        "taskNames": list(step.tasks),
        "status": step.status,
        "startTime": _time(step.started_at),
        "endTime": _time(step.ended_at),
        "taskExecutorBrief": _brief(step, step.name),
        "tasks": [
            _task(job_, step, name, index * 10 + order, settings)
            for order, name in enumerate(step.tasks)
        ],
    }


def _task(
    job_: jobs.Job, step: jobs.StepState, name: str, place: int, settings: Settings
) -> dict[str, Any]:
    # Only the first task of a step is shown as running or failed; the others wait.
    status = step.status
    if place % 10 and status != jobs.FINISHED:
        status = jobs.INIT
    brief = "taskexEcutorBrief" if settings.quirks else "taskExecutorBrief"
    return {
        "jobId": job_.id,
        "id": job_.id * 100 + place,
        "type": job_.type,
        "assigned": "engine-manager-0",
        "taskName": name,
        "engineName": job_.engine_name,
        "taskOrder": place,
        "status": status,
        "startTime": _time(step.started_at),
        "endTime": _time(step.ended_at),
        "createTime": _time(step.started_at),
        "updateTime": _time(step.ended_at or step.started_at),
        "timeout": 1 if status == "Timeout" else 0,
        "log": "",
        "output": f"{name} failed" if status == "Error" else "",
        brief: _brief(step, name),
    }


def _brief(step: jobs.StepState, description: str) -> dict[str, Any]:
    if step.started_at is None or step.ended_at is None:
        return {"duration": 0, "description": description}
    return {
        "duration": milliseconds(step.ended_at - step.started_at),
        "description": description,
    }


def _time(moment: float | None) -> int:
    return 0 if moment is None else milliseconds(moment)

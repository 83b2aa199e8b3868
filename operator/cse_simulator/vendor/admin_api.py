"""The simulator's own API under /_admin/: the world, the faults, and the received calls."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, cast, get_args
from urllib.parse import parse_qsl

from cse_simulator.vendor import rendering, wire
from cse_simulator.vendor import settings as simulator_settings
from cse_simulator.vendor.answers import Answer, encode, ok
from cse_simulator.vendor.authentication import AuthenticationOutcome, Authenticator
from cse_simulator.vendor.calls import as_json
from cse_simulator.vendor.clock import Clock
from cse_simulator.vendor.engines import Engine, EngineDescription, EngineState
from cse_simulator.vendor.faults import ArmedFault, Fault, Faults
from cse_simulator.vendor.jobs import JobPlan, Outcome
from cse_simulator.vendor.recording import Phase, Recorder
from cse_simulator.vendor.seeds import descriptions_from
from cse_simulator.vendor.settings import Settings
from cse_simulator.vendor.upgrades import FOREIGN_USER, Upgrades
from cse_simulator.vendor.world import UnknownNameError, World

ADMIN_PREFIX = "/_admin/"

Parameters = dict[str, str]
Handler = Callable[[list[str], Parameters, Any], Any]


@dataclass(slots=True)
class EngineChange:
    """The fields of an engine that an admin call may change; None leaves a field unchanged."""

    status: str | None = None
    version: str | None = None
    latest_version: str | None = None
    actions: tuple[str, ...] | None = None


class AdminApi:
    """Answers the calls under /_admin/."""

    def __init__(
        self,
        *,
        settings: Settings,
        clock: Clock,
        world: World,
        upgrades: Upgrades,
        faults: Faults,
        authenticator: Authenticator,
        recorder: Recorder,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._world = world
        self._upgrades = upgrades
        self._faults = faults
        self._authenticator = authenticator
        self._recorder = recorder
        self._routes = self._handlers()

    def _handlers(self) -> dict[tuple[str, str, int], Handler]:
        """Return the handlers by method, name and number of further path segments."""
        return {
            ("GET", "calls", 0): self._calls,
            ("GET", "counts", 0): self._counts,
            ("GET", "accepted", 0): self._accepted,
            ("POST", "reset", 0): self._reset,
            ("GET", "faults", 0): self._list_faults,
            ("POST", "faults", 0): self._add_fault,
            ("DELETE", "faults", 0): self._clear_faults,
            ("DELETE", "faults", 1): self._clear_faults,
            ("GET", "engines", 0): self._list_engines,
            ("POST", "engines", 0): self._create_engines,
            ("GET", "engines", 1): self._show_engine,
            ("PATCH", "engines", 1): self._change_engine,
            ("DELETE", "engines", 1): self._delete_engine,
            ("POST", "upgrades", 0): self._foreign_upgrade,
            ("GET", "jobs", 1): self._show_job,
            ("POST", "jobs", 1): self._end_job,
            ("POST", "plans", 0): self._plan_jobs,
            ("DELETE", "plans", 0): self._clear_plans,
            ("GET", "settings", 0): self._show_settings,
            ("PATCH", "settings", 0): self._change_settings,
            ("POST", "tokens", 0): self._refuse_tokens,
            ("POST", "credentials", 0): self._replace_credentials,
            ("GET", "authentications", 0): self._authentications,
        }

    async def handle(self, method: str, target: str, body: bytes) -> Answer:
        """Answer one admin call: 200, 400 with a reason, or 404."""
        path, _, query = target.removeprefix(ADMIN_PREFIX).partition("?")
        name, *rest = [segment for segment in path.split("/") if segment] or [""]
        parameters = dict(parse_qsl(query))
        try:
            if (method, name) == ("GET", "wait"):
                return ok(await self._wait(parameters))
            handler = self._routes.get((method, name, len(rest)))
            if handler is None:
                return _problem(HTTPStatus.NOT_FOUND, f"no such admin call: {method} {path}")
            return ok(handler(rest, parameters, _document(body)))
        except UnknownNameError as missing:
            return _problem(HTTPStatus.NOT_FOUND, str(missing))
        except ValueError as wrong:
            return _problem(HTTPStatus.BAD_REQUEST, str(wrong))

    # --- received calls -----------------------------------------------------------------------

    def _calls(self, _: list[str], parameters: Parameters, __: Any) -> Any:
        records = self._recorder.calls(
            parameters.get("operation"),
            parameters.get("engineId"),
            int(parameters.get("after", "0")),
        )
        return {"calls": [record.to_json() for record in records]}

    def _counts(self, _: list[str], __: Parameters, ___: Any) -> Any:
        return self._recorder.counts()

    def _accepted(self, _: list[str], __: Parameters, ___: Any) -> Any:
        accepted = self._recorder.accepted
        return {
            "accepted": [
                {"engineId": engine_id, "version": version, "count": count}
                for (engine_id, version), count in accepted.items()
            ]
        }

    def _reset(self, _: list[str], __: Parameters, ___: Any) -> Any:
        self._recorder.reset()
        self._authenticator.tallies.clear()
        return {}

    async def _wait(self, parameters: Parameters) -> Any:
        if "credential" in parameters:
            return await self._wait_for_credential(parameters)
        recorder = self._recorder
        phase = parameters.get("phase", "handled")
        if phase not in get_args(Phase):
            raise ValueError(f"phase must be one of {get_args(Phase)}, not {phase!r}")
        operation = parameters.get("operation", "Upgrade")
        engine_id = parameters.get("engineId", "")
        status = int(parameters.get("status", "0"))
        wanted = int(parameters.get("count", "1"))

        def count() -> int:
            return recorder.count(cast("Phase", phase), operation, engine_id, status)

        return await self._until(lambda: count() >= wanted, parameters) | {"count": count()}

    async def _wait_for_credential(self, parameters: Parameters) -> Any:
        outcome = parameters.get("outcome", "accepted")
        if outcome not in get_args(AuthenticationOutcome):
            raise ValueError(
                f"outcome must be one of {get_args(AuthenticationOutcome)}, not {outcome!r}"
            )
        wanted = int(parameters.get("count", "1"))
        tallies = self._authenticator.tallies

        def count() -> int:
            tally = tallies.get(parameters["credential"])
            return int(getattr(tally, outcome)) if tally else 0

        return await self._until(lambda: count() >= wanted, parameters) | {"count": count()}

    async def _until(self, reached: Callable[[], bool], parameters: Parameters) -> dict[str, Any]:
        timeout = float(parameters.get("timeout", "10"))
        return {"reached": await self._recorder.wait(reached, timeout)}

    def _authentications(self, _: list[str], __: Parameters, ___: Any) -> Any:
        tallies = self._authenticator.tallies
        return {
            "authentications": [
                {
                    "credential": credential,
                    "accepted": tally.accepted,
                    "refused": tally.refused,
                    "mostRefusedInARow": tally.most_in_a_row,
                }
                for credential, tally in sorted(tallies.items())
            ]
        }

    # --- faults -------------------------------------------------------------------------------

    def _list_faults(self, _: list[str], __: Parameters, ___: Any) -> Any:
        return {"faults": [_fault(armed) for armed in self._faults.all()]}

    def _add_fault(self, _: list[str], __: Parameters, body: Any) -> Any:
        return _fault(self._faults.add(wire.read(Fault, body)))

    def _clear_faults(self, path: list[str], _: Parameters, __: Any) -> Any:
        return {"cleared": self._faults.clear(path[0] if path else None)}

    # --- the world ----------------------------------------------------------------------------

    def _list_engines(self, _: list[str], parameters: Parameters, __: Any) -> Any:
        world = self._world
        world.settle()
        project = parameters.get("project")
        return {
            "engines": [
                _summary(engine, engine.state)
                for engine in world.engines.values()
                if engine.state.exists and project in {None, engine.description.project}
            ]
        }

    def _create_engines(self, _: list[str], __: Parameters, body: Any) -> Any:
        if "engines" in body or "generate" in body:
            descriptions = descriptions_from(body)
        else:
            descriptions = [wire.read(EngineDescription, body)]
        engines = self._world.add_engines(descriptions)
        return {"engines": [_summary(engine, engine.state) for engine in engines]}

    def _show_engine(self, path: list[str], _: Parameters, __: Any) -> Any:
        self._world.settle()
        engine = self._world.known(path[0])
        return _summary(engine, engine.state) | json.loads(rendering.details(engine, engine.state))

    def _change_engine(self, path: list[str], _: Parameters, body: Any) -> Any:
        change = wire.read(EngineChange, body)
        changes = {
            name: value for name, value in dataclasses.asdict(change).items() if value is not None
        }
        state = self._world.change_engine(path[0], **changes)
        return _summary(self._world.known(path[0]), state)

    def _delete_engine(self, path: list[str], _: Parameters, __: Any) -> Any:
        self._world.delete_engine(path[0])
        return {}

    def _foreign_upgrade(self, _: list[str], __: Parameters, body: Any) -> Any:
        user = _text({"user": FOREIGN_USER} | body, "user")
        job = self._upgrades.start_foreign_upgrade(
            _text(body, "engineId"), _text(body, "version"), user
        )
        return {"id": job.id, "engineId": job.engine_id, "version": job.target_version}

    def _show_job(self, path: list[str], _: Parameters, __: Any) -> Any:
        world = self._world
        now = world.settle()
        job = world.known_job(int(path[0]))
        return json.loads(rendering.job(job, job.runs[-1], now, self._settings))

    def _end_job(self, path: list[str], _: Parameters, body: Any) -> Any:
        outcome = _text(body, "outcome")
        if outcome not in get_args(Outcome):
            raise ValueError(f"outcome must be one of {get_args(Outcome)}, not {outcome!r}")
        self._upgrades.end_job(int(path[0]), cast("Outcome", outcome))
        return {}

    def _plan_jobs(self, _: list[str], __: Parameters, body: Any) -> Any:
        engine_id = body.pop("engineId", None)
        self._upgrades.plan_jobs(engine_id, wire.read(JobPlan, body))
        return {}

    def _clear_plans(self, _: list[str], __: Parameters, ___: Any) -> Any:
        self._upgrades.clear_plans()
        return {}

    def _show_settings(self, _: list[str], __: Parameters, ___: Any) -> Any:
        return simulator_settings.to_json(self._settings)

    def _change_settings(self, _: list[str], __: Parameters, body: Any) -> Any:
        settings = self._settings
        simulator_settings.change(settings, body)
        self._clock.offset_seconds = settings.clock_offset_seconds
        return simulator_settings.to_json(settings)

    def _refuse_tokens(self, _: list[str], __: Parameters, body: Any) -> Any:
        expire = body.get("as", "revoked") == "expired"
        count = self._authenticator.revoke_tokens(body.get("token"), expire=expire)
        return {"refused": count}

    def _replace_credentials(self, _: list[str], __: Parameters, body: Any) -> Any:
        self._authenticator.accept_only(body)
        return {}


def _fault(armed: ArmedFault) -> dict[str, Any]:
    return {"id": armed.id, "caught": armed.caught, "fault": wire.write(armed.fault)}


def _summary(engine: Engine, state: EngineState) -> dict[str, Any]:
    return {
        "id": engine.id,
        "name": engine.description.name,
        "projectId": engine.description.project,
        "type": engine.description.type,
        "status": state.status,
        "version": state.version,
        "latestVersion": state.latest_version,
        "latestJobId": state.latest_job_id,
        "actions": list(state.actions),
    }


def _document(body: bytes) -> dict[str, Any]:
    document = as_json(body) or {}
    if not isinstance(document, dict):
        raise ValueError("the body must be a JSON object")  # noqa: TRY004 - one error type
    return document


def _text(document: dict[str, Any], name: str) -> str:
    value = document.get(name)
    if not isinstance(value, str):
        raise ValueError(f"the body needs the text {name!r}")  # noqa: TRY004 - see above
    return value


def _problem(status: HTTPStatus, message: str) -> Answer:
    return Answer(int(status), encode({"problem": message}))

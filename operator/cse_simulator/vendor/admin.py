"""A client of the simulator's admin API.

Most calls block for well under a millisecond, so asynchronous code may make them directly. Each
method that waits has an `_async` variant.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

from cse_simulator.vendor import wire
from cse_simulator.vendor.admin_answers import (
    Authentications,
    EngineSummary,
    ReceivedCall,
    engine_summary,
)
from cse_simulator.vendor.admin_transport import AdminTransport
from cse_simulator.vendor.authentication import AuthenticationOutcome
from cse_simulator.vendor.engines import EngineDescription
from cse_simulator.vendor.faults import Fault
from cse_simulator.vendor.jobs import JobPlan, Outcome
from cse_simulator.vendor.recording import Phase
from cse_simulator.vendor.seeds import Generation
from cse_simulator.vendor.upgrades import FOREIGN_USER


class AdminClient:
    """Talks to the admin API of one simulator. Safe to use from several threads."""

    def __init__(self, url: str, certificate: Path | None = None) -> None:
        """Remember where the simulator is.

        Args:
            url: The simulator's URL, with or without the path of the admin API.
            certificate: PEM file to trust if the simulator serves HTTPS.
        """
        self._call = AdminTransport(url, certificate).call

    # --- received calls -----------------------------------------------------------------------

    def calls(
        self, operation: str | None = None, engine: str | None = None, after: int = 0
    ) -> list[ReceivedCall]:
        """Return received calls, oldest first; the simulator keeps only the newest.

        Args:
            operation: Only this operation, such as `Upgrade`.
            engine: Only this engine id.
            after: Only calls with a higher number than this.
        """
        answer = self._call(
            "GET", "calls", parameters={"operation": operation, "engineId": engine, "after": after}
        )
        return [wire.read(ReceivedCall, one) for one in answer["calls"]]

    def counts(self) -> dict[str, int]:
        """Return how many calls of each operation were received since the last reset."""
        return dict(self._call("GET", "counts")["received"])

    def counters(self) -> dict[str, Any]:
        """Return all counters: received, statuses, acceptedUpgrades, inFlight and the like."""
        return dict(self._call("GET", "counts"))

    def accepted_upgrades(self) -> dict[tuple[str, str], int]:
        """Return how often an upgrade call took effect, per engine id and target version."""
        accepted = self._call("GET", "accepted")["accepted"]
        return {(one["engineId"], one["version"]): one["count"] for one in accepted}

    def reset(self) -> None:
        """Forget all received calls and counters."""
        self._call("POST", "reset")

    def wait_for(
        self,
        operation: str = "Upgrade",
        count: int = 1,
        *,
        engine: str | None = None,
        status: int | None = None,
        phase: Phase = "handled",
        timeout: float = 10.0,
    ) -> int:
        """Wait until `count` calls came in since the last reset, and return how many did.

        Args:
            operation: The operation to count.
            count: The number of calls to wait for.
            engine: Count only calls for this engine id.
            status: Count only calls answered with this HTTP status.
            phase: `received`: count on arrival; `handled`: when answered, reset or left hanging;
                `accepted`: upgrades that took effect.
            timeout: The longest wait, in seconds.

        Raises:
            TimeoutError: Fewer calls came in.
        """
        parameters = {
            "operation": operation,
            "count": count,
            "engineId": engine,
            "status": status,
            "phase": phase,
            "timeout": timeout,
        }
        answer = self._call("GET", "wait", parameters=parameters, patience=timeout)
        if not answer["reached"]:
            raise TimeoutError(
                f"{answer['count']} of {count} {operation} calls {phase} in {timeout:g} s"
            )
        return int(answer["count"])

    async def wait_for_async(
        self, operation: str = "Upgrade", count: int = 1, **options: Any
    ) -> int:
        """Do the same as `wait_for` without blocking the event loop."""
        return await asyncio.to_thread(self.wait_for, operation, count, **options)

    def authentications(self) -> dict[str, Authentications]:
        """Return how often each credential was accepted and refused since the last reset.

        The names are `key AK`, `user NAME` (which includes the tokens issued to that user), and
        `token HASH` for a static token.
        """
        answer = self._call("GET", "authentications")
        return {
            one["credential"]: wire.read(Authentications, one) for one in answer["authentications"]
        }

    def wait_for_authentication(
        self,
        credential: str,
        outcome: AuthenticationOutcome = "accepted",
        count: int = 1,
        *,
        timeout: float = 60.0,
    ) -> int:
        """Wait until a credential was accepted or refused `count` times; return how often it was.

        Raises:
            TimeoutError: It happened fewer times within `timeout` seconds.
        """
        parameters = {
            "credential": credential,
            "outcome": outcome,
            "count": count,
            "timeout": timeout,
        }
        answer = self._call("GET", "wait", parameters=parameters, patience=timeout)
        if not answer["reached"]:
            raise TimeoutError(
                f"{credential}: {answer['count']} of {count} {outcome} in {timeout:g} s"
            )
        return int(answer["count"])

    async def wait_for_authentication_async(
        self,
        credential: str,
        outcome: AuthenticationOutcome = "accepted",
        count: int = 1,
        **options: Any,
    ) -> int:
        """Do the same as `wait_for_authentication` without blocking the event loop."""
        wait = self.wait_for_authentication
        return await asyncio.to_thread(wait, credential, outcome, count, **options)

    # --- faults -------------------------------------------------------------------------------

    def add_fault(self, fault: Fault) -> str:
        """Activate a fault rule and return its id."""
        return str(self._call("POST", "faults", wire.write(fault))["id"])

    def faults(self) -> dict[str, int]:
        """Return how many calls each active rule has caught, by rule id."""
        return {one["id"]: one["caught"] for one in self._call("GET", "faults")["faults"]}

    def clear_faults(self, fault: str | None = None) -> None:
        """Remove one rule or all rules, and release the calls they left hanging."""
        self._call("DELETE", f"faults/{fault}" if fault else "faults")

    def plan_jobs(self, plan: JobPlan, engine: str | None = None) -> None:
        """Plan the next jobs of one engine, or of all engines that have no plans."""
        body = wire.write(plan) | {"times": plan.times}
        self._call("POST", "plans", body | ({"engineId": engine} if engine else {}))

    def clear_plans(self) -> None:
        """Forget all job plans."""
        self._call("DELETE", "plans")

    def refuse_tokens(
        self, reason: Literal["revoked", "expired"] = "revoked", token: str | None = None
    ) -> None:
        """Make one token, or all issued and configured tokens, invalid from now on."""
        self._call("POST", "tokens", {"as": reason} | ({"token": token} if token else {}))

    def accept_only(self, **credentials: Any) -> None:
        """Accept these credentials from now on, and no others.

        Args:
            credentials: Credentials as in `Settings`: `tokens`, `users`, `access_keys`,
                `security_tokens`, `identity_providers` and `pod_identities`.
        """
        body = {wire.camel_case(name): value for name, value in credentials.items()}
        self._call("POST", "credentials", body)

    # --- the world ----------------------------------------------------------------------------

    def engines(self, project: str | None = None) -> list[EngineSummary]:
        """Return all engines of one project or of all projects."""
        answer = self._call("GET", "engines", parameters={"project": project})
        return [engine_summary(one) for one in answer["engines"]]

    def engine(self, engine: str) -> EngineSummary:
        """Return one engine by its id."""
        return engine_summary(self._call("GET", f"engines/{quote(engine, safe='')}"))

    def create_engine(self, name: str, **fields: str) -> EngineSummary:
        """Create an engine.

        Args:
            name: Its name.
            fields: Fields of `EngineDescription`, such as `version` or `latest_version`.
        """
        body = wire.write(EngineDescription(name, **fields))  # type: ignore[arg-type]
        return engine_summary(self._call("POST", "engines", body)["engines"][0])

    def generate_engines(self, generation: Generation) -> list[EngineSummary]:
        """Create many similar engines."""
        answer = self._call("POST", "engines", {"generate": [wire.write(generation)]})
        return [engine_summary(one) for one in answer["engines"]]

    def patch_engine(
        self,
        engine: str,
        *,
        version: str | None = None,
        latest_version: str | None = None,
        status: str | None = None,
        actions: Sequence[str] | None = None,
    ) -> EngineSummary:
        """Change an engine without a call: a vendor's patch, a new release, a broken node."""
        changes = {
            "version": version,
            "latestVersion": latest_version,
            "status": status,
            "actions": list(actions) if actions is not None else None,
        }
        given = {key: value for key, value in changes.items() if value is not None}
        return engine_summary(self._call("PATCH", f"engines/{engine}", given))

    def delete_engine(self, engine: str) -> None:
        """Delete an engine."""
        self._call("DELETE", f"engines/{engine}")

    def start_foreign_upgrade(self, engine: str, version: str, *, user: str = FOREIGN_USER) -> int:
        """Start an upgrade as another person would, and return its job's id.

        Args:
            engine: The engine's id.
            version: The target version.
            user: The job's `createUser`; a caller's name makes the job look like the caller's.
        """
        body = {"engineId": engine, "version": version, "user": user}
        return int(self._call("POST", "upgrades", body)["id"])

    def job(self, job: int) -> dict[str, Any]:
        """Return a job as the vendor's API would show it without any read lag."""
        return dict(self._call("GET", f"jobs/{job}"))

    def end_job(self, job: int, outcome: Outcome = "finish") -> None:
        """End a running job now."""
        self._call("POST", f"jobs/{job}", {"outcome": outcome})

    def change_settings(self, **changes: Any) -> dict[str, Any]:
        """Change settings by their Python names, and return all settings by their JSON names."""
        body = {wire.camel_case(name): value for name, value in changes.items()}
        return dict(self._call("PATCH", "settings", body))

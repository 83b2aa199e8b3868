"""The vendor's operations: each turns a call into an answer, without I/O and without waiting."""

from __future__ import annotations

from http import HTTPStatus

from cse_simulator.vendor import calls, rendering
from cse_simulator.vendor.answers import (
    Answer,
    EngineRefusal,
    GatewayRefusal,
    engine_error,
    gateway_error,
    ok,
)
from cse_simulator.vendor.authentication import Authenticator
from cse_simulator.vendor.calls import Call, as_json
from cse_simulator.vendor.clock import Clock, milliseconds
from cse_simulator.vendor.jobs import Job
from cse_simulator.vendor.readers import Readers
from cse_simulator.vendor.recording import Recorder
from cse_simulator.vendor.settings import PagingStyle, Settings
from cse_simulator.vendor.upgrades import Upgrades

INVALID_PARAMETER = "SVCSTG.00501100"
"""Made up: the vendor's code for a malformed body is not documented."""


class VendorApi:
    """The simulated vendor: takes a call and returns an answer."""

    def __init__(
        self,
        *,
        settings: Settings,
        clock: Clock,
        readers: Readers,
        upgrades: Upgrades,
        authenticator: Authenticator,
        recorder: Recorder,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._readers = readers
        self._upgrades = upgrades
        self._authenticator = authenticator
        self._recorder = recorder
        self._windows: dict[tuple[str, str], tuple[int, int]] = {}
        self._operations = {
            calls.LIST_ENGINES: self._list_engines,
            calls.SHOW_ENGINE: self._show_engine,
            calls.SHOW_ENGINE_JOB: self._show_engine_job,
            calls.LIST_ENGINE_JOBS: self._list_engine_jobs,
        }
        federation = authenticator.federation
        self._trades = {
            calls.ISSUE_TOKEN: authenticator.issue_token,
            calls.TRADE_ID_TOKEN: federation.trade_id_token,
            calls.TRADE_TOKEN: federation.trade_token,
            calls.ASSUME_AGENCY: federation.assume_agency,
            calls.POD_IDENTITY: federation.pod_identity,
        }

    def answer(self, call: Call, *, forced: bool = False) -> Answer:
        """Let a call take effect and return what the vendor answers.

        Args:
            call: The call.
            forced: Accept an upgrade without the vendor's checks.
        """
        try:
            return self._answer(call, forced=forced)
        except EngineRefusal as refusal:
            return engine_error(refusal, self._settings.error_keys)
        except GatewayRefusal as refusal:
            return gateway_error(refusal, call.request_id)

    def _answer(self, call: Call, *, forced: bool) -> Answer:
        trade = self._trades.get(call.operation)
        if trade is not None:
            return trade(call)
        if call.operation == calls.UNKNOWN or self._is_absent(call):
            message = "The API does not exist or has not been published in the environment"
            raise GatewayRefusal(HTTPStatus.NOT_FOUND, "APIGW.0101", message)
        caller = self._authenticator.caller(call)
        self._throttle(call)
        read = self._operations.get(call.operation)
        if read is not None:
            return read(call)
        _require_json(call)
        if call.operation == calls.UPGRADE:
            return self._upgrade(call, caller.name, forced=forced)
        return self._retry(call, caller.name)

    def _is_absent(self, call: Call) -> bool:
        return call.operation == calls.LIST_ENGINE_JOBS and self._settings.job_list == "absent"

    def _throttle(self, call: Call) -> None:
        limit = self._settings.calls_per_second
        if not limit:
            return
        second = int(self._clock.now())
        key = (call.project, call.operation)
        window, count = self._windows.get(key, (second, 0))
        count = count + 1 if window == second else 1
        self._windows[key] = (second, count)
        if count > limit:
            retry_after = self._settings.throttle_retry_after_seconds
            raise GatewayRefusal(
                HTTPStatus.TOO_MANY_REQUESTS,
                "APIGW.0308",
                "The throttling threshold has been reached: policy api over ratelimit",
                {"Retry-After": str(retry_after)} if retry_after else {},
            )

    def _list_engines(self, call: Call) -> Answer:
        first, limit = self._part(call)
        engine_type = call.parameters().get("type") or self._settings.list_default_type
        total, page = self._readers.page(call.address, engine_type, first, limit)
        rows = b",".join(rendering.row(engine, state) for engine, state in page)
        return Answer(HTTPStatus.OK, b'{"total":%d,"data":[%b]}' % (total, rows))

    def _part(self, call: Call) -> tuple[int, int]:
        """Return the first row and the number of rows that a list call asks for."""
        parameters = call.parameters()
        limit = _natural(parameters.get("limit", ""), self._settings.default_limit)
        limit = min(limit, self._settings.maximum_limit)
        offset = _natural(parameters.get("offset", ""), 0)
        return _first_row(self._settings.paging_style, offset, limit), limit

    def _show_engine(self, call: Call) -> Answer:
        engine, state = self._readers.visible(call.address)
        return Answer(HTTPStatus.OK, rendering.details(engine, state))

    def _show_engine_job(self, call: Call) -> Answer:
        job, run, moment = self._readers.visible_job(call.address, call.job_id)
        return Answer(HTTPStatus.OK, rendering.job(job, run, moment, self._settings))

    def _list_engine_jobs(self, call: Call) -> Answer:
        settings = self._settings
        first, limit = self._part(call)
        found = self._readers.visible_jobs(call.address, settings.job_list_lag_ms / 1000)
        moments = call.parameters()
        since = _natural(moments.get("from-time", ""), 0)
        until = _natural(moments.get("to-time", ""), 2**63)
        started = [one for one in found if since <= milliseconds(one[1].started_at) <= until]
        if settings.job_list_order == "newest-first":
            started.reverse()
        rows = b",".join(
            rendering.job(job, run, moment, settings)
            for job, run, moment in started[first : first + limit]
        )
        page = b'{"total":%d,"data":[%b]}' % (len(started), rows)
        return Answer(
            HTTPStatus.OK, b'{"OK":[%b]}' % page if settings.job_list == "wrapped" else page
        )

    def _upgrade(self, call: Call, user: str, *, forced: bool) -> Answer:
        version = _text_field(call, "version")
        job = self._upgrades.upgrade(call.address, version, user, unchecked=forced)
        self._recorder.accept(call.engine_id, version)
        return _started(job)

    def _retry(self, call: Call, user: str) -> Answer:
        action = _text_field(call, "action")
        if action != "Retry":
            raise EngineRefusal(INVALID_PARAMETER, "Invalid parameter.", f"action {action!r}")
        job = self._upgrades.retry(call.address, user)
        self._recorder.retried[call.engine_id] += 1
        return _started(job)


def _started(job: Job) -> Answer:
    return ok({"id": job.engine_id, "name": job.engine_name, "jobId": job.id})


def _require_json(call: Call) -> None:
    content_type = call.headers.get("Content-Type", "")
    if not content_type.lower().startswith("application/json"):
        message = f"Bad request: Content-Type {content_type!r} is not application/json"
        raise GatewayRefusal(HTTPStatus.BAD_REQUEST, "APIGW.0201", message)


def _text_field(call: Call, name: str) -> str:
    document = as_json(call.body)
    value = document.get(name) if isinstance(document, dict) else None
    if not isinstance(value, str) or not value:
        detail = f"the body needs the text {name!r}"
        raise EngineRefusal(INVALID_PARAMETER, "Invalid parameter.", detail)
    return value


def _natural(text: str, default: int) -> int:
    return int(text) if text.isascii() and text.isdigit() else default


def _first_row(style: PagingStyle, offset: int, limit: int) -> int:
    if style == "item":
        return offset
    if style == "item-from-one":
        return max(offset - 1, 0)
    if style == "page":
        return max(offset - 1, 0) * limit
    return offset * limit

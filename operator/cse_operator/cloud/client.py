"""The vendor's six calls, typed: the only interface to the cloud for the rest of the operator.

Reads are in `reader.py`. The code below `upgrade` and `retry` sends a changing call at most once,
and each of their errors says whether the call may have had an effect.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from cse_operator.cloud import wire
from cse_operator.cloud.answers import Operation
from cse_operator.cloud.dispatch import Dispatch
from cse_operator.cloud.exchange import Call, checked_id, malformed
from cse_operator.cloud.fairness import Turn, Urgency
from cse_operator.cloud.reader import CseReader

if TYPE_CHECKING:
    from cse_operator.core.views import Accepted

_VERSION = re.compile(r"[0-9a-zA-Z]([-+._0-9a-zA-Z]{0,22}[0-9a-zA-Z])?")


class CseClient(CseReader):
    """Calls the CSE API for one project with one credential. Safe to use from many tasks."""

    async def upgrade(
        self, engine_id: str, version: str, *, send_before: float, namespace: str = ""
    ) -> Accepted:
        """Start an upgrade (CSE API Reference, Upgrading an Engine). Sent at most once.

        Args:
            engine_id: The engine.
            version: The version to upgrade to, at most 24 characters.
            send_before: The clock reading from which on the call must not be sent.
            namespace: The namespace of the resource that the call is for.

        Raises:
            CloudError: `OUTCOME_UNKNOWN` if the call was sent and may have had an effect.
                The core waits the full outcome grace also after any other answer of the vendor
                that is not a plain refusal (`core/situations/__init__.py`).
            asyncio.CancelledError: The caller was cancelled; the outcome is unknown here too.
        """
        if not _VERSION.fullmatch(version):
            raise malformed(
                "The version is malformed: it has at most 24 letters, digits, '.', '-', '+' and '_'"
            )
        path = f"{self._base}/{checked_id('engine', engine_id)}/upgrade"
        body = wire.upgrade_body(version)
        return await self._change(Operation.UPGRADE, path, engine_id, body, send_before, namespace)

    async def retry(self, engine_id: str, *, send_before: float, namespace: str = "") -> Accepted:
        """Run an engine's failed job again (CSE API Reference, Retrying an Engine).

        Sent at most once. The vendor does not document whether the job keeps its number.

        Args:
            engine_id: The engine.
            send_before: As for `upgrade`.
            namespace: As for `upgrade`.

        Raises:
            CloudError: As for `upgrade`.
        """
        path = f"{self._base}/{checked_id('engine', engine_id)}/actions"
        body = wire.retry_body()
        return await self._change(Operation.RETRY, path, engine_id, body, send_before, namespace)

    async def _change(  # noqa: PLR0917 - the parts of a changing call
        self,
        operation: Operation,
        path: str,
        engine_id: str,
        body: bytes,
        send_before: float,
        namespace: str,
    ) -> Accepted:
        turn = Turn(Urgency.CHANGE, namespace)
        sent = False if self._exchange.tells_departure else None
        dispatch = Dispatch(send_before, self._clock, sent=sent)
        call = Call(operation, "PUT", path, turn, engine_id, body=body, dispatch=dispatch)
        return await self._exchange.attempt(
            call, lambda answer, _, redact: wire.parse_accepted(answer, engine_id, redact)
        )

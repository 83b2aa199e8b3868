"""The base of all parts of a status: keeps fields of a newer build, writes whole seconds."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from pydantic import ConfigDict, PlainSerializer

from cse_operator.api.model import Model


def _rfc3339(moment: datetime) -> str:
    # isoformat and not strftime, which writes the year 999 in three digits.
    return moment.astimezone(UTC).replace(microsecond=0, tzinfo=None).isoformat() + "Z"


Timestamp = Annotated[datetime, PlainSerializer(_rfc3339, return_type=str)]
"""A moment, written to whole seconds in UTC as Kubernetes does."""


class StatusModel(Model):
    """A part of the status. Fields of a newer build are kept and written back unchanged."""

    model_config = ConfigDict(extra="allow")

"""Reads a stored status that this build, an older one, a newer one or a person wrote.

Two rules, because an upgrade cannot be taken back:

* A part whose loss could lead to a call makes the whole status *unreadable* if this build does not
  understand it: the record under `upgrade`, `lastHandledRetryAt` and `settledVersions`. The
  operator then calls nothing and overwrites nothing.
* Any other part that this build does not understand is ignored, and written back unchanged.
"""

from __future__ import annotations

from typing import Any, Final

from pydantic import ValidationError

from cse_operator.api.reasons import ConditionType
from cse_operator.api.status import KeptApart, Status
from cse_operator.api.upgrade_record import READER, UpgradeRecord

_RECORD: Final = "upgrade"
_LISTS: Final = frozenset({"conditions", "history"})
_DECIDES: Final = frozenset({"lastHandledRetryAt", "settledVersions"})
"""Fields whose loss could lead to a call."""


def read_status(stored: object) -> Status:
    """Read a stored status; never fails. If `Status.unreadable` is set, no call may follow."""
    if stored is None:
        return Status()
    if not isinstance(stored, dict):
        return Status().with_kept(KeptApart(unreadable="status is not an object"))
    status = _without_record({name: value for name, value in stored.items() if name != _RECORD})
    record = stored.get(_RECORD)
    if record is None:
        return status
    try:
        return status.model_copy(update={_RECORD: _read_record(record)})
    except ValueError as error:
        kept = status._kept  # noqa: SLF001 - the reader is the other half of the model
        return status.with_kept(
            KeptApart({**kept.fields, _RECORD: record}, kept.entries, f"status.{_RECORD}{error}")
        )


def _is_ours(entry: object) -> bool:
    """Whether an entry is a condition of a type that this build always writes anew."""
    return isinstance(entry, dict) and entry.get("type") in set(ConditionType)


def _read_record(record: object) -> UpgradeRecord:
    """Read the record of an upgrade.

    Raises:
        ValueError: This build does not understand the record; the text follows the field's name.
    """
    if not isinstance(record, dict):
        raise ValueError(" is not an object")  # noqa: TRY004 - one type for all
    wanted = record.get("minReader", READER)
    if not isinstance(wanted, int) or isinstance(wanted, bool) or wanted > READER:
        raise ValueError(f" asks for reader {wanted!r:.20}, and this build is reader {READER}")
    try:
        return UpgradeRecord.model_validate(record)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        name = "".join(f".{part}" for part in first["loc"])
        raise ValueError(f"{name} is not understood: {first['msg']}") from None


def _without_record(stored: dict[str, Any]) -> Status:
    """Read all but the record; keep apart the fields, and entries of lists, that do not fit."""
    fields: dict[str, Any] = {}
    entries: dict[str, tuple[Any, ...]] = {}
    try:
        return Status.model_validate(stored)
    except ValidationError as error:
        wrong = [problem["loc"] for problem in error.errors(include_url=False)]
    for name in {str(loc[0]) for loc in wrong}:
        value = stored.pop(name)
        if name in _LISTS and isinstance(value, list):
            strange = {loc[1] for loc in wrong if loc[0] == name}
            stored[name] = [entry for at, entry in enumerate(value) if at not in strange]
            entries[name] = tuple(
                entry for at, entry in enumerate(value) if at in strange and not _is_ours(entry)
            )
        else:
            fields[name] = value
    lost = _DECIDES & fields.keys()
    why = f"status.{min(lost)} is not understood" if lost else None
    return Status.model_validate(stored).with_kept(KeptApart(fields, entries, why))

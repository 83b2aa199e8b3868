"""Turns the operator into a newer build; Python imports this if the folder is on its path.

The newer build writes records that the current build cannot read, and reads both. `NEWER_BUILD`
selects the difference: a new `word`, or a higher `reader` version that the records require.
"""

import os

from cse_operator.api import status_reader
from cse_operator.api.status import Status
from cse_operator.api.upgrade_record import READER

_by_word = os.environ["NEWER_BUILD"] == "word"
_to_json, _read_status = Status.to_json, status_reader.read_status


def to_json(self):
    stored = _to_json(self)
    record = stored.get("upgrade")
    if record is None:
        return stored
    own = {"action": f"New{record['action']}"} if _by_word else {"minReader": READER + 1}
    return stored | {"upgrade": record | own}


def read_status(stored):
    if isinstance(stored, dict) and isinstance(stored.get("upgrade"), dict):
        record = stored["upgrade"]
        known = {"action": record["action"].removeprefix("New"), "minReader": READER}
        stored = stored | {"upgrade": record | known}
    return _read_status(stored)


Status.to_json = to_json
status_reader.read_status = read_status

"""Makes the wall clock wrong; Python imports this if the folder is on its path.

`SKEW_SECONDS` is the fixed skew. Alternatively, `SKEW_FILE` names a file with the skew; it is read
each time, so that a test can move the clock of a running process. If `SKEW_TURNS_FILE` is given,
each start appends a byte to that file, and the skew changes its sign with each start, as if the
process came up on another machine.
"""

import datetime as dt
import os
import time
from pathlib import Path

_file = os.environ.get("SKEW_FILE")
_fixed = 0.0 if _file else float(os.environ["SKEW_SECONDS"])
_turns = os.environ.get("SKEW_TURNS_FILE")
if _turns:
    with Path(_turns).open("ab") as file:
        file.write(b".")
        if file.tell() % 2 == 0:
            _fixed = -_fixed


def _skew():
    return float(Path(_file).read_text()) if _file else _fixed


_time, _time_ns, _gmtime, _localtime = time.time, time.time_ns, time.gmtime, time.localtime
_Real = dt.datetime


class _Like(type):
    def __instancecheck__(cls, instance):
        return isinstance(instance, _Real)

    def __subclasscheck__(cls, subclass):
        return issubclass(subclass, _Real)


class _Skewed(_Real, metaclass=_Like):
    @classmethod
    def now(cls, tz=None):
        return _Real.now(tz) + dt.timedelta(seconds=_skew())

    @classmethod
    def utcnow(cls):
        return _Real.utcnow() + dt.timedelta(seconds=_skew())


time.time = lambda: _time() + _skew()
time.time_ns = lambda: _time_ns() + int(_skew() * 1e9)
time.gmtime = lambda seconds=None: _gmtime(time.time() if seconds is None else seconds)
time.localtime = lambda seconds=None: _localtime(time.time() if seconds is None else seconds)
dt.datetime = _Skewed

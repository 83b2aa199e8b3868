"""What can keep the demo from going on."""

from __future__ import annotations


class DemoError(Exception):
    """The demo cannot go on; the message says why, and what to do."""


class StopRequested(BaseException):
    """Somebody wants the demo to end: Ctrl-C, SIGTERM, or a closed terminal."""

"""The errors that end the demo."""

from __future__ import annotations


class DemoError(Exception):
    """The demo cannot go on; the message says why, and what to do."""


class StopRequested(BaseException):
    """The user asked the demo to end: Ctrl-C, SIGTERM, or a closed terminal."""

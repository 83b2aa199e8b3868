"""The one exception of this package that a person is meant to read."""

from __future__ import annotations


class ControlPlaneError(Exception):
    """The control plane cannot be built, started or reached; the message says what to do."""

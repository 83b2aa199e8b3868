"""The exception of this package whose message is written for a person."""

from __future__ import annotations


class ControlPlaneError(Exception):
    """The control plane cannot be built, started or reached; the message says what to do."""

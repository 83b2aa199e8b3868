"""The cluster's CA, kept fresh while it is rotated."""

from __future__ import annotations

import logging
import ssl
import threading
from collections.abc import Callable
from typing import Final
from weakref import WeakSet

logger = logging.getLogger(__name__)

PERIOD: Final = 60.0
"""Seconds between looks at the file; the kubelet takes about as long to bring a change."""


class Roots:
    """Reads the cluster's CA again every minute, for all TLS contexts that trust it.

    A CA once trusted stays trusted until the process ends: during a rotation the file holds the old
    and the new CA. If the file becomes unreadable, the loaded CA stays in use.

    Args:
        file: The CA in PEM form; None if the system's CAs are trusted.
        clock: Seconds on a steady clock.
    """

    def __init__(self, file: str | None, clock: Callable[[], float]) -> None:
        self._file = file
        self._clock = clock
        self._due = clock() + PERIOD
        self._lock = threading.Lock()  # kopf's thread makes its contexts
        self._contexts: WeakSet[ssl.SSLContext] = WeakSet()

    def keep_fresh(self, context: ssl.SSLContext) -> None:
        """Load future contents of the file into this context too."""
        with self._lock:
            self._contexts.add(context)

    def renew(self) -> None:
        """Read the file again, if it is due."""
        if self._file is None or self._clock() < self._due:
            return
        self._due = self._clock() + PERIOD
        with self._lock:
            contexts = list(self._contexts)
        try:
            for context in contexts:
                context.load_verify_locations(self._file)
        except OSError as error:
            logger.warning(
                "The cluster's CA in %s could not be read again (%s); the old one stays in use.",
                self._file,
                error.strerror or error,
            )

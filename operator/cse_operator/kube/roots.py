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
"""Seconds between looks at the file; the kubelet brings a change within about as many."""


class Roots:
    """Reads the cluster's CA again every minute, for all TLS contexts that trust it.

    What was trusted stays trusted until the process ends: while a CA is rotated, the file holds
    the old and the new one. A file that cannot be read any more changes nothing.

    Args:
        file: the CA in PEM form; None where the system's are trusted.
        clock: seconds on a steady clock.
    """

    def __init__(self, file: str | None, clock: Callable[[], float]) -> None:
        self._file = file
        self._clock = clock
        self._due = clock() + PERIOD
        self._lock = threading.Lock()  # kopf's contexts are made in a thread of its own
        self._contexts: WeakSet[ssl.SSLContext] = WeakSet()

    def keep_fresh(self, context: ssl.SSLContext) -> None:
        """Have a context trust what the file will hold, too."""
        with self._lock:
            self._contexts.add(context)

    def renew(self) -> None:
        """Read the file, if it is time to."""
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
                "The cluster's CA in %s could not be read again (%s); the one in use is kept.",
                self._file,
                error.strerror or error,
            )

"""Which certificates are trusted for the vendor's API, and the error for an untrusted one."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import certifi

from cse_operator.clock import boottime

logger = logging.getLogger(__name__)

LOOK_EVERY: Final = 60.0
"""Seconds between looks at the file; the kubelet takes about as long to update a ConfigMap."""


class _NamesTheCertificate(ssl.SSLObject):
    """Names the untrusted certificate in the error: OpenSSL only gives the reason."""

    def do_handshake(self) -> None:
        """Do the handshake; an error names the server's certificate and its issuer."""
        try:
            super().do_handshake()
        except ssl.SSLCertVerificationError as error:
            words = (
                f"{self._shown()} is not trusted: {error.verify_message}; add its CA to the "
                "file of --ca-bundle"
            )
            error.args = (error.errno, words)
            raise

    def _shown(self) -> str:
        # Before Python 3.13 no public API returns the server's certificate, and none parses it.
        own: Any = self._sslobj  # type: ignore[attr-defined]  # see above
        chain = own.get_unverified_chain() or ()
        names = (
            [chain[0].get_info().get(part, ()) for part in ("subject", "issuer")] if chain else []
        )
        if not names:
            return "the server's certificate"
        return f"the certificate of {_name(names[0])} issued by {_name(names[1])}"


def _name(distinguished: tuple[tuple[tuple[str, str], ...], ...]) -> str:
    """Return the common name of a distinguished name, else its organization."""
    parts = {key: value for part in distinguished for key, value in part}
    for key in ("commonName", "organizationName"):
        if key in parts:
            return repr(parts[key])
    return "an unnamed one"


def tls_context(ca_bundle: Path | None) -> ssl.SSLContext:
    """Make a TLS context: TLS 1.2 or newer, certificate and host name always verified.

    Raises:
        OSError: The file cannot be read (`ssl.SSLError` if it holds no certificate).
    """
    context = ssl.create_default_context(cafile=str(ca_bundle) if ca_bundle else certifi.where())
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # Python 3.13 checks more than the chain, the dates and the name, but the root certificates of
    # many companies and of TLS-inspecting proxies have no critical basicConstraints or no key
    # identifier. Without the flag the checks are those of Python 3.12 and of curl.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.sslobject_class = _NamesTheCertificate
    return context


class Trust:
    """The TLS context for the vendor, made again when the certificate file changes.

    Open connections stay open. If the file becomes unreadable, the old context stays in use.
    """

    def __init__(self, ca_bundle: Path | None, *, clock: Callable[[], float] = boottime) -> None:
        """Read the certificates.

        Args:
            ca_bundle: PEM file of the certificate authorities; None for the public ones.
            clock: Seconds on a steady clock.

        Raises:
            OSError: The file cannot be read (`ssl.SSLError` if it holds no certificate).
        """
        self._file = ca_bundle
        self._clock = clock
        self._version = _version_of(ca_bundle)
        self._context = tls_context(ca_bundle)
        self._due = clock() + LOOK_EVERY

    @property
    def context(self) -> ssl.SSLContext:
        """Return the context for a new connection."""
        if self._file is not None and self._clock() >= self._due:
            self._due = self._clock() + LOOK_EVERY
            self._look_again(self._file)
        return self._context

    def _look_again(self, file: Path) -> None:
        try:
            version = _version_of(file)
            if version == self._version:
                return
            self._context = tls_context(file)
        except OSError as error:
            logger.warning(
                "the changed CA certificates in %s cannot be read; the old ones stay in use: %s",
                file,
                error.strerror or error,
            )
            return
        self._version = version
        logger.info("the CA certificates in %s have changed; the new ones are in use", file)


def _version_of(file: Path | None) -> tuple[int, ...]:
    """Return a value that changes with the file's content; a ConfigMap update is a new file."""
    if file is None:
        return ()
    found = file.stat()
    return found.st_mtime_ns, found.st_size, found.st_ino

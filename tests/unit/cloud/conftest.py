"""Shared fixtures for tests of the cloud side: a certificate, and time for slow machines."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
import trustme
from hypothesis import settings

settings.register_profile("patient", deadline=None)
settings.load_profile("patient")


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1, its key and its authority, in one PEM file."""
    both = tmp_path_factory.mktemp("certificate") / "both.pem"
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1", "localhost")
    for part in (issued.private_key_and_cert_chain_pem, authority.cert_pem):
        part.write_to_path(both, append=True)
    return both


@pytest.fixture
def self_signed(certificate: Path) -> ssl.SSLContext:
    """The server's TLS context with that certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context

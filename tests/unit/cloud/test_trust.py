"""Certificates for the vendor's API: which are trusted, when they are reread, and the messages."""

from __future__ import annotations

import datetime as dt
import ssl
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from cse_operator.cloud.transport import TransportOptions, build_http_client
from cse_operator.cloud.trust import LOOK_EVERY, Trust
from cse_operator.core.failure import FailureKind
from support.cloud_calls import ENGINE, ENGINE_ANSWER, FakeTime, fails, make_client
from support.raw_vendor import RawVendor, answer

LOCAL = TransportOptions(allow_local_addresses=True)


class Clock:
    """A clock that goes on when told to."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


async def look(http: httpx.AsyncClient, url: str) -> str:
    time = FakeTime()
    client = make_client(http, url, clock=time, sleep=time.sleep)
    return (await client.show_engine(ENGINE)).version


def served_by(authority: trustme.CA) -> ssl.SSLContext:
    """Return the context of a server with a certificate from this authority."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    return context


def loose_chain(folder: Path, *, key_identifiers: bool) -> tuple[Path, ssl.SSLContext]:
    """Write a company's root whose basicConstraints are not critical; return it with a server.

    Args:
        folder: The folder for the files.
        key_identifiers: Whether the server's certificate names the key of its authority.
    """
    root_key, own_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    root_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Company Root")])
    now = dt.datetime.now(dt.UTC)

    def begun(name: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(root_name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(days=1))
            .not_valid_after(now + dt.timedelta(days=1))
        )

    root = begun(root_name, root_key).add_extension(
        x509.BasicConstraints(ca=True, path_length=None), critical=False
    )
    own = begun(
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")]), own_key
    ).add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
    if key_identifiers:
        identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key())
        own = own.add_extension(identifier, critical=False)
    pem = serialization.Encoding.PEM
    bundle, served = folder / "root.pem", folder / "served.pem"
    bundle.write_bytes(root.sign(root_key, hashes.SHA256()).public_bytes(pem))
    served.write_bytes(
        own.sign(root_key, hashes.SHA256()).public_bytes(pem)
        + own_key.private_bytes(
            pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(served)
    return bundle, context


@pytest.mark.parametrize("key_identifiers", [True, False])
async def test_a_companys_root_that_curl_takes_is_taken(
    tmp_path: Path, *, key_identifiers: bool
) -> None:
    bundle, served = loose_chain(tmp_path, key_identifiers=key_identifiers)
    strict = ssl.create_default_context(cafile=str(bundle))
    strict.verify_flags |= ssl.VERIFY_X509_STRICT
    options = TransportOptions(allow_local_addresses=True, ca_bundle=bundle)
    async with RawVendor(lambda _: answer(200, ENGINE_ANSWER), tls=served) as vendor:
        url = f"https://localhost:{vendor.port}"
        async with build_http_client(options) as http:
            assert await look(http, url) == "2.3.1"
            http._fenced._trust._context = strict  # the default of Python 3.13
            with fails(FailureKind.TRANSIENT):
                await look(http, url)


async def test_a_certificate_that_is_not_trusted_is_named_with_its_issuer() -> None:
    proxy = trustme.CA(organization_name="Company Proxy \x1b[31m")
    behind = RawVendor(lambda _: answer(200, ENGINE_ANSWER), tls=served_by(proxy))
    async with build_http_client(LOCAL) as http, behind as vendor:
        with fails(FailureKind.TRANSIENT) as caught:
            await look(http, f"https://localhost:{vendor.port}")
        assert vendor.requests == []
    message = caught.failure.message
    assert "issued by 'Company Proxy" in message
    assert "' is not trusted: " in message
    assert "add its CA to the file of --ca-bundle" in message
    assert "\x1b" not in message


async def test_a_ca_bundle_that_was_rotated_is_read_again(tmp_path: Path) -> None:
    old, new, clock, bundle = trustme.CA(), trustme.CA(), Clock(), tmp_path / "ca.pem"
    old.cert_pem.write_to_path(bundle)
    trust = Trust(bundle, clock=clock)
    async with build_http_client(LOCAL, trust) as http:
        async with RawVendor(lambda _: answer(200, ENGINE_ANSWER), tls=served_by(new)) as vendor:
            url = f"https://localhost:{vendor.port}"
            _rotate(bundle, new)
            with fails(FailureKind.TRANSIENT):
                await look(http, url)
            clock.now += LOOK_EVERY
            assert await look(http, url) == "2.3.1"
        async with RawVendor(lambda _: answer(200, ENGINE_ANSWER), tls=served_by(old)) as vendor:
            with fails(FailureKind.TRANSIENT):
                await look(http, f"https://localhost:{vendor.port}")


def _rotate(bundle: Path, authority: trustme.CA) -> None:
    """Replace the file in the way of the kubelet."""
    fresh = bundle.with_suffix(".new")
    authority.cert_pem.write_to_path(fresh)
    fresh.rename(bundle)


@pytest.mark.parametrize("spoil", [Path.unlink, lambda path: path.write_text("no certificate")])
def test_a_bundle_that_cannot_be_read_again_changes_nothing_and_is_said(
    tmp_path: Path, spoil: Callable[[Path], object], caplog: pytest.LogCaptureFixture
) -> None:
    clock, bundle, later = Clock(), tmp_path / "ca.pem", trustme.CA()
    trustme.CA().cert_pem.write_to_path(bundle)
    trust = Trust(bundle, clock=clock)
    context = trust.context
    spoil(bundle)
    clock.now += LOOK_EVERY
    assert trust.context is context
    assert f"the changed CA certificates in {bundle} cannot be read" in caplog.text
    _rotate(bundle, later)
    clock.now += LOOK_EVERY
    assert trust.context is not context


def test_a_bundle_that_did_not_change_is_not_read_again(tmp_path: Path) -> None:
    clock, bundle = Clock(), tmp_path / "ca.pem"
    trustme.CA().cert_pem.write_to_path(bundle)
    trust = Trust(bundle, clock=clock)
    context = trust.context
    clock.now += LOOK_EVERY
    assert trust.context is context

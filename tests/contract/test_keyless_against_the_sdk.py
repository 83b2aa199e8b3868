"""Trades of tokens for temporary keys, compared with the vendor's own SDK."""

from __future__ import annotations

import base64
import json
import secrets
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from huaweicloudsdkcore.auth.credentials import BasicCredentials
from huaweicloudsdkcore.auth.internal import FederalAccessor, OidcStsAccessor, PodIdentityAccessor
from huaweicloudsdkcore.exceptions.exceptions import SdkException, ServiceResponseException
from huaweicloudsdkcore.http.http_client import HttpClient
from huaweicloudsdkcore.http.http_config import HttpConfig
from huaweicloudsdkcore.utils import time_utils
from huaweicloudsdkcse import v1 as sdk
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from cse_operator.cloud.auth import trades
from cse_simulator.vendor.engines import DEFAULT_PROJECT
from cse_simulator.vendor.simulation import Simulation, start_simulator

pytestmark = pytest.mark.filterwarnings(
    r"ignore:datetime\.datetime\.utcnow:DeprecationWarning:huaweicloudsdkcore"
)

ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)
HEADER_TEXT = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=40)
PATIENT = settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
Seen = tuple[str, str, bytes, dict[str, str]]


class Recorder:
    """A server that records requests, and answers as the vendor would."""

    def __init__(self) -> None:
        self.seen: list[Seen] = []
        recorder = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                recorder.seen.append(
                    (
                        "POST",
                        self.path,
                        body,
                        {name.lower(): value for name, value in self.headers.items()},
                    )
                )
                answer = json.dumps(ANSWER).encode()
                self.send_response(201)
                self.send_header("X-Subject-Token", "unscoped")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def taken(self) -> list[Seen]:
        seen, self.seen = self.seen, []
        return seen


ANSWER = {
    "credential": {
        "access": "ak",
        "secret": "sk",
        "securitytoken": "st",
        "expires_at": "2020-01-08T02:56:19.587000Z",
    }
}


@pytest.fixture(scope="module")
def recorder() -> Iterator[Recorder]:
    recorder = Recorder()
    yield recorder
    recorder.server.shutdown()
    recorder.server.server_close()
    recorder.thread.join()


@pytest.fixture(scope="module")
def sdk_http(recorder: Recorder) -> Iterator[HttpClient]:
    """The SDK's own HTTP client, as one of its service clients has it."""
    client = _client(BasicCredentials("any", "any", DEFAULT_PROJECT), recorder.url)
    yield client._http_client
    client.close()


def _client(credentials: BasicCredentials, url: str) -> sdk.CseClient:
    builder = sdk.CseClient.new_builder().with_http_config(HttpConfig(timeout=(5, 20)))
    return builder.with_credentials(credentials).with_endpoint(url).build()


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def assert_the_same(ours: list[httpx.Request], theirs: list[Seen], *named: str) -> None:
    """Compare method, target and body byte for byte, and the headers about the body."""
    assert len(ours) == len(theirs)
    for mine, (method, target, body, headers) in zip(ours, theirs, strict=True):
        assert (mine.method, mine.url.raw_path.decode(), mine.content) == (method, target, body)
        for name in named:
            assert mine.headers.get(name) == headers.get(name), name


@PATIENT
@given(provider=HEADER_TEXT, id_token=HEADER_TEXT)
def test_federation_asks_what_the_sdk_asks(
    recorder: Recorder, sdk_http: HttpClient, tmp_path: Path, provider: str, id_token: str
) -> None:
    (tmp_path / "token").write_text(id_token)
    FederalAccessor().get_credential(
        iam_endpoint=recorder.url,
        http_client=sdk_http,
        idp_id=provider,
        id_token_file=str(tmp_path / "token"),
    )
    ours = [
        trades.id_token_request(recorder.url, provider, SecretStr(id_token)),
        trades.key_request(recorder.url, SecretStr("unscoped"), seconds=6 * 3600),
    ]
    assert_the_same(ours, recorder.taken(), "content-type", "x-idp-id", "authorization")


@PATIENT
@given(
    provider=ANY_TEXT,
    agency=ANY_TEXT,
    session=ANY_TEXT,
    id_token=ANY_TEXT,
    seconds=st.integers(900, 86400),
)
def test_a_trust_agency_is_assumed_as_the_sdk_does(  # noqa: PLR0917 - what a trade is made of
    recorder: Recorder,
    sdk_http: HttpClient,
    provider: str,
    agency: str,
    session: str,
    id_token: str,
    seconds: int,
) -> None:
    accessor = OidcStsAccessor(provider, agency, id_token, session, seconds)
    accessor.get_credential(sts_endpoint=recorder.url, http_client=sdk_http)
    ours = trades.agency_request(
        recorder.url,
        provider_urn=provider,
        agency_urn=agency,
        session=session,
        id_token=SecretStr(id_token),
        seconds=seconds,
    )
    assert_the_same([ours], recorder.taken(), "content-type", "authorization")


@PATIENT
@given(token=HEADER_TEXT)
def test_a_pods_identity_is_asked_for_as_the_sdk_does(
    recorder: Recorder, tmp_path: Path, token: str
) -> None:
    (tmp_path / "token").write_text(f"{token}\n")
    url = f"{recorder.url}/any/path"
    PodIdentityAccessor(url, str(tmp_path / "token")).get_credential()
    ours = trades.pod_request(url, SecretStr(token))
    assert_the_same([ours], recorder.taken(), "content-type", "authorization")


# --- the simulator's side ------------------------------------------------------------------------

ISSUER, AUDIENCE = "https://kubernetes.default.svc", "cse-operator"
KEY = ec.generate_private_key(ec.SECP256R1())
PROVIDER_URN, AGENCY_URN = "iam::1:identityProvider:cce", "iam::1:agency:cse"
POD_TOKEN = "token-of-a-pod"


def encoded(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def jwks() -> dict[str, Any]:
    numbers = KEY.public_key().public_numbers()
    point = {name: encoded(getattr(numbers, name).to_bytes(32)) for name in ("x", "y")}
    return {"keys": [{"kty": "EC", "crv": "P-256", "alg": "ES256", "kid": "1", **point}]}


def id_token(key: ec.EllipticCurvePrivateKey = KEY, **claims: Any) -> str:
    """Return a ServiceAccount's token, as a cluster makes it."""
    usual = {
        "iss": ISSUER,
        "aud": [AUDIENCE],
        "sub": "system:serviceaccount:payments:upgrades",
        "exp": time.time() + 600,
    }
    parts = ({"alg": "ES256", "kid": "1"}, {**usual, **claims})
    signed = ".".join(encoded(json.dumps(part).encode()) for part in parts)
    halves = decode_dss_signature(key.sign(signed.encode(), ec.ECDSA(SHA256())))
    return f"{signed}.{encoded(b''.join(half.to_bytes(32) for half in halves))}"


@pytest.fixture(scope="module")
def simulation() -> Iterator[Simulation]:
    usual = {
        "issuer": ISSUER,
        "audience": AUDIENCE,
        "jwks": jwks(),
        "subjects": ["system:serviceaccount:payments:*"],
    }
    agency = {**usual, "name": PROVIDER_URN, "agency": AGENCY_URN}
    with start_simulator(job_seconds=3600) as running:
        running.admin.accept_only(
            identity_providers=[{**usual, "name": "cce"}, agency], pod_identities={POD_TOKEN: "a"}
        )
        yield running


def by_federation(simulation: Simulation, http: HttpClient, folder: Path, token: str) -> Any:
    (folder / "token").write_text(token)
    return FederalAccessor().get_credential(
        iam_endpoint=simulation.url,
        http_client=http,
        idp_id="cce",
        id_token_file=str(folder / "token"),
    )


@pytest.mark.parametrize("way", ["federation", "agency", "pod"])
def test_the_sdk_calls_with_the_key_that_the_simulator_gives_it(
    simulation: Simulation, sdk_http: HttpClient, tmp_path: Path, way: str
) -> None:
    if way == "federation":
        found = by_federation(simulation, sdk_http, tmp_path, id_token())
    elif way == "agency":
        accessor = OidcStsAccessor(PROVIDER_URN, AGENCY_URN, id_token(), "session")
        found = accessor.get_credential(sts_endpoint=simulation.url, http_client=sdk_http)
    else:
        (tmp_path / "pod").write_text(POD_TOKEN)
        url = f"{simulation.url}/pod-identity/credentials"
        found = PodIdentityAccessor(url, str(tmp_path / "pod")).get_credential()
    # The SDK reads UTC as local time, here and in the clock that it compares with.
    assert found.expire_at > time_utils.get_timestamp_utc() + 600
    name = f"engine-{secrets.token_hex(3)}"
    simulation.admin.create_engine(name)
    credentials = BasicCredentials(found.access, found.secret, DEFAULT_PROJECT)
    credentials.with_security_token(found.security_token)
    client = _client(credentials, simulation.url)
    try:
        listed = client.list_engines(sdk.ListEnginesRequest())
    finally:
        client.close()
    assert name in {engine.name for engine in listed.data}


@pytest.mark.parametrize(
    ("token", "said"),
    [
        (lambda: id_token(iss="https://elsewhere"), "issuer"),
        (lambda: id_token(aud=["somebody-else"]), "audience"),
        (lambda: id_token(exp=time.time() - 1), "has expired"),
        (lambda: id_token(nbf=time.time() + 600), "not yet valid"),
        (lambda: id_token(sub="system:serviceaccount:other:upgrades"), "conversion rule"),
        (lambda: id_token(ec.generate_private_key(ec.SECP256R1())), "signature"),
        (lambda: "no.to.ken", "malformed"),
    ],
    ids=["issuer", "audience", "expired", "early", "subject", "signature", "malformed"],
)
def test_the_simulator_believes_no_token_that_is_wrong_in_one_thing(
    simulation: Simulation, sdk_http: HttpClient, tmp_path: Path, token: Any, said: str
) -> None:
    with pytest.raises((ServiceResponseException, SdkException)) as caught:
        by_federation(simulation, sdk_http, tmp_path, token())
    assert said in str(caught.value)

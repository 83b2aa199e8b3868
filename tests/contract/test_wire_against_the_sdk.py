"""Our client sends the same bytes as the vendor's SDK.

Both send to one server on the loopback interface, which keeps the bytes of each request. The
inputs are generated within what our client accepts, and both see the same time. `DIFFERENCES`
lists the intended differences with their reasons. Any other difference is a failure; so is an
intended difference that no longer exists.
"""

from __future__ import annotations

import asyncio
import inspect
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, quote

import httpx
import pytest
import pytest_asyncio
from huaweicloudsdkcore.auth.credentials import BasicCredentials
from huaweicloudsdkcore.http.http_config import HttpConfig
from huaweicloudsdkcore.sdk_request import SdkRequest
from huaweicloudsdkcore.signer import signer as sdk_signer
from huaweicloudsdkcse import v1 as sdk
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from cse_operator.clock import boottime
from cse_operator.cloud import client as client_module
from cse_operator.cloud import exchange as exchange_module
from cse_operator.cloud import reader as reader_module
from cse_operator.cloud import wire
from cse_operator.cloud.auth.credentials import AccessKey, PasswordToken, StaticToken, parse_secret
from cse_operator.cloud.auth.flows import AccessKeyAuth, CloudAuth, StaticTokenAuth
from cse_operator.cloud.auth.password import PasswordTokenAuth
from cse_operator.cloud.client import CseClient
from cse_operator.cloud.paging import ENGINES
from cse_operator.cloud.transport import USER_AGENT, TransportOptions, build_http_client
from cse_operator.core.failure import FailureKind
from support.cloud_calls import ENGINE, ENGINE_ANSWER, JOB_ANSWER, PROJECT, fails, make_client
from support.raw_vendor import answer, serving

IN_ONE_LOOP = pytest.mark.asyncio(loop_scope="module")
"""The server and the connections to it share this event loop."""
EXAMPLES = settings(
    max_examples=100,
    deadline=None,
    # The explain phase would trace each line of both clients: minutes, and a gigabyte.
    phases=[phase for phase in Phase if phase is not Phase.explain],
)
DOCUMENTED_TYPE = "application/json;charset=UTF-8"
"""CSE API Reference, Upgrading an Engine, Request Parameters; `Accept` is documented there too."""


@dataclass(frozen=True)
class Arrived:
    """The bytes of a request."""

    line: bytes
    fields: tuple[tuple[bytes, bytes], ...]
    """The headers' names and values in their order, without the blanks around the values."""
    body: bytes

    @property
    def method(self) -> bytes:
        return self.line.split(b" ")[0]

    @property
    def target(self) -> bytes:
        return self.line.split(b" ")[1]

    @property
    def path(self) -> bytes:
        return self.target.partition(b"?")[0]

    @property
    def query(self) -> bytes:
        return self.target.partition(b"?")[2]

    @property
    def headers(self) -> dict[str, bytes]:
        """Return the headers by name; their case and order do not matter (RFC 9110, section 5)."""
        headers = {name.decode("ascii").lower(): value for name, value in self.fields}
        assert len(headers) == len(self.fields), "a header was sent twice"
        return headers


LENGTH = b"content-length"
ENGINE_PATH = re.compile(r"/enginemgr/engines/([^/]+)(?:/jobs/(\d+))?")


class Recorder:
    """Keeps the requests, and answers each call by its path."""

    def __init__(self) -> None:
        self.port = 0
        self.engines: list[str] = []
        """The ids of the engines to list."""
        self.most = 1000
        """The most engines on one page, whatever limit is asked for."""
        self.counts_pages = False
        """Whether `offset` counts pages; otherwise it counts engines."""
        self._arrived: list[Arrived] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def holds(self, engines: list[str], most: int = 1000, *, counts_pages: bool = False) -> None:
        """Forget the requests, and list these engines from now on."""
        self._arrived = []
        self.engines, self.most, self.counts_pages = engines, most, counts_pages

    def take(self) -> list[Arrived]:
        """Return the requests since the last call, and forget them."""
        taken, self._arrived = self._arrived, []
        return taken

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            try:
                head = await reader.readuntil(b"\r\n\r\n")
            except asyncio.IncompleteReadError:
                return
            line, *fields = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
            pairs = tuple(
                (name, value.strip(b" \t"))
                for name, _, value in (field.partition(b":") for field in fields)
            )
            length = next((int(value) for name, value in pairs if name.lower() == LENGTH), 0)
            request = Arrived(line, pairs, await reader.readexactly(length))
            self._arrived.append(request)
            writer.write(self._answer(request))
            await writer.drain()

    def _answer(self, request: Arrived) -> bytes:
        if request.path == b"/v3/auth/tokens":
            return answer(201, {"token": {}}, {"X-Subject-Token": "token"})
        if request.path.endswith(b"/enginemgr/engines"):
            return answer(200, self._page(dict(parse_qsl(request.query.decode()))))
        named = ENGINE_PATH.search(request.path.decode("ascii"))
        engine, job = named.groups() if named else (ENGINE, None)
        if request.method == b"PUT":
            return answer(200, {"id": engine, "name": "test", "jobId": 17655})
        if job is not None:
            return answer(200, {**JOB_ANSWER, "id": int(job), "engineId": engine})
        return answer(200, {**ENGINE_ANSWER, "id": engine})

    def _page(self, query: dict[str, str]) -> dict[str, Any]:
        rows = min(self.most, int(query["limit"]))
        first = int(query["offset"]) * (rows if self.counts_pages else 1)
        engines = self.engines[first : first + rows]
        return {
            "total": len(self.engines),
            "data": [{**ENGINE_ANSWER, "id": engine} for engine in engines],
        }


class SdkClock(datetime):
    """The SDK's clock for signatures, which shows the test's time."""

    shown = datetime(2025, 6, 1, tzinfo=UTC)

    @classmethod
    def utcnow(cls) -> datetime:  # type: ignore[override]
        return cls.shown.replace(tzinfo=None)


@pytest.fixture(scope="module", autouse=True)
def surroundings() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sdk_signer, "datetime", SdkClock)
        patch.setenv("NO_PROXY", "127.0.0.1")  # the SDK would use a proxy of the environment
        yield


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def recorder() -> AsyncIterator[Recorder]:
    recorder = Recorder()
    async with serving(recorder.serve) as recorder.port:
        yield recorder


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def http(recorder: Recorder) -> AsyncIterator[httpx.AsyncClient]:
    async with build_http_client(TransportOptions(allow_local_addresses=True)) as http:
        yield http


@contextmanager
def sdk_client(recorder: Recorder, kind: type[sdk.CseClient]) -> Iterator[sdk.CseClient]:
    builder = sdk.CseClient.new_builder(kind).with_http_config(HttpConfig(timeout=(5, 20)))
    credentials = BasicCredentials("never", "used", PROJECT)
    client = builder.with_credentials(credentials).with_endpoint(recorder.url).build()
    yield client
    client.close()
    client.get_http_client().executor.shutdown()  # close() leaves its threads


@pytest.fixture(scope="module")
def vendors(recorder: Recorder) -> Iterator[sdk.CseClient]:
    """The SDK's client, unchanged."""
    with sdk_client(recorder, sdk.CseClient) as client:
        yield client


def signing_what_we_sign() -> type[sdk.CseClient]:
    """Return an SDK client with the documented headers, so that it signs our client's request.

    The SDK signs all headers that it has. Here it has no `User-Agent`; its `preset_headers` give
    the other headers, such as the documented media type.
    """

    class CseClient(sdk.CseClient):  # type: ignore[misc] # the builder accepts this name only
        def _parse_header_params(self, *args: Any) -> dict[str, str]:
            headers: dict[str, str] = super()._parse_header_params(*args)
            del headers["User-Agent"]
            return headers

    return CseClient


@pytest.fixture(scope="module")
def aligned(recorder: Recorder) -> Iterator[sdk.CseClient]:
    with sdk_client(recorder, signing_what_we_sign()) as client:
        yield client


IDS = st.from_regex(exchange_module._ID, fullmatch=True)
VERSIONS = st.from_regex(client_module._VERSION, fullmatch=True)
NUMBERS = st.integers(0, 2**31 - 1)
ASCII = st.characters(min_codepoint=0x20, max_codepoint=0x7E)
"""Characters that a header may hold, and so an access key or a token from a Secret."""
WORDS = st.text(ASCII, min_size=1, max_size=80).map(str.strip).filter(bool)
TOKENS = st.builds(lambda word, times: word * times, WORDS, st.sampled_from([1, 2, 400]))
"""Real security tokens have up to some thousand characters."""
TIMES = st.datetimes(datetime(1970, 1, 1), datetime(9999, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001


@dataclass(frozen=True)
class Case:
    """The inputs of any call."""

    project: str
    enterprise: str | None
    engine: str
    version: str
    job: int
    offset: int
    limit: int
    access_key: str
    secret_key: str
    security_token: str | None
    now: datetime

    @property
    def key(self) -> AccessKey:
        """Return the key as it is read from a Secret."""
        data = {"accessKey": self.access_key, "secretKey": self.secret_key}
        if self.security_token is not None:
            data["securityToken"] = self.security_token
        key = parse_secret({name: SecretStr(value) for name, value in data.items()})
        assert isinstance(key, AccessKey)
        return key

    def ours(
        self, http: httpx.AsyncClient, recorder: Recorder, auth: CloudAuth | None = None
    ) -> CseClient:
        auth = auth or AccessKeyAuth(self.key, self.project, now=lambda: self.now)
        return make_client(
            http,
            recorder.url,
            auth=auth,
            project_id=self.project,
            enterprise_project_id=self.enterprise,
        )

    async def theirs(self, client: sdk.CseClient, make: Callable[[sdk.CseClient], Any]) -> None:
        """Make a call by the SDK's client with this key at this time."""
        credentials = BasicCredentials(self.access_key, self.secret_key, self.project)
        if self.security_token is not None:
            credentials.with_security_token(self.security_token)
        SdkClock.shown = self.now
        client.with_credentials(credentials)
        await asyncio.to_thread(make, client)


CASES = st.builds(
    Case,
    project=IDS,
    enterprise=st.none() | IDS,
    engine=IDS,
    version=VERSIONS,
    job=st.integers(1, 2**63 - 1),
    offset=NUMBERS,
    limit=NUMBERS,
    access_key=WORDS,
    secret_key=WORDS,
    security_token=st.none() | TOKENS,
    now=TIMES,
)
USUAL = Case(
    project=PROJECT,
    enterprise="0",
    engine=ENGINE,
    version="2.4.0",
    job=17655,
    offset=0,
    limit=ENGINES.page,
    access_key="AKCONTRACT",
    secret_key="sk-contract",
    security_token=None,
    now=datetime(2025, 6, 1, 12, 0, tzinfo=UTC),
)
LONGEST = replace(
    USUAL,
    project=f"0{'-_' * 31}Z",
    enterprise=f"a{'_' * 62}9",
    engine=f"Z{'-' * 62}0",
    version=f"2{'+' * 11}{'_' * 11}z",
    job=2**63 - 1,
    access_key="!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~",
    secret_key="~, Signature= SignedHeaders=\\~",
    security_token="~/+= " * 6553 + "end",
)


@dataclass(frozen=True)
class Call:
    """One call of our client, and the corresponding call of the SDK."""

    ours: Callable[[CseClient, Case], Awaitable[Any]]
    theirs: Callable[[sdk.CseClient, Case], Any]


async def list_one_page(ours: CseClient, case: Case) -> None:
    """Ask for one page as `list_engines` does, without its choice of pages."""

    async def one_page(fetch: Callable[[int, int], Awaitable[Any]]) -> dict[str, Any]:
        await fetch(case.offset, case.limit)
        return {}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reader_module, "collect_rows", one_page)
        await ours.list_engines()


CALLS = {
    "list_engines": Call(
        list_one_page,
        lambda client, case: client.list_engines(
            sdk.ListEnginesRequest(offset=case.offset, limit=str(case.limit), type="ALL")
        ),
    ),
    "show_engine": Call(
        lambda ours, case: ours.show_engine(case.engine),
        lambda client, case: client.show_engine(
            sdk.ShowEngineRequest(x_enterprise_project_id=case.enterprise, engine_id=case.engine)
        ),
    ),
    "show_job": Call(
        lambda ours, case: ours.show_job(case.engine, case.job),
        lambda client, case: client.show_engine_job(
            sdk.ShowEngineJobRequest(
                x_enterprise_project_id=case.enterprise,
                engine_id=case.engine,
                job_id=str(case.job),
            )
        ),
    ),
    "upgrade": Call(
        lambda ours, case: ours.upgrade(case.engine, case.version, send_before=boottime() + 30),
        lambda client, case: client.upgrade_engine(
            sdk.UpgradeEngineRequest(
                x_enterprise_project_id=case.enterprise,
                engine_id=case.engine,
                body=sdk.EngineUpdateReq(version=case.version),
            )
        ),
    ),
    "retry": Call(
        lambda ours, case: ours.retry(case.engine, send_before=boottime() + 30),
        lambda client, case: client.retry_engine(
            sdk.RetryEngineRequest(
                x_enterprise_project_id=case.enterprise,
                engine_id=case.engine,
                body=sdk.EngineAdditionalActionReq(action="Retry"),
            )
        ),
    ),
}
EACH_CALL = pytest.mark.parametrize("name", CALLS)


@dataclass(frozen=True)
class Difference:
    """A header in which we intentionally differ from the SDK."""

    ours: str | None
    """A pattern of our whole value, or `None` if we send no such header."""
    theirs: str | None
    """The same for the SDK."""
    why: str
    calls: frozenset[str] = frozenset(CALLS)


ENTERPRISE = "x-enterprise-project-id"
SIGNATURE = "authorization"
"""Compared separately, because it differs when any signed header does."""
OF_THE_LIBRARIES = {
    "user-agent": Difference(
        ours=re.escape(USER_AGENT),
        theirs=r"(huaweicloud-usdk-python/3\.0; |python-requests/).*",
        why="Each says who it is.",
    ),
    "accept": Difference(
        ours="application/json",
        theirs=r"\*/\*",
        why="The documents demand ours. The SDK leaves it to its HTTP library.",
    ),
    "accept-encoding": Difference(
        ours="identity",
        theirs="gzip, deflate(, .+)?",
        why="A small compressed answer can become endless, so none is asked for.",
    ),
    "connection": Difference(
        ours=None,
        theirs="keep-alive",
        why="It says what HTTP/1.1 does anyway (RFC 9112, section 9.3).",
    ),
}
"""Neither side signs these, except that the SDK signs its `User-Agent`."""
DIFFERENCES = {
    **OF_THE_LIBRARIES,
    "content-type": Difference(
        ours=re.escape(DOCUMENTED_TYPE),
        theirs="application/json",
        why="The documents demand ours. JSON is UTF-8 either way (RFC 8259, section 8.1).",
    ),
    ENTERPRISE: Difference(
        ours=exchange_module._ID.pattern,
        theirs=None,
        why="The SDK's request has no field for it where engines are listed; all others have.",
        calls=frozenset({"list_engines"}),
    ),
}
UNSIGNED = {
    **DIFFERENCES,
    "x-auth-token": Difference(
        ours=".+", theirs=None, why="The SDK knows access keys only, and no tokens."
    ),
    "x-project-id": Difference(
        ours=None, theirs=".+", why="It goes with a signature. A token belongs to a project."
    ),
    "x-sdk-date": Difference(
        ours=None, theirs=".+", why="It is the time of a signature, and there is none."
    ),
}
"""The differences when a token proves our identity."""


def expected_of(differences: dict[str, Difference], name: str, case: Case) -> dict[str, Difference]:
    """Return the required differences; the enterprise project's only if there is one."""
    return {
        header: difference
        for header, difference in differences.items()
        if name in difference.calls and not (header == ENTERPRISE and case.enterprise is None)
    }


def assert_same(ours: Arrived, theirs: Arrived, expected: dict[str, Difference]) -> None:
    """Assert equal bytes, except for these headers, which must differ as declared."""
    assert ours.line == theirs.line
    assert ours.body == theirs.body
    our_headers, their_headers = ours.headers, theirs.headers
    for header in (our_headers.keys() | their_headers.keys() | expected.keys()) - {SIGNATURE}:
        our_value, their_value = our_headers.get(header), their_headers.get(header)
        if header in expected:
            assert is_like(our_value, expected[header].ours), (header, our_value)
            assert is_like(their_value, expected[header].theirs), (header, their_value)
        else:
            assert our_value == their_value, header


def is_like(value: bytes | None, pattern: str | None) -> bool:
    if value is None or pattern is None:
        return value is None and pattern is None
    return re.fullmatch(pattern, value.decode("ascii")) is not None


def signed_again(request: Arrived, case: Case) -> bytes:
    """Return what the SDK's signer makes of the received bytes, as the vendor's gateway would."""
    headers = {name: value.decode("ascii") for name, value in request.headers.items()}
    _, _, signed = headers[SIGNATURE].rpartition(", Signature=")[0].rpartition("SignedHeaders=")
    again = SdkRequest(
        method=request.method.decode(),
        schema="http",
        host=headers["host"],
        resource_path=request.path.decode(),
        query_params=parse_qsl(request.query.decode(), keep_blank_values=True),
        header_params={name: headers[name] for name in signed.split(";")},
        body=request.body,
    )
    BasicCredentials(case.access_key, case.secret_key).sign_request(again)
    authorization: str = again.header_params["Authorization"]
    return authorization.encode("ascii")


async def sent_by_both(
    recorder: Recorder, http: httpx.AsyncClient, vendors: sdk.CseClient, name: str, case: Case
) -> tuple[Arrived, Arrived]:
    """Return the bytes of one of our calls, and of the same call by the SDK."""
    recorder.holds([])
    await CALLS[name].ours(case.ours(http, recorder), case)
    await case.theirs(vendors, lambda client: CALLS[name].theirs(client, case))
    ours, theirs = recorder.take()
    return ours, theirs


def test_each_call_of_our_client_is_compared() -> None:
    ours = inspect.getmembers(CseClient, inspect.iscoroutinefunction)
    named = {name for name, _ in ours if not name.startswith("_")}
    # The first is not in the SDK; the second is what `list_engines` sends.
    assert named - CALLS.keys() == {"list_jobs", "list_engines_by_id"}
    assert CALLS.keys() <= named


@IN_ONE_LOOP
@EACH_CALL
@EXAMPLES
@given(case=CASES)
@example(case=USUAL)
@example(case=LONGEST)
async def test_a_request_is_the_sdks_in_all_but_the_differences_named(
    recorder: Recorder, http: httpx.AsyncClient, vendors: sdk.CseClient, name: str, case: Case
) -> None:
    ours, theirs = await sent_by_both(recorder, http, vendors, name, case)
    assert_same(ours, theirs, expected_of(DIFFERENCES, name, case))
    enterprise = None if case.enterprise is None else case.enterprise.encode()
    assert ours.headers.get(ENTERPRISE) == enterprise
    assert signed_again(ours, case) == ours.headers[SIGNATURE]


@IN_ONE_LOOP
@EACH_CALL
@EXAMPLES
@given(case=CASES)
@example(case=USUAL)
@example(case=LONGEST)
async def test_the_signature_is_the_sdks_where_it_signs_the_documented_headers(
    recorder: Recorder, http: httpx.AsyncClient, aligned: sdk.CseClient, name: str, case: Case
) -> None:
    aligned.preset_headers = {"Content-Type": DOCUMENTED_TYPE}
    if case.enterprise is not None:
        aligned.preset_headers["X-Enterprise-Project-ID"] = case.enterprise
    ours, theirs = await sent_by_both(recorder, http, aligned, name, case)
    assert_same(ours, theirs, OF_THE_LIBRARIES)
    assert ours.headers[SIGNATURE] == theirs.headers[SIGNATURE]


@IN_ONE_LOOP
@EXAMPLES
@given(
    case=CASES,
    engines=st.lists(IDS, min_size=1, max_size=40, unique=True),
    most=st.integers(1, 9),
    counts_pages=st.booleans(),
)
@example(case=USUAL, engines=[f"engine-{n}" for n in range(40)], most=7, counts_pages=False)
async def test_each_page_of_a_listing_is_asked_for_as_the_sdk_asks_for_it(
    recorder: Recorder,
    http: httpx.AsyncClient,
    vendors: sdk.CseClient,
    *,
    case: Case,
    engines: list[str],
    most: int,
    counts_pages: bool,
) -> None:
    recorder.holds(engines, most, counts_pages=counts_pages)
    listed = await case.ours(http, recorder).list_engines()
    assert {engine.engine_id for engine in listed} == set(engines)
    pages = recorder.take()
    assert len(pages) == 1 or len(engines) > most
    offsets = [int(dict(parse_qsl(page.query.decode()))["offset"]) for page in pages]

    def same_pages(client: sdk.CseClient) -> None:
        for offset in offsets:
            page = replace(case, offset=offset, limit=ENGINES.page)
            CALLS["list_engines"].theirs(client, page)

    await case.theirs(vendors, same_pages)
    for page, theirs in zip(pages, recorder.take(), strict=True):
        assert_same(page, theirs, expected_of(DIFFERENCES, "list_engines", case))


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
SEGMENTS = TEXTS.filter(
    lambda text: text not in {".", ".."}  # both HTTP libraries resolve these, as a browser does
)
BARE_IN_PATHS = re.compile(rb"[!$&'()*,:;=@]")
BARE_IN_QUERIES = re.compile(rb"[!$'()*,/:?@]")
"""These characters need no quoting at their place (RFC 3986, sections 3.3 and 3.4), so aiohttp's
URLs unquote them and the SDK's do not. The canonical request, which is signed, quotes all of them.
The ids and numbers of our client's calls contain none."""


def quoted_as_by_the_sdk(request: Arrived) -> Arrived:
    def quoted(match: re.Match[bytes]) -> bytes:
        return quote(match[0], safe="").encode("ascii")

    method, target, version = request.line.split(b" ")
    path, mark, query = target.partition(b"?")
    again = BARE_IN_PATHS.sub(quoted, path) + mark + BARE_IN_QUERIES.sub(quoted, query)
    return replace(request, line=b" ".join([method, again, version]))


@IN_ONE_LOOP
@EXAMPLES
@given(
    case=CASES,
    method=st.sampled_from(["GET", "PUT"]),
    segments=st.lists(SEGMENTS, max_size=5),
    query=st.dictionaries(TEXTS, TEXTS, max_size=5),
    text=TEXTS,
)
@example(
    case=USUAL,
    method="PUT",
    segments=["a b", "%2F", "~", "ü", "+!'()*;:@&=$,?#[]", "\x7f", "𝄞", "%"],
    query={"b": "~ +%", "ü": "ß&=;#", "!": "'()*,$@", "": "", "a/?": ":/?"},
    text='"\\/\x7f\u2028𝄞é\0',
)
async def test_whatever_the_path_query_and_text_the_sdk_signs_the_same(
    recorder: Recorder,
    http: httpx.AsyncClient,
    aligned: sdk.CseClient,
    *,
    case: Case,
    method: str,
    segments: list[str],
    query: dict[str, str],
    text: str,
) -> None:
    """More than our client's calls, because the HTTP libraries below quote on their own."""
    recorder.holds([])
    path = "/".join(["/v2", *(quote(segment, safe="") for segment in segments)])
    pairs = sorted(query.items())
    asked = "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in pairs)
    body = wire.upgrade_body(text) if method == "PUT" else None
    request = httpx.Request(
        method,
        f"{recorder.url}{path}{'?' if asked else ''}{asked}",
        headers={
            "Content-Type": DOCUMENTED_TYPE,
            "Accept": "application/json",
            "Accept-Encoding": "identity",
            "User-Agent": USER_AGENT,
        },
        content=body,
    )
    await http.send(request, auth=AccessKeyAuth(case.key, case.project, now=lambda: case.now))
    aligned.preset_headers = {"Content-Type": DOCUMENTED_TYPE}
    await case.theirs(
        aligned,
        lambda client: client.do_http_request(
            method,
            path,
            query_params=list(pairs),
            header_params={},
            body=sdk.EngineUpdateReq(version=text) if method == "PUT" else None,
            response_type="UpgradeEngineResponse",
        ),
    )
    ours, theirs = recorder.take()
    assert_same(quoted_as_by_the_sdk(ours), theirs, OF_THE_LIBRARIES)
    assert ours.headers[SIGNATURE] == theirs.headers[SIGNATURE]
    assert signed_again(ours, case) == ours.headers[SIGNATURE]


@IN_ONE_LOOP
@EACH_CALL
@EXAMPLES
@given(case=CASES, token=TOKENS)
@example(case=USUAL, token="MIIC+/=")
@example(case=LONGEST, token="~/+= " * 6553 + "end")
async def test_with_a_token_only_the_proof_of_who_calls_differs(
    recorder: Recorder,
    http: httpx.AsyncClient,
    vendors: sdk.CseClient,
    *,
    name: str,
    case: Case,
    token: str,
) -> None:
    recorder.holds([])
    case = replace(case, security_token=None)
    auth = StaticTokenAuth(StaticToken(token=SecretStr(token)))
    await CALLS[name].ours(case.ours(http, recorder, auth), case)
    await case.theirs(vendors, lambda client: CALLS[name].theirs(client, case))
    ours, theirs = recorder.take()
    assert_same(ours, theirs, expected_of(UNSIGNED, name, case))
    assert ours.headers["x-auth-token"] == token.encode("ascii")
    assert SIGNATURE not in ours.headers


PRINTABLE = st.text(
    st.characters(exclude_categories=["C", "Z"], include_characters=" "), min_size=1
)


@IN_ONE_LOOP
@EXAMPLES
@given(case=CASES, username=PRINTABLE, password=PRINTABLE, domain=PRINTABLE)
@example(case=USUAL, username="röbot", password='"\\/ 密码 𝄞', domain="acme")
async def test_a_token_is_asked_for_as_the_sdk_would_write_the_documented_body(
    recorder: Recorder,
    http: httpx.AsyncClient,
    vendors: sdk.CseClient,
    *,
    case: Case,
    username: str,
    password: str,
    domain: str,
) -> None:
    """IAM API Reference, Obtaining a User Token Through Password Authentication."""
    recorder.holds([])
    case = replace(case, security_token=None)
    credentials = PasswordToken(
        username=SecretStr(username), password=SecretStr(password), domain_name=SecretStr(domain)
    )
    auth = PasswordTokenAuth(credentials, case.project, recorder.url)
    await case.ours(http, recorder, auth).show_engine(case.engine)
    user = {"name": username, "password": password, "domain": {"name": domain}}
    identity = {"methods": ["password"], "password": {"user": user}}
    body = {"auth": {"identity": identity, "scope": {"project": {"id": case.project}}}}
    await case.theirs(
        vendors,
        lambda client: client.do_http_request(
            "POST",
            "/v3/auth/tokens",
            query_params=[("nocatalog", "true")],
            header_params={},
            body=body,
            response_type="UpgradeEngineResponse",
        ),
    )
    ours, with_token, theirs = recorder.take()
    names = UNSIGNED.keys() - {ENTERPRISE, "x-auth-token"}
    assert_same(ours, theirs, {name: UNSIGNED[name] for name in names})
    assert SIGNATURE not in ours.headers
    assert with_token.headers["x-auth-token"] == b"token"


OUTSIDE = st.characters().filter(lambda character: not re.match(r"[-+._0-9a-zA-Z]", character))
NOT_PLAIN = st.builds(lambda before, at, after: before + at + after, IDS, OUTSIDE, IDS)


@IN_ONE_LOOP
@EACH_CALL
@EXAMPLES
@given(text=NOT_PLAIN, job=st.integers(max_value=0))
@example(text="..", job=0)
@example(text="a/../b", job=0)
@example(text="a b", job=0)
@example(text="ü", job=-1)
@example(text="a\r\nX-Project-Id: b", job=0)
@example(text="a" * 65, job=0)
async def test_what_the_sdk_would_have_to_quote_is_not_sent_at_all(
    recorder: Recorder, http: httpx.AsyncClient, name: str, text: str, job: int
) -> None:
    recorder.holds([])
    everywhere = [{"project": text}, {"enterprise": text}]
    of_calls: dict[str, list[dict[str, Any]]] = {
        "list_engines": [],
        "show_engine": [{"engine": text}],
        "show_job": [{"engine": text}, {"job": job}],
        "upgrade": [{"engine": text}, {"version": text}],
        "retry": [{"engine": text}],
    }
    for changes in everywhere + of_calls[name]:
        case = replace(USUAL, **changes)
        with fails(FailureKind.REJECTED):
            await CALLS[name].ours(case.ours(http, recorder), case)
    assert recorder.take() == []

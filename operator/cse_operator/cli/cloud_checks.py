"""Checks of the vendor's side: the endpoint answers, the credentials work, the engine exists."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

import httpx
from kubernetes.aio.client import ApiClient
from pydantic import ValidationError

from cse_operator.api.credentials_reference import CredentialsReference
from cse_operator.api.reason_facts import FACTS
from cse_operator.api.reasons import Reason
from cse_operator.api.spec import Spec
from cse_operator.cli.report import Finding, note, ok, problem
from cse_operator.cloud.auth.credentials import (
    SECRET_KEYS,
    AccessKey,
    Credentials,
    PasswordToken,
    parse_secret,
)
from cse_operator.cloud.auth.identities import KeylessIdentity, ServiceAccountIdentity
from cse_operator.cloud.errors import CloudError
from cse_operator.cloud.redaction import redact
from cse_operator.cloud.sessions import ProjectSession, ProjectSessions, SessionOptions
from cse_operator.cloud.transport import build_http_client
from cse_operator.core.failure import FailureKind
from cse_operator.core.views import EngineView
from cse_operator.kube.errors import KubeError
from cse_operator.kube.resource_reader import ResourceReader
from cse_operator.kube.secrets import SecretReader
from cse_operator.runtime.identities import Identities

_SHOWN: Final = 20
_TLS_DETAIL: Final = re.compile(r" ssl:(<[^>]*>|\S+)")
_FACTS_OF: Final = {
    FailureKind.REJECTED: Reason.UPGRADE_REJECTED,
    FailureKind.UNAUTHENTICATED: Reason.CREDENTIALS_REFUSED,
    FailureKind.FORBIDDEN: Reason.PERMISSION_DENIED,
    FailureKind.NOT_FOUND: Reason.ENGINE_NOT_FOUND,
    FailureKind.REGION_NOT_ALLOWED: Reason.REGION_NOT_ALLOWED,
    FailureKind.CREDENTIALS_MISSING: Reason.CREDENTIALS_NOT_FOUND,
    FailureKind.CREDENTIALS_INVALID: Reason.CREDENTIALS_INVALID,
    FailureKind.THROTTLED: Reason.THROTTLED,
}


@dataclass(frozen=True, slots=True)
class Target:
    """The project, and perhaps the engine, on which credentials are tried."""

    region: str
    project_id: str
    secret: str | None
    """None: the credentials come from `reference`, which names no Secret."""
    reference: CredentialsReference | None = None
    enterprise_project_id: str | None = None
    engine_id: str | None = None
    """None: the project's engines are listed."""
    wanted: str = ""


async def check_endpoints(options: SessionOptions, regions: frozenset[str]) -> list[Finding]:
    """Check, without credentials, that the vendor's API answers in these regions."""
    if not regions and "{region}" not in options.endpoints.cse_template:
        regions = frozenset({"cn-north-4"})  # the endpoint is the same in every region
    if not regions:
        sentence = "not tried: no resource and no setting names a region"
        return [note("endpoint", sentence, "Name one: --allowed-regions=cn-north-4")]
    endpoints: dict[str, list[str]] = {}
    findings = []
    for region in sorted(regions)[:_SHOWN]:
        try:
            endpoints.setdefault(options.endpoints.cse(region), []).append(region)
        except CloudError as error:
            findings.append(_of_failure("endpoint", error))
    try:
        http = build_http_client(options.transport)
    except OSError as error:
        way_out = "--ca-bundle has to name a PEM file with CA certificates."
        return [*findings, problem("endpoint", f"the CA bundle cannot be read: {error}", way_out)]
    async with http:
        return [*findings, *[await _reach(http, endpoint) for endpoint in endpoints]]


async def _reach(http: httpx.AsyncClient, endpoint: str) -> Finding:
    try:
        answer = await http.get(endpoint)
    except (httpx.HTTPError, OSError) as error:
        said = _TLS_DETAIL.sub("", redact(str(error))) or type(error).__name__
        return problem(
            "endpoint",
            f"{endpoint} cannot be reached: {said}",
            "Check DNS, the NetworkPolicy, --https-proxy and --ca-bundle.",
        )
    return ok("endpoint", f"{endpoint} can be reached (HTTP {answer.status_code}, no credentials)")


async def find_target(
    api_client: ApiClient, namespace: str, name: str
) -> tuple[Finding, Target | None]:
    """Read a resource, and return the target that its spec names; None if it names none.

    Raises:
        KubeError: The API server does not answer.
    """
    subject = "resource"
    found = await ResourceReader(api_client).get((namespace, name))
    if found is None:
        way_out = (
            f"Is it in another namespace? kubectl get mse -A; then --namespace (now {namespace})"
        )
        return problem(subject, f"there is no {name} in {namespace}", way_out), None
    try:
        spec = Spec.model_validate(found["spec"])
    except ValidationError as error:
        fields = ", ".join(".".join(str(part) for part in e["loc"]) for e in error.errors())
        facts = FACTS[Reason.INVALID_SPEC]
        sentence = f"the spec of {namespace}/{name} is invalid: {fields}"
        return problem(subject, sentence, facts.way_out), None
    target = Target(
        region=spec.region,
        project_id=spec.project_id,
        secret=spec.credentials_ref.name if spec.credentials_ref is not None else None,
        reference=spec.credentials_ref,
        enterprise_project_id=spec.enterprise_project_id,
        engine_id=spec.engine_id,
        wanted=spec.version,
    )
    sentence = (
        f"{namespace}/{name}: the desired version of engine {spec.engine_id} is {spec.version}"
    )
    return ok(subject, sentence), target


async def check_credentials(
    api_client: ApiClient,
    options: SessionOptions,
    namespace: str,
    target: Target,
    identities: Identities,
) -> list[Finding]:
    """Get the credentials, and try them with a call to the vendor.

    No call follows a refusal of the credentials, so that checking never locks a key.
    """
    if target.secret is None:
        return await _walk_without_a_key(options, namespace, target, identities)
    subject = "Secret"
    try:
        secret = await SecretReader(api_client, keys=SECRET_KEYS).read(namespace, target.secret)
        credentials = parse_secret(secret.data)
    except KubeError as error:
        way_out = "Create it in the namespace of the resource; deploy/samples shows its keys."
        return [problem(subject, error.sentence, way_out)]
    except CloudError as error:
        return [_of_failure(subject, error)]
    found = ok(subject, f"{namespace}/{target.secret} holds {_kind_of(credentials)}")
    async with _project(options, target, credentials) as project:
        if isinstance(project, Finding):
            return [project]
        return [found, *await _try(project, target)]


async def _walk_without_a_key(
    options: SessionOptions, namespace: str, target: Target, identities: Identities
) -> list[Finding]:
    """Check each step from the ServiceAccount or the operator's Pod to the engine.

    The first step that fails is the last one.
    """
    subject = "identity"
    try:
        identity = await identities.of(namespace, target.reference, live=True)
    except CloudError as error:
        return [_of_failure(subject, error)]
    except KubeError as error:
        return [problem(subject, error.sentence, "Try again when the API server answers.")]
    is_account = isinstance(identity, ServiceAccountIdentity)
    proof = "the API server issues its token" if is_account else "it may be used here"
    findings = [ok(subject, f"{identity}: {proof}")]
    async with _project(options, target, identity) as project:
        if isinstance(project, Finding):
            return [*findings, project]
        try:
            await project.auth.prepare()
        except CloudError as error:
            return [*findings, _of_failure("temporary key", error)]
        findings.append(ok("temporary key", "the vendor issued one for this identity"))
        return [*findings, *await _try(project, target)]


@asynccontextmanager
async def _project(
    options: SessionOptions, target: Target, credentials: Credentials | KeylessIdentity
) -> AsyncIterator[ProjectSession | Finding]:
    """Yield the project to try the credentials on, or the problem that prevents it."""
    projects = ProjectSessions(options, _ignore)
    found: ProjectSession | Finding
    try:
        found = projects.attach(
            "check",
            region=target.region,
            project_id=target.project_id,
            enterprise_project_id=target.enterprise_project_id,
            credentials=credentials,
        )
    except CloudError as error:
        found = _of_failure("region", error)
    try:
        yield found
    finally:
        await projects.close()


async def _try(project: ProjectSession, target: Target) -> list[Finding]:
    if target.engine_id is None:
        return [await _list(project)]
    subject = "engine"
    try:
        engine = await project.client.show_engine(target.engine_id)
    except CloudError as error:
        return [_of_failure(subject, error)]
    found = ok(subject, f"the credentials are good: {_described(engine)}")
    return [found, await _list_jobs(project, target.engine_id)]


async def _list_jobs(project: ProjectSession, engine_id: str) -> Finding:
    """Check that the site has the list of jobs, which resolves a lost answer soonest."""
    subject = "list of jobs"
    try:
        jobs = await project.client.list_jobs(engine_id)
    except CloudError as error:
        return note(subject, f"it could not be read: {error.failure.sentence()}")
    if jobs is None:
        sentence = "the site does not have it: a lost answer is resolved by the engine's latest job"
        return note(subject, sentence)
    return ok(subject, f"the site has it, with {len(jobs)} jobs of the engine")


async def _list(project: ProjectSession) -> Finding:
    subject = "project"
    try:
        engines = await project.client.list_engines()
    except CloudError as error:
        return _of_failure(subject, error)
    listed = "; ".join(f"{_described(one)}, id {one.engine_id}" for one in engines[:_SHOWN])
    more = f"; and {len(engines) - _SHOWN} more" if len(engines) > _SHOWN else ""
    return ok(
        subject, f"the credentials are good, there are {len(engines)} engines: {listed}{more}"
    )


def _described(engine: EngineView) -> str:
    latest = f", latest {engine.latest_version}" if engine.latest_version else ""
    return f"{engine.name} ({engine.type}) is {engine.status} at {engine.version}{latest}"


def _kind_of(credentials: Credentials) -> str:
    if isinstance(credentials, AccessKey):
        return "a temporary access key" if credentials.security_token else "an access key"
    return "an IAM user's password" if isinstance(credentials, PasswordToken) else "a token"


def _of_failure(subject: str, error: CloudError) -> Finding:
    reason = _FACTS_OF.get(error.failure.kind, Reason.CLOUD_UNAVAILABLE)
    return problem(subject, error.failure.sentence(), FACTS[reason].way_out)


def _ignore(*_: object) -> None:
    """Ignore what the project reports: a check counts no calls."""

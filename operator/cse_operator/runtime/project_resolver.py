"""Find the project of a resource: its Secret or identity, its region, its endpoint."""

from __future__ import annotations

from weakref import WeakKeyDictionary

from cse_operator.api.status import Status
from cse_operator.cloud.auth.credentials import Credentials, parse_secret
from cse_operator.cloud.auth.identities import KeylessIdentity
from cse_operator.cloud.endpoints import EndpointPolicy
from cse_operator.cloud.sessions import ProjectSession, ProjectSessions, SessionOptions
from cse_operator.cloud.transport import TransportOptions
from cse_operator.core.failure import Failure, FailureKind
from cse_operator.core.states import State, state_of
from cse_operator.kube import errors
from cse_operator.kube.secrets import SecretContent, SecretReader
from cse_operator.runtime.cache import Resource
from cse_operator.runtime.identities import Identities, no_credentials
from cse_operator.runtime.settings import PROJECTS_AT_ONCE, Settings


class ProjectResolver:
    """Finds the project of a resource, with the credentials of the resource's own namespace."""

    def __init__(
        self, secrets: SecretReader, projects: ProjectSessions, identities: Identities
    ) -> None:
        self._secrets = secrets
        self._identities = identities
        self._projects = projects
        self._credentials: WeakKeyDictionary[SecretContent, Credentials] = WeakKeyDictionary()

    async def project_of(
        self, key: str, resource: Resource, *, live: bool = False, following: bool = False
    ) -> ProjectSession:
        """Return the project that a resource works with.

        The Secret is read in the resource's own namespace, whatever other namespaces hold.

        Args:
            key: the resource's key.
            resource: the resource.
            live: whether a call follows: read the Secret now instead of using an earlier read, or
                have a key of the identity that outlives the call.
            following: whether a running upgrade is followed, so that its region need not be
                allowed.

        Raises:
            CloudError: The Secret is missing or unusable, the identity has no key, or the region is
                not allowed.
            KubeError: The Kubernetes API does not answer.
        """
        spec, namespace = resource.spec, resource.reference.namespace
        credentials: Credentials | KeylessIdentity
        reference, version = spec.credentials_ref, ""
        if reference is None or reference.name is None:
            credentials = await self._identities.of(namespace, reference, live=live)
        else:
            secret = await self._secret(namespace, reference.name, live=live)
            credentials, version = self._credentials_in(secret), secret.resource_version
        project = self._projects.attach(
            key,
            region=spec.region,
            project_id=spec.project_id,
            enterprise_project_id=spec.enterprise_project_id,
            credentials=credentials,
            secret_version=version,
            following=following,
        )
        if live and isinstance(credentials, KeylessIdentity):
            await project.auth.prepare()
        return project

    async def _secret(self, namespace: str, name: str, *, live: bool) -> SecretContent:
        if live:
            self._secrets.forget(namespace, name)
        try:
            return await self._secrets.read(namespace, name)
        except (errors.SecretNotFound, errors.Denied) as error:
            raise no_credentials(FailureKind.CREDENTIALS_MISSING, error) from None
        except errors.SecretInvalid as error:
            raise no_credentials(FailureKind.CREDENTIALS_INVALID, error) from None

    def _credentials_in(self, secret: SecretContent) -> Credentials:
        known = self._credentials.get(secret)
        if known is None:
            known = self._credentials[secret] = parse_secret(secret.data)
        return known

    def release(self, key: str) -> None:
        """Release the project of a resource that is gone."""
        self._projects.detach(key)


def is_followed_despite(failure: Failure, status: Status) -> bool:
    """Whether the resource has an open upgrade, and only its region is refused: it is followed."""
    is_open = state_of(status) in {State.UNANSWERED, State.RUNNING}
    return is_open and failure.kind is FailureKind.REGION_NOT_ALLOWED


def project_options(settings: Settings) -> SessionOptions:
    """Return the options for calls to the vendor with these settings.

    Raises:
        EndpointSettingError: An endpoint is malformed or not allowed.
    """
    return SessionOptions(
        endpoints=EndpointPolicy(
            cse_template=settings.cse_endpoint,
            iam_template=settings.iam_endpoint,
            sts_template=settings.sts_endpoint,
            allowed_regions=settings.allowed_regions,
            allow_insecure=settings.allow_insecure_endpoint,
            sites=settings.sites,
        ),
        transport=TransportOptions(
            connections=settings.cloud_connections * PROJECTS_AT_ONCE,
            read_timeout=settings.request_timeout,
            connect_timeout=min(10.0, settings.request_timeout),
            proxy=settings.https_proxy,
            no_proxy=settings.no_proxy,
            ca_bundle=settings.ca_bundle,
            allow_local_addresses=settings.allow_insecure_endpoint,
        ),
        calls_per_second=settings.calls_per_second,
        credentials_cooldown=settings.credentials_cooldown,
        request_timeout=settings.request_timeout,
        call_takes=settings.call_takes,
    )

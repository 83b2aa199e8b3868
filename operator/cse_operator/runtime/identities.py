"""Keyless identities: the ServiceAccount that a resource names, or the operator's own Pod."""

from __future__ import annotations

import os
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Self

from kubernetes.aio.client import ApiClient
from pydantic import SecretStr

from cse_operator.api.credentials_reference import CredentialsReference, ServiceAccountReference
from cse_operator.cloud.auth.identities import (
    Agency,
    Federation,
    KeylessIdentity,
    PodIdentity,
    ProjectedIdentity,
    ServiceAccountIdentity,
)
from cse_operator.cloud.errors import CloudError
from cse_operator.core.failure import Failure, FailureKind
from cse_operator.kube import errors
from cse_operator.kube.tokens import service_account_token
from cse_operator.runtime.settings import Settings

POD_URL = "HC_CONTAINER_CREDENTIALS_FULL_URI"
POD_TOKEN_FILE = "HC_CONTAINER_AUTHORIZATION_TOKEN_FILE"  # noqa: S105 - the name of a variable
"""CCE sets these in a Pod whose ServiceAccount has an agency (pod identity)."""

OwnIdentity = PodIdentity | ProjectedIdentity
Tokens = Callable[[str, str], Coroutine[Any, Any, SecretStr]]


class Identities:
    """Finds the identity of a resource, in the resource's own namespace only."""

    def __init__(
        self, tokens: Tokens, pod: OwnIdentity | None, pod_namespaces: tuple[str, ...]
    ) -> None:
        """Make a finder.

        Args:
            tokens: Requests a token for the ServiceAccount of a namespace and name.
            pod: The identity of the operator's own Pod, if it has one.
            pod_namespaces: The namespaces whose resources may use the Pod's identity.
        """
        self._tokens = tokens
        self._pod = pod
        self._pod_namespaces = frozenset(pod_namespaces)

    @classmethod
    def of_settings(cls, settings: Settings, api_client: ApiClient) -> Self:
        """Return the identities that the operator's administrator allows."""

        async def tokens(namespace: str, name: str) -> SecretStr:
            return await service_account_token(api_client, namespace, name, settings.token_audience)

        return cls(tokens, _own_identity(settings), settings.pod_identity_namespaces)

    async def of(
        self, namespace: str, reference: CredentialsReference | None, *, live: bool
    ) -> KeylessIdentity:
        """Return the identity of a resource whose reference names no Secret.

        Args:
            namespace: The resource's namespace.
            reference: The resource's `credentialsRef`; None if it has none.
            live: Whether a call follows: ask now whether the ServiceAccount exists and its tokens
                may be requested, because a temporary key outlives both for a while.

        Raises:
            CloudError: There is no such identity, or the resource may not use it.
            KubeError: The Kubernetes API does not answer.
        """
        account = reference.service_account if reference is not None else None
        if account is None:
            return self._own(namespace)
        if live:
            await self._asked(namespace, account.name)
        return ServiceAccountIdentity(namespace, account.name, _way_of(account), self._token)

    def _own(self, namespace: str) -> OwnIdentity:
        if namespace not in self._pod_namespaces:
            raise _missing(
                "spec.credentialsRef is missing, and the operator's administrator does not lend "
                f"the operator's own identity to the namespace {namespace}: name a Secret or a "
                "ServiceAccount, or have the namespace added to --pod-identity-namespaces"
            )
        if self._pod is None:
            raise _missing(
                f"The operator's Pod has no identity of its own ({POD_URL} and {POD_TOKEN_FILE} "
                "are not set): associate its ServiceAccount with an agency in CCE and restart "
                "the Pod, or set --pod-identity-provider"
            )
        return self._pod

    async def _token(self, namespace: str, name: str) -> SecretStr:
        try:
            return await self._asked(namespace, name)
        except errors.KubeError as error:
            raise no_credentials(FailureKind.TRANSIENT, error) from None

    async def _asked(self, namespace: str, name: str) -> SecretStr:
        try:
            return await self._tokens(namespace, name)
        except errors.ServiceAccountNotFound as error:
            raise no_credentials(FailureKind.CREDENTIALS_MISSING, error) from None
        except errors.Denied as error:
            way_out = "grant it: the component keyless, or the chart's keyless.enabled"
            raise _missing(
                f"The operator may not request tokens of the ServiceAccount {name} in the "
                f"namespace {namespace} ({error.sentence}); {way_out}"
            ) from None
        except errors.Invalid as error:
            raise no_credentials(FailureKind.CREDENTIALS_INVALID, error) from None


def _own_identity(settings: Settings) -> OwnIdentity | None:
    if settings.pod_token_file is not None:
        return ProjectedIdentity(
            Federation(settings.pod_identity_provider), settings.pod_token_file
        )
    url, token_file = os.environ.get(POD_URL), os.environ.get(POD_TOKEN_FILE)
    return PodIdentity(url, Path(token_file)) if url and token_file else None


def _way_of(account: ServiceAccountReference) -> Federation | Agency:
    agency = account.trust_agency
    if agency is not None:
        return Agency(agency.provider_urn, agency.agency_urn)
    if account.identity_provider is None:
        raise AssertionError(f"{account.name}: neither an identity provider nor an agency")
    return Federation(account.identity_provider)


def no_credentials(kind: FailureKind, error: errors.KubeError) -> CloudError:
    """Return the error for a resource without usable credentials."""
    return CloudError(Failure(kind, error.sentence, retry_after=error.retry_after))


def _missing(message: str) -> CloudError:
    return CloudError(Failure(FailureKind.CREDENTIALS_MISSING, message))

"""Requests short-lived tokens of ServiceAccounts (TokenRequest) for the vendor's IAM and STS.

A token has one audience, which is never the API server's own, so a leaked token cannot call the
cluster. This module stores no token.
"""

from __future__ import annotations

import base64
import json
from typing import Any, Final

from kubernetes.aio.client import ApiClient
from pydantic import SecretStr

from cse_operator.kube import errors
from cse_operator.kube.api_call import is_name
from cse_operator.kube.questions import ask

TOKEN_SECONDS: Final = 600
"""The shortest life that the API server grants (TokenRequest, expirationSeconds). A trade needs
only a few seconds of it."""


async def service_account_token(
    api_client: ApiClient, namespace: str, name: str, audience: str
) -> SecretStr:
    """Request a token of a ServiceAccount.

    Args:
        api_client: The connection to the cluster.
        namespace: The namespace of the resource, and so of the ServiceAccount.
        name: The ServiceAccount.
        audience: The audience of the token.

    Raises:
        ServiceAccountNotFound: The ServiceAccount does not exist.
        Denied: The operator may not `create` its tokens.
        Invalid: The audience is the API server's own, or the token has another audience.
        Unavailable: The API server does not answer now, or its answer holds no token.
    """
    if not (is_name(namespace) and is_name(name)):
        raise errors.Invalid(f"{namespace}/{name} is not a name that a ServiceAccount can have")
    request = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": {"audiences": [audience], "expirationSeconds": TOKEN_SECONDS},
    }
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token"
    try:
        answer = await ask(api_client, "POST", path, request)
    except errors.Gone:
        sentence = f"There is no ServiceAccount {name} in the namespace {namespace}"
        raise errors.ServiceAccountNotFound(sentence, status=404) from None
    token = answer.get("status", {}).get("token")
    if not isinstance(token, str) or not token:
        raise errors.Unavailable(f"POST {path}: the answer holds no token")
    _check_audience(token, audience)
    return SecretStr(token)


def _check_audience(token: str, audience: str) -> None:
    """Refuse a token that the API server itself would accept.

    Raises:
        Invalid: The token has another audience, or the audience is the cluster's issuer, which an
            API server accepts by default.
    """
    claims = _claims(token)
    if claims.get("aud") not in ([audience], audience):
        raise errors.Invalid(f"The API server gave a token for another audience than {audience}")
    if claims.get("iss") == audience:
        raise errors.Invalid(
            f"--token-audience {audience} is the API server's own: name the client id of the "
            "identity provider in IAM"
        )


def _claims(token: str) -> dict[str, Any]:
    """Return a token's claims, unverified."""
    payload = token.split(".")[1] if token.count(".") == 2 else ""  # noqa: PLR2004 - a JWT's parts
    try:
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except ValueError:
        return {}
    return claims if isinstance(claims, dict) else {}

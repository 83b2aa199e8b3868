"""Authenticates and authorizes callers with Kubernetes: TokenReview and SubjectAccessReview."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kubernetes.aio.client import ApiClient
from pydantic import SecretStr

from cse_operator.kube.questions import ask

User = Mapping[str, Any]
"""The user in a TokenReview: username, uid, groups, extra."""


async def user_of(api_client: ApiClient, token: SecretStr) -> User | None:
    """Return the user of a token; None if the token is not valid.

    Raises:
        KubeError: The TokenReview failed.
    """
    review = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenReview",
        "spec": {"token": token.get_secret_value()},
    }
    answer = await ask(api_client, "POST", "/apis/authentication.k8s.io/v1/tokenreviews", review)
    status = answer.get("status", {})
    user: User = status.get("user", {})
    return user if status.get("authenticated") is True and user.get("username") else None


async def may_get(api_client: ApiClient, user: User, path: str) -> bool:
    """Whether a user may `get` a non-resource path, such as `/metrics`.

    Raises:
        KubeError: The SubjectAccessReview failed.
    """
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {
            "user": user["username"],
            **{name: user[name] for name in ("uid", "groups", "extra") if user.get(name)},
            "nonResourceAttributes": {"path": path, "verb": "get"},
        },
    }
    where = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
    answer = await ask(api_client, "POST", where, review)
    return answer.get("status", {}).get("allowed") is True

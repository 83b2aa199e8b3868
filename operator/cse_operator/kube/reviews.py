"""Asks Kubernetes who a caller is and what they may: TokenReview and SubjectAccessReview."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kubernetes.aio.client import ApiClient
from pydantic import SecretStr

from cse_operator.kube.questions import ask

User = Mapping[str, Any]
"""What a TokenReview says of somebody: username, uid, groups, extra."""


async def user_of(api_client: ApiClient, token: SecretStr) -> User | None:
    """Whose token this is; None where it is nobody's.

    Raises:
        KubeError: the API server does not say.
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
    """Whether somebody may `get` a path that is no resource, such as `/metrics`.

    Raises:
        KubeError: the API server does not say.
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

"""The authentication for each kind of credentials."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cse_operator.cloud.auth.credentials import AccessKey, StaticToken
from cse_operator.cloud.auth.flows import AccessKeyAuth, CloudAuth, StaticTokenAuth
from cse_operator.cloud.auth.password import PasswordTokenAuth

if TYPE_CHECKING:
    from cse_operator.cloud.auth.breaker import CredentialBreaker
    from cse_operator.cloud.auth.credentials import Credentials


def auth_for(
    credentials: Credentials,
    breaker: CredentialBreaker | None = None,
    *,
    project_id: str,
    iam_endpoint: str,
) -> CloudAuth:
    """Return the authentication for credentials.

    Args:
        credentials: From `parse_secret`.
        breaker: Shared by all calls in which the vendor can refuse the same Secret.
        project_id: The project of the calls.
        iam_endpoint: The origin of the region's IAM, where a password obtains tokens.
    """
    if isinstance(credentials, StaticToken):
        return StaticTokenAuth(credentials, breaker)
    if isinstance(credentials, AccessKey):
        return AccessKeyAuth(credentials, project_id, breaker)
    return PasswordTokenAuth(credentials, project_id, iam_endpoint, breaker)

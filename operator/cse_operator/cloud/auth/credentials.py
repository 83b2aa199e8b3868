"""The three kinds of credentials a Secret may hold, distinguished by its keys.

| kind | keys |
|---|---|
| access key (recommended) | `accessKey`, `secretKey`, optionally `securityToken` |
| IAM password | `username`, `password`, `domainName` |
| ready-made token | `token` |

Every value is a `SecretStr` from here on, including the ids. Other keys of the Secret are ignored,
so that other programs may use the Secret too.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

from pydantic import BaseModel, ConfigDict, SecretStr

from cse_operator.cloud.errors import CloudError
from cse_operator.core.failure import Failure, FailureKind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

_PROCESS_KEY = secrets.token_bytes(32)
_MAX_LENGTH = 32 * 1024


class Identity(SecretStr):
    """The name of a user or domain: redacted from error texts, but not from engine names.

    An engine's name, which is shown, may contain it: a company's name, for instance.
    """


class _Kind(BaseModel):
    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    _whose: ClassVar[tuple[str, ...]] = ()
    """The fields that identify the access key, user or token."""

    @cached_property
    def fingerprint(self) -> str:
        """Return a name for exactly these values; it is valid only within this process.

        Connections, tokens and limits are shared by this name, and it distinguishes a rotated
        Secret from an unchanged one, without keeping or showing the values.
        """
        return self._digest(type(self).model_fields)

    @cached_property
    def identity(self) -> str:
        """Return a name for the access key or user that the vendor locks after refusals.

        It does not depend on the secret and is valid only within this process. Upper and lower case
        count as equal: the vendor does not document whether IAM distinguishes them.
        """
        return self._digest(self._whose, str.casefold)

    def _digest(self, names: Iterable[str], spelling: Callable[[str], str] = str) -> str:
        digest = hmac.new(_PROCESS_KEY, type(self).__name__.encode(), hashlib.sha256)
        for name in names:
            value: SecretStr | None = getattr(self, name)
            data = b"" if value is None else spelling(value.get_secret_value()).encode()
            digest.update(f"\0{name}\0{len(data)}\0".encode() + data)
        return digest.hexdigest()[:32]

    def secrets(self) -> tuple[SecretStr, ...]:
        """Return the values that no message may contain."""
        values = (getattr(self, name) for name in type(self).model_fields)
        return tuple(value for value in values if value is not None)


class AccessKey(_Kind):
    """A permanent access key, or a temporary one with its security token."""

    _whose = ("access_key",)
    access_key: SecretStr
    secret_key: SecretStr
    security_token: SecretStr | None = None


class PasswordToken(_Kind):
    """An IAM user whose password obtains tokens that are valid for a day."""

    _whose = ("username", "domain_name")
    username: SecretStr
    password: SecretStr
    domain_name: SecretStr


class StaticToken(_Kind):
    """A token that is valid for a day; another program renews it in the Secret."""

    _whose = ("token",)
    token: SecretStr


Credentials = AccessKey | PasswordToken | StaticToken

_REQUIRED: dict[type[AccessKey | PasswordToken | StaticToken], dict[str, str]] = {
    AccessKey: {"accessKey": "access_key", "secretKey": "secret_key"},
    PasswordToken: {"username": "username", "password": "password", "domainName": "domain_name"},
    StaticToken: {"token": "token"},
}
_OPTIONAL: dict[type[AccessKey | PasswordToken | StaticToken], dict[str, str]] = {
    AccessKey: {"securityToken": "security_token"},
}
SECRET_KEYS = frozenset(
    key for kinds in (_REQUIRED, _OPTIONAL) for names in kinds.values() for key in names
)
"""All keys of a Secret that the operator reads; it ignores other keys."""

_CHOICE = "either accessKey and secretKey, or username, password and domainName, or token"


def parse_secret(data: Mapping[str, SecretStr]) -> Credentials:
    """Return the credentials in a Secret.

    Surrounding white space is dropped (`echo` adds an invisible line break); a password keeps its
    blanks.

    Raises:
        CloudError: Keys are missing, mixed, empty or unusable. The message names keys only.
    """
    kinds = [kind for kind in _REQUIRED if any(key in data for key in _keys(kind))]
    if not kinds:
        raise _invalid(f"The Secret holds none of the expected keys: {_CHOICE} is needed")
    if len(kinds) > 1:
        present = sorted(key for kind in kinds for key in _keys(kind) if key in data)
        raise _invalid(
            f"The Secret mixes several kinds of credentials ({', '.join(present)}):"
            f" {_CHOICE} is needed"
        )
    kind = kinds[0]
    missing = [key for key in _REQUIRED[kind] if key not in data]
    if missing:
        present = sorted(key for key in _keys(kind) if key in data)
        raise _invalid(f"The Secret has {', '.join(present)} but lacks {', '.join(missing)}")
    return kind(
        **{field: _usable(key, data[key]) for key, field in _keys(kind).items() if key in data}
    )


def _keys(kind: type[AccessKey | PasswordToken | StaticToken]) -> dict[str, str]:
    return _REQUIRED[kind] | _OPTIONAL.get(kind, {})


def _usable(key: str, value: SecretStr) -> SecretStr:
    text = value.get_secret_value()
    text = text.strip("\r\n") if key == "password" else text.strip()
    if not text:
        raise _invalid(f"The Secret's key {key} is empty")
    if len(text) > _MAX_LENGTH:
        raise _invalid(f"The Secret's key {key} is longer than {_MAX_LENGTH} characters")
    # A value that becomes part of a header must not contain a line break.
    in_json = key in {"username", "password", "domainName"}
    if not text.isprintable() or not (in_json or text.isascii()):
        raise _invalid(f"The Secret's key {key} contains characters that are not allowed")
    return Identity(text) if key in {"username", "domainName"} else SecretStr(text)


def _invalid(message: str) -> CloudError:
    return CloudError(Failure(FailureKind.CREDENTIALS_INVALID, message))

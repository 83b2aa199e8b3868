"""The three kinds of credentials a Secret may hold, told apart by its keys.

| kind | keys |
|---|---|
| access key (recommended) | `accessKey`, `secretKey`, optionally `securityToken` |
| IAM password | `username`, `password`, `domainName` |
| ready-made token | `token` |

Every value is a `SecretStr` from here on, the ids included. Other keys of the Secret are left
alone, so that it may serve other programs as well.
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
    """Who a user is: not shown where an error repeats it, and yet no secret.

    It may well be a part of an engine's name, which is shown: that of a company, for instance.
    """


class _Kind(BaseModel):
    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    _whose: ClassVar[tuple[str, ...]] = ()
    """The fields that say whose credentials they are."""

    @cached_property
    def fingerprint(self) -> str:
        """A name for exactly these values, the same throughout this process and nowhere else.

        It lets connections, tokens and limits be shared per credential, and tells a rotated
        Secret from an unchanged one, without anybody keeping or showing the values.
        """
        return self._digest(type(self).model_fields)

    @cached_property
    def identity(self) -> str:
        """A name for whom the vendor locks after refusals, whatever the secret; likewise.

        Upper and lower case count as the same: it is not documented whether IAM tells them apart.
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
        """The values that no message may contain."""
        values = (getattr(self, name) for name in type(self).model_fields)
        return tuple(value for value in values if value is not None)


class AccessKey(_Kind):
    """A permanent access key, or a temporary one with its security token."""

    _whose = ("access_key",)
    access_key: SecretStr
    secret_key: SecretStr
    security_token: SecretStr | None = None


class PasswordToken(_Kind):
    """An IAM user whose password buys tokens that are valid for a day."""

    _whose = ("username", "domain_name")
    username: SecretStr
    password: SecretStr
    domain_name: SecretStr


class StaticToken(_Kind):
    """A token that somebody else renews (it is valid for a day)."""

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
"""All keys of a Secret that mean something here; what else it holds is left alone."""

_CHOICE = "either accessKey and secretKey, or username, password and domainName, or token"


def parse_secret(data: Mapping[str, SecretStr]) -> Credentials:
    """Tell which credentials a Secret holds.

    Surrounding white space is dropped (`echo` adds a line break that nobody sees); a password
    keeps its blanks.

    Raises:
        CloudError: Keys are missing, mixed, empty or unusable. The message names
            keys only.
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
    # What becomes part of a header must not be able to end it.
    in_json = key in {"username", "password", "domainName"}
    if not text.isprintable() or not (in_json or text.isascii()):
        raise _invalid(f"The Secret's key {key} holds characters that no such value has")
    return Identity(text) if key in {"username", "domainName"} else SecretStr(text)


def _invalid(message: str) -> CloudError:
    return CloudError(Failure(FailureKind.CREDENTIALS_INVALID, message))

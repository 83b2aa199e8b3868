"""Parsing credentials from a Secret by its keys."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys

import pytest
from pydantic import SecretStr, ValidationError

from cse_operator.cloud.auth.credentials import AccessKey, PasswordToken, StaticToken, parse_secret
from cse_operator.core.failure import FailureKind
from support.cloud_calls import fails

CANARY = "canary-9c2f"
ACCESS = {"accessKey": f"{CANARY}-ak", "secretKey": f"{CANARY}-sk"}
PASSWORD = {"username": f"{CANARY}-u", "password": f"{CANARY} p", "domainName": f"{CANARY}-d"}
TOKEN = {"token": f"{CANARY}-t"}


def secret(data: dict[str, str]) -> dict[str, SecretStr]:
    return {key: SecretStr(value) for key, value in data.items()}


def test_an_access_key_is_told_by_its_keys() -> None:
    credentials = parse_secret(secret(ACCESS))
    assert isinstance(credentials, AccessKey)
    assert credentials.security_token is None
    assert credentials.secret_key.get_secret_value() == f"{CANARY}-sk"


def test_a_temporary_access_key_has_a_security_token() -> None:
    credentials = parse_secret(secret({**ACCESS, "securityToken": "s"}))
    assert isinstance(credentials, AccessKey)
    assert credentials.security_token is not None


def test_a_user_with_a_password_is_told_by_its_keys() -> None:
    credentials = parse_secret(secret(PASSWORD))
    assert isinstance(credentials, PasswordToken)
    assert credentials.password.get_secret_value() == f"{CANARY} p"


def test_a_ready_made_token_is_told_by_its_key() -> None:
    assert isinstance(parse_secret(secret(TOKEN)), StaticToken)


def test_other_keys_of_the_secret_are_left_alone() -> None:
    assert isinstance(parse_secret(secret({**TOKEN, "region": "cn-north-4"})), StaticToken)


def test_a_line_break_that_echo_left_behind_is_dropped() -> None:
    credentials = parse_secret(secret({"token": " abc\n"}))
    assert isinstance(credentials, StaticToken)
    assert credentials.token.get_secret_value() == "abc"


def test_a_password_keeps_its_blanks_and_loses_its_line_break() -> None:
    credentials = parse_secret(secret({**PASSWORD, "password": " pass word \r\n"}))
    assert isinstance(credentials, PasswordToken)
    assert credentials.password.get_secret_value() == " pass word "


@pytest.mark.parametrize(
    ("data", "named"),
    [
        ({}, ["accessKey", "username", "token"]),
        ({"region": "x"}, ["accessKey", "username", "token"]),
        ({"accessKey": CANARY}, ["accessKey", "secretKey"]),
        ({"secretKey": CANARY}, ["accessKey", "secretKey"]),
        ({"securityToken": CANARY}, ["accessKey", "secretKey", "securityToken"]),
        ({"username": CANARY, "password": CANARY}, ["domainName"]),
        ({"domainName": CANARY}, ["username", "password"]),
        ({**ACCESS, **TOKEN}, ["accessKey", "secretKey", "token"]),
        ({**ACCESS, "password": CANARY}, ["accessKey", "password"]),
        ({**PASSWORD, **TOKEN}, ["username", "token"]),
        ({"token": ""}, ["token"]),
        ({"token": " \n"}, ["token"]),
        ({**ACCESS, "secretKey": ""}, ["secretKey"]),
        ({"token": f"{CANARY}\r\nX-Evil: 1"}, ["token"]),
        ({"token": f"{CANARY}é"}, ["token"]),
        ({**PASSWORD, "username": f"{CANARY}\x00"}, ["username"]),
        ({"token": CANARY * 10_000}, ["token"]),
    ],
)
def test_a_secret_that_mixes_or_misses_keys_is_refused_by_their_names_only(
    data: dict[str, str], named: list[str]
) -> None:
    with fails(FailureKind.CREDENTIALS_INVALID) as caught:
        parse_secret(secret(data))
    assert caught.failure.kind is FailureKind.CREDENTIALS_INVALID
    for name in named:
        assert name in caught.failure.message
    assert CANARY not in repr(caught.error)


def test_a_password_may_have_any_letters() -> None:
    credentials = parse_secret(secret({**PASSWORD, "password": "пароль-密码"}))
    assert isinstance(credentials, PasswordToken)


@pytest.mark.parametrize("data", [ACCESS, PASSWORD, TOKEN])
def test_no_value_shows_in_any_text_of_the_credentials(
    data: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    credentials = parse_secret(secret(data))
    caplog.set_level(logging.DEBUG)
    logging.getLogger(__name__).info("%s %r", credentials, credentials)
    texts = [repr(credentials), str(credentials), f"{credentials}", credentials.fingerprint]
    texts += [json.dumps(credentials.model_dump(mode="json")), caplog.text, str(vars(credentials))]
    assert all(CANARY not in text for text in texts)


def test_a_credential_cannot_be_changed() -> None:
    credentials = parse_secret(secret(TOKEN))
    with pytest.raises(ValidationError) as info:
        credentials.token = SecretStr("other")  # type: ignore[union-attr, misc]
    assert CANARY not in str(info.value)


def test_the_fingerprint_tells_values_apart_and_is_stable() -> None:
    assert parse_secret(secret(TOKEN)).fingerprint == parse_secret(secret(TOKEN)).fingerprint
    others = [
        parse_secret(secret(data)).fingerprint
        for data in (
            TOKEN,
            {"token": "other"},
            ACCESS,
            {**ACCESS, "securityToken": "s"},
            {"accessKey": ACCESS["accessKey"] + "c", "secretKey": ACCESS["secretKey"][1:]},
            PASSWORD,
        )
    ]
    assert len(set(others)) == len(others)


@pytest.mark.parametrize(
    ("data", "another_secret", "another_identity"),
    [
        (ACCESS, {"secretKey": "other"}, {"accessKey": "other"}),
        (ACCESS, {"securityToken": "other"}, {"accessKey": "other"}),
        (PASSWORD, {"password": "other"}, {"username": "other"}),
        (PASSWORD, {"username": PASSWORD["username"].upper()}, {"domainName": "other"}),
    ],
)
def test_the_identity_is_whom_the_vendor_locks_whatever_the_secret(
    data: dict[str, str], another_secret: dict[str, str], another_identity: dict[str, str]
) -> None:
    identity = parse_secret(secret(data)).identity
    assert parse_secret(secret({**data, **another_secret})).identity == identity
    assert parse_secret(secret({**data, **another_identity})).identity != identity
    assert not any(value in identity for value in data.values())


def test_the_fingerprint_says_nothing_outside_this_process() -> None:
    program = (
        "from pydantic import SecretStr;"
        "from cse_operator.cloud.auth.credentials import StaticToken;"
        f"print(StaticToken(token=SecretStr({TOKEN['token']!r})).fingerprint)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    elsewhere = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True, env=environment
    ).stdout.strip()
    assert elsewhere != parse_secret(secret(TOKEN)).fingerprint


def test_the_values_are_at_hand_for_those_who_redact() -> None:
    values = parse_secret(secret({**ACCESS, "securityToken": "s"})).secrets()
    assert {value.get_secret_value() for value in values} == {*ACCESS.values(), "s"}

"""Tokens of ServiceAccounts: for one audience only, and never for the API server itself."""

from __future__ import annotations

import base64
import json
import traceback
from pathlib import Path
from typing import Any

import pytest

from cse_operator.kube import errors
from cse_operator.kube.tokens import service_account_token
from support.api_server_stub import Answer, api_server_stub, hang_up, refusal, reply

ISSUER = "https://kubernetes.default.svc"


def jwt(**claims: Any) -> str:
    payload = base64.urlsafe_b64encode(json.dumps({"iss": ISSUER, **claims}).encode())
    return f"canary.{payload.rstrip(b'=').decode()}.signature"


def granted(token: object) -> Answer:
    return reply(201, {"kind": "TokenRequest", "status": {"token": token}})


async def test_a_short_token_is_asked_for_in_the_given_namespace_and_for_one_audience(
    tmp_path: Path,
) -> None:
    token = jwt(aud=["huaweicloud"])
    async with api_server_stub(tmp_path) as (server, client):
        server.answers = [granted(token)]
        found = await service_account_token(client, "payments", "upgrades", "huaweicloud")
    (asked,) = server.asked
    assert found.get_secret_value() == token
    assert asked.path == "/api/v1/namespaces/payments/serviceaccounts/upgrades/token"
    assert asked.body["spec"] == {"audiences": ["huaweicloud"], "expirationSeconds": 600}


@pytest.mark.parametrize(
    ("answer", "audience", "kind", "words"),
    [
        (granted(jwt(aud=[ISSUER])), ISSUER, errors.Invalid, "is the API server's own"),
        (granted(jwt(aud=["a", ISSUER])), "a", errors.Invalid, "for another audience"),
        (granted("not-a-jwt"), "a", errors.Invalid, "for another audience"),
        (granted("a.%%%.b"), "a", errors.Invalid, "for another audience"),
        (granted(None), "a", errors.Unavailable, "holds no token"),
        (
            refusal(404, "NotFound"),
            "a",
            errors.ServiceAccountNotFound,
            "no ServiceAccount upgrades in the namespace payments",
        ),
        (refusal(403, "Forbidden", "may not"), "a", errors.Denied, "may not"),
        (hang_up, "a", errors.Unavailable, "cannot be reached"),
    ],
)
async def test_what_is_no_token_for_the_audience_is_an_error_without_the_token(
    tmp_path: Path, answer: Answer, audience: str, kind: type[errors.KubeError], words: str
) -> None:
    async with api_server_stub(tmp_path) as (server, client):
        server.otherwise = answer
        with pytest.raises(kind, match=words) as caught:
            await service_account_token(client, "payments", "upgrades", audience)
    assert "canary" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("name", ["../secrets/x", "a/b", "", "A", "a%2fb"])
async def test_a_name_that_is_none_never_becomes_a_path(tmp_path: Path, name: str) -> None:
    async with api_server_stub(tmp_path) as (server, client):
        with pytest.raises(errors.Invalid):
            await service_account_token(client, "payments", name, "a")
    assert server.asked == []

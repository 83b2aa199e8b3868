"""Tokens, users and access keys, and the gateway's answers to wrong ones."""

from __future__ import annotations

import hashlib
import hmac
from datetime import UTC, datetime

import pytest

KEY, SECRET = "AKEXAMPLE", "sk-example"


def password(name="bot", secret="right", domain="acme", project="p-1"):
    user = {"name": name, "password": secret, "domain": {"name": domain}}
    identity = {"methods": ["password"], "password": {"user": user}}
    return {"auth": {"identity": identity, "scope": {"project": {"id": project}}}}


def issue(v, **who):
    return v.call("POST", "/v3/auth/tokens?nocatalog=true", password(**who), headers={})


def listing(v, token, project="p-1"):
    return v.call("GET", f"/v2/{project}/enginemgr/engines", headers={"X-Auth-Token": token})


def signed(v, *, secret=SECRET, key=KEY, at=None, security_token=None):
    """Sign a list request by hand, by the published scheme."""
    date = datetime.fromtimestamp(v.clock.now() if at is None else at, UTC)
    headers = {"Host": "cse.example", "X-Sdk-Date": date.strftime("%Y%m%dT%H%M%SZ")}
    if security_token:
        headers["X-Security-Token"] = security_token
    names = sorted(name.lower() for name in headers)
    lines = "".join(
        f"{n}:{value}\n" for n, value in sorted((n.lower(), headers[n]) for n in headers)
    )
    canonical = "\n".join(
        [
            "GET",
            "/v2/p-1/enginemgr/engines/",
            "limit=5&offset=1",
            lines,
            ";".join(names),
            hashlib.sha256(b"").hexdigest(),
        ]
    )
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    to_sign = f"SDK-HMAC-SHA256\n{headers['X-Sdk-Date']}\n{digest}"
    signature = hmac.new(secret.encode(), to_sign.encode(), hashlib.sha256).hexdigest()
    headers["Authorization"] = (
        f"SDK-HMAC-SHA256 Access={key}, SignedHeaders={';'.join(names)}, Signature={signature}"
    )
    return v.call("GET", "/v2/p-1/enginemgr/engines?offset=1&limit=5", headers=headers)


def test_without_configured_credentials_any_token_is_taken_but_one_is_needed(vendor):
    v = vendor()
    assert listing(v, "anything").status == 200
    for headers in ({}, {"X-Auth-Token": ""}):
        answer = v.call("GET", v.engines, headers=headers)
        assert answer.status == 401
        assert answer.json == {
            "error_msg": "Incorrect IAM authentication information: x-auth-token not found",
            "error_code": "APIGW.0301",
            "request_id": "request-1",
        }


def test_only_configured_tokens_are_taken_in_their_own_project(vendor):
    v = vendor(tokens={"t-any": "", "t-p1": "p-1"})
    assert listing(v, "t-any", "p-2").status == 200
    assert listing(v, "t-p1", "p-1").status == 200
    refused = listing(v, "t-p1", "p-2")
    assert (refused.status, refused.json["error_code"]) == (403, "APIGW.0302")
    wrong = listing(v, "t-wrong")
    assert wrong.json["error_msg"].endswith("decrypt token fail")


def test_a_password_buys_a_token_that_expires(vendor):
    users = [{"name": "bot", "password": "right", "domain": "acme"}]
    v = vendor(users=users, token_lifetime_seconds=60)
    obtained = issue(v)
    assert obtained.status == 201
    assert obtained.json["token"]["expires_at"] == "2027-01-15T08:01:00.000000Z"
    token = obtained.headers["X-Subject-Token"]
    assert listing(v, token).status == 200
    assert listing(v, token, "p-2").status == 403
    v.clock.advance(60)
    expired = listing(v, token)
    assert (expired.status, expired.json["error_code"]) == (401, "APIGW.0301")
    assert "token expires" in expired.json["error_msg"]
    assert listing(v, issue(v).headers["X-Subject-Token"]).status == 200


@pytest.mark.parametrize("wrong", [{"name": "x"}, {"secret": "x"}, {"domain": "x"}])
def test_wrong_words_buy_nothing(vendor, wrong):
    v = vendor(users=[{"name": "bot", "password": "right", "domain": "acme"}])
    answer = issue(v, **wrong)
    assert answer.status == 401
    assert "X-Subject-Token" not in answer.headers


def test_more_than_five_wrong_passwords_in_a_row_lock_a_user_for_fifteen_minutes(vendor):
    users = [{"name": name, "password": "right", "domain": "acme"} for name in ("bot", "other")]
    v = vendor(users=users)
    for _ in range(5):
        assert issue(v, secret="wrong").status == 401
    assert issue(v).status == 201
    for _ in range(6):
        assert issue(v, secret="wrong").status == 401
    locked = issue(v)
    assert (locked.status, locked.json["error"]["message"]) == (401, "The user is locked.")
    assert issue(v, name="other").status == 201
    v.clock.advance(900)
    assert issue(v).status == 201


@pytest.mark.parametrize("status", [400, 403, 404])
def test_a_project_that_iam_does_not_know_buys_nothing_and_says_so(vendor, status):
    users = [{"name": "bot", "password": "right", "domain": "acme"}]
    v = vendor(users=users, iam_projects="p-1,p-2", unknown_project_status=status)
    assert [issue(v, project=project).status for project in ("p-1", "p-2", "p-3")] == [
        201,
        201,
        status,
    ]
    assert issue(v, secret="wrong", project="p-3").status == 401


def test_a_malformed_token_request_is_refused(vendor):
    v = vendor()
    assert v.call("POST", "/v3/auth/tokens", {"auth": []}, headers={}).status == 400


@pytest.mark.parametrize(
    ("expire", "code", "words"),
    [(False, "APIGW.0307", "must be updated"), (True, "APIGW.0301", "token expires")],
)
def test_tokens_can_be_made_invalid_before_their_time(vendor, expire, code, words):
    v = vendor()
    token = issue(v).headers["X-Subject-Token"]
    assert listing(v, token).status == 200
    assert v.simulator.authenticator.revoke_tokens(expire=expire) == 1
    answer = listing(v, token)
    assert answer.json["error_code"] == code
    assert words in answer.json["error_msg"]
    assert listing(v, issue(v).headers["X-Subject-Token"]).status == 200


def test_a_right_signature_is_taken_and_a_wrong_one_is_not(vendor):
    v = vendor(access_keys={KEY: SECRET})
    assert signed(v).status == 200
    for wrong in (signed(v, secret="other"), signed(v, key="AKOTHER")):
        assert (wrong.status, wrong.json["error_code"]) == (401, "APIGW.0301")
        assert wrong.json["error_msg"].endswith("verify aksk signature fail")


@pytest.mark.parametrize(("skew", "status"), [(899, 200), (-899, 200), (901, 401), (-901, 401)])
def test_a_signature_is_good_for_fifteen_minutes(vendor, skew, status):
    v = vendor(access_keys={KEY: SECRET})
    assert signed(v, at=v.clock.now() + skew).status == status


def test_a_temporary_key_needs_its_security_token(vendor):
    v = vendor(access_keys={KEY: SECRET}, security_tokens={KEY: "st"})
    assert signed(v, security_token="st").status == 200
    assert signed(v).status == 401
    assert signed(v, security_token="other").status == 401


def test_more_than_five_failures_in_a_row_lock_a_key_for_five_minutes(vendor):
    v = vendor(access_keys={KEY: SECRET})
    for _ in range(5):
        assert signed(v, secret="wrong").status == 401
    assert signed(v).status == 200
    for _ in range(6):
        assert signed(v, secret="wrong").status == 401
    locked = signed(v)
    assert (locked.status, locked.json["error_msg"][-6:]) == (401, "locked")
    v.clock.advance(300)
    assert signed(v).status == 200


def test_it_is_counted_how_each_credential_fared(vendor):
    v = vendor(access_keys={KEY: SECRET}, users=[{"name": "b", "password": "p", "domain": "d"}])
    for secret in ("wrong", "wrong", SECRET, "wrong"):
        signed(v, secret=secret)
    issue(v, name="b", secret="other", domain="d")
    listing(v, issue(v, name="b", secret="p", domain="d").headers["X-Subject-Token"])
    listing(v, "static")
    v.call("GET", v.engines, headers={})
    fared = {
        credential: (tally.accepted, tally.refused, tally.most_in_a_row)
        for credential, tally in v.simulator.authenticator.tallies.items()
    }
    hashed = hashlib.sha256(b"static").hexdigest()[:12]
    assert fared == {
        f"key {KEY}": (1, 3, 2),
        "user b": (2, 1, 1),
        f"token {hashed}": (0, 1, 1),
        "none": (0, 1, 1),
    }


def test_credentials_can_be_replaced_and_a_changed_password_revokes_its_tokens(vendor):
    bot, other = ({"name": name, "password": "p", "domain": "d"} for name in ("bot", "other"))
    v = vendor(tokens={"static": ""}, access_keys={KEY: SECRET}, users=[bot, other])
    tokens = [
        issue(v, name=name, secret="p", domain="d").headers["X-Subject-Token"]
        for name in ("bot", "other")
    ]
    v.simulator.authenticator.accept_only({"users": [{**bot, "password": "new"}, other]})
    assert [listing(v, token).status for token in (*tokens, "static")] == [401, 200, 401]
    assert signed(v).status == 401
    assert issue(v, name="bot", secret="p", domain="d").status == 401
    assert issue(v, name="bot", secret="new", domain="d").status == 201


@pytest.mark.parametrize(
    "credentials",
    [{}, {"tokens": {}}, {"jobSeconds": 1}, {"users": [{"name": "b"}]}, {"users": ["b"]}],
)
def test_what_is_not_credentials_replaces_none(vendor, credentials):
    v = vendor(tokens={"static": ""})
    with pytest.raises(ValueError, match="credential is needed, of accessKeys"):
        v.simulator.authenticator.accept_only(credentials)
    assert listing(v, "static").status == 200


@pytest.mark.parametrize("header", ["Basic abc", "SDK-HMAC-SHA256 Access=a", "SDK-HMAC-SHA256"])
def test_an_authorization_header_of_another_shape_is_refused(vendor, header):
    answer = vendor().call("GET", "/v2/p/enginemgr/engines", headers={"Authorization": header})
    assert answer.status == 401


def test_calls_beyond_the_throttle_are_answered_429_until_the_next_second(vendor):
    v = vendor(calls_per_second=2, throttle_retry_after_seconds=7)
    engine = v.engine()
    assert [v.list().status for _ in range(3)] == [200, 200, 429]
    throttled = v.list()
    assert throttled.json["error_code"] == "APIGW.0308"
    assert throttled.headers == {"Retry-After": "7"}
    assert v.show(engine).status == 200
    v.clock.advance(1)
    assert v.list().status == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("GET", "/v2/p/enginemgr/engine"),
        ("POST", "/v2/p/enginemgr/engines/e/upgrade"),
        ("GET", "/v2//enginemgr/engines"),
        ("GET", "/v2/p/enginemgr/engines/"),
        ("PUT", "/v2/p/enginemgr/engines/e/f/upgrade"),
        ("DELETE", "/v2/p/enginemgr/engines/e"),
    ],
)
def test_a_path_the_vendor_does_not_have_is_unknown_to_the_gateway(vendor, method, path):
    answer = vendor().call(method, path)
    assert (answer.status, answer.json["error_code"]) == (404, "APIGW.0101")


def test_a_put_that_is_not_json_is_refused_by_the_gateway(vendor):
    v = vendor()
    engine = v.engine()
    target = f"{v.engines}/{engine.id}/upgrade"
    headers = {"X-Auth-Token": "t", "Content-Type": "text/plain"}
    answer = v.call("PUT", target, {"version": "2.4.0"}, headers)
    assert (answer.status, answer.json["error_code"]) == (400, "APIGW.0201")

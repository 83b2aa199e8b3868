"""Authentication by tokens, users and access keys, as the API gateway and IAM do it.

A simulator without configured credentials is open: it accepts every non-empty token and every
well-formed signature. The tokens that it issues expire in any case.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, Literal, NamedTuple

from cse_simulator.vendor import signature
from cse_simulator.vendor.answers import Answer, GatewayRefusal, encode, ok, unauthenticated
from cse_simulator.vendor.calls import Call, as_json
from cse_simulator.vendor.clock import Clock
from cse_simulator.vendor.federation import Federation
from cse_simulator.vendor.recording import fingerprint
from cse_simulator.vendor.settings import Settings, replace_credentials

AuthenticationOutcome = Literal["accepted", "refused"]


class Caller(NamedTuple):
    """The caller: the name of its user or key, and the project its credential is scoped to."""

    name: str
    project: str = ""


@dataclass(slots=True)
class IssuedToken:
    """A token from POST /v3/auth/tokens. `expires_at` is in seconds since the epoch."""

    user: str
    domain: str
    project: str
    expires_at: float


@dataclass(slots=True)
class Tally:
    """How often a credential was accepted and refused, and its longest run of refusals."""

    accepted: int = 0
    refused: int = 0
    in_a_row: int = 0
    most_in_a_row: int = 0

    def accept(self) -> None:
        """Count an accepted call."""
        self.accepted += 1
        self.in_a_row = 0

    def refuse(self) -> None:
        """Count a refused call."""
        self.refused += 1
        self.in_a_row += 1
        self.most_in_a_row = max(self.most_in_a_row, self.in_a_row)


@dataclass(slots=True)
class Failures:
    """Consecutive failures of an access key or a user, and when its lock ends (epoch seconds)."""

    count: int = 0
    locked_until: float = 0.0

    def add(self, now: float, survived: int, lock_seconds: float) -> None:
        """Count a failure; after more than `survived` of them, lock for `lock_seconds`."""
        self.count += 1
        if self.count > survived:
            self.count = 0
            self.locked_until = now + lock_seconds


class Authenticator:
    """Checks credentials and issues tokens."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._issued: dict[str, IssuedToken] = {}
        self._failures: dict[str, Failures] = {}
        self._wrong_passwords: dict[tuple[str, str], Failures] = {}
        self._refused_tokens: dict[str, str] = {}
        self._number = 0
        self.federation = Federation(settings, clock)
        self.tallies: dict[str, Tally] = {}
        """By credential: `key AK`, `user NAME` (including its tokens), `token HASH`."""

    def caller(self, call: Call) -> Caller:
        """Return the caller.

        Raises:
            GatewayRefusal: The credential is missing, invalid, or scoped to another project.
        """
        tally = self._tally(self._credential_of(call))
        try:
            caller = self._authenticated(call)
        except GatewayRefusal:
            tally.refuse()
            raise
        tally.accept()
        if caller.project and caller.project != call.project:
            raise GatewayRefusal(
                HTTPStatus.FORBIDDEN, "APIGW.0302", "Understand the request but denied to access"
            )
        return caller

    def accept_only(self, credentials: dict[str, Any]) -> None:
        """Accept these credentials from now on, and no others.

        Revoke the tokens issued to each user whose password or domain changed; the vendor does so
        within half an hour.

        Raises:
            ValueError: `credentials` has another setting or an incomplete credential.
        """
        before = self._settings.users
        replace_credentials(self._settings, credentials)
        kept = {(u["name"], u["domain"]) for u in self._settings.users if u in before}
        for token, issued in self._issued.items():
            if (issued.user, issued.domain) not in kept:
                self._refused_tokens[token] = "revoked"

    def revoke_tokens(self, token: str | None = None, *, expire: bool = False) -> int:
        """Make tokens invalid from now on, as a change of password or permissions does.

        Args:
            token: The only token to revoke; None for all issued and configured tokens.
            expire: Make them look expired instead of revoked.

        Returns:
            The number of these tokens.
        """
        chosen = [token] if token is not None else [*self._issued, *self._settings.tokens]
        for one in chosen:
            self._refused_tokens[one] = "expired" if expire else "revoked"
        return len(chosen)

    def issue_token(self, call: Call) -> Answer:
        """Answer POST /v3/auth/tokens with the method `password`."""
        try:
            auth = as_json(call.body)["auth"]
            user = auth["identity"]["password"]["user"]
            name, password = user["name"], user["password"]
            domain = user["domain"]["name"]
            project = auth["scope"]["project"].get("id", "")
        except (AttributeError, KeyError, TypeError):
            return _iam_error(HTTPStatus.BAD_REQUEST, "The request body is invalid.")
        tally = self._tally(f"user {name}")
        refusal = self._refused_password(name, password, domain)
        if refusal:
            tally.refuse()
            return _iam_error(HTTPStatus.UNAUTHORIZED, refusal)
        tally.accept()
        known = self._settings.iam_projects
        if known and project not in known.split(","):
            message = f"Could not find project: {project}."
            return _iam_error(HTTPStatus(self._settings.unknown_project_status), message)
        return self._issue(str(name), str(domain), str(project))

    def _refused_password(self, name: Any, password: Any, domain: Any) -> str:
        """Return IAM's message if the user is locked or the password wrong, else an empty text."""
        settings, now = self._settings, self._clock.now()
        failures = self._wrong_passwords.setdefault((str(name), str(domain)), Failures())
        if now < failures.locked_until:
            return "The user is locked."
        if not self._is_user(name, password, domain):
            failures.add(now, settings.user_lock_failures, settings.user_lock_seconds)
            return "The username or password is wrong."
        failures.count = 0
        return ""

    def _authenticated(self, call: Call) -> Caller:
        token = call.headers.get("X-Auth-Token")
        if token:
            return self._by_token(token)
        authorization = call.headers.get("Authorization")
        if authorization:
            return self._by_signature(authorization, call)
        raise unauthenticated("x-auth-token not found")

    def _credential_of(self, call: Call) -> str:
        token = call.headers.get("X-Auth-Token")
        if token:
            issued = self._issued.get(token)
            return f"user {issued.user}" if issued else f"token {fingerprint(token)}"
        authorization = signature.parse(call.headers.get("Authorization", ""))
        if authorization and authorization.access_key in self.federation.keys:
            return f"identity {self.federation.keys[authorization.access_key].whose}"
        return f"key {authorization.access_key}" if authorization else "none"

    def _tally(self, credential: str) -> Tally:
        return self.tallies.setdefault(credential, Tally())

    def _issue(self, name: str, domain: str, project: str) -> Answer:
        now = self._clock.now()
        self._number += 1
        digest = hashlib.sha256(f"{self._number}/{name}/{project}".encode()).hexdigest()
        token = f"SIMULATED-{digest}"
        issued = IssuedToken(name, domain, project, now + self._settings.token_lifetime_seconds)
        self._issued[token] = issued
        body = {
            "token": {
                "expires_at": _iam_time(issued.expires_at),
                "issued_at": _iam_time(now),
                "methods": ["password"],
                "project": {"id": project, "name": "simulated", "domain": {"name": domain}},
                "user": {
                    "id": hashlib.md5(name.encode(), usedforsecurity=False).hexdigest(),
                    "name": name,
                    "domain": {"name": domain},
                },
                "roles": [],
            }
        }
        return ok(body, HTTPStatus.CREATED, {"X-Subject-Token": token})

    def _is_user(self, name: Any, password: Any, domain: Any) -> bool:
        if self._settings.is_open:
            return bool(name and password and domain)
        asked = {"name": name, "password": password, "domain": domain}
        return asked in self._settings.users

    def _by_token(self, token: str) -> Caller:
        refused = self._refused_tokens.get(token)
        if refused == "revoked":
            raise unauthenticated("The token must be updated.", "APIGW.0307")
        if refused == "expired":
            raise unauthenticated("token expires")
        issued = self._issued.get(token)
        if issued is not None:
            if self._clock.now() >= issued.expires_at:
                raise unauthenticated(f"token expires, expires_at:{_iam_time(issued.expires_at)}")
            return Caller(issued.user, issued.project)
        project = self._settings.tokens.get(token)
        if project is not None:
            return Caller("token-user", project)
        if self._settings.is_open:
            return Caller("token-user")
        raise unauthenticated("decrypt token fail")

    def _by_signature(self, header: str, call: Call) -> Caller:
        authorization = signature.parse(header)
        if authorization is None:
            raise unauthenticated("verify aksk signature fail")
        key = authorization.access_key
        if self._settings.is_open:
            return Caller(key)
        now = self._clock.now()
        failures = self._failures.setdefault(key, Failures())
        if now < failures.locked_until:
            raise unauthenticated("verify aksk signature fail, the access key is locked")
        temporary = self.federation.keys.get(key)
        if temporary is not None and now >= temporary.expires_at:
            raise unauthenticated("the security token has expired")
        wrong = self._wrong_with(authorization, call, now)
        if wrong:
            failures.add(now, self._settings.key_lock_failures, self._settings.key_lock_seconds)
            raise unauthenticated(wrong)
        failures.count = 0
        return Caller(temporary.whose if temporary is not None else key)

    def _wrong_with(self, authorization: signature.Authorization, call: Call, now: float) -> str:
        """Return the gateway's message about a wrong signature; empty if the signature is right."""
        moment = signature.signed_at(call.headers.get("X-Sdk-Date"))
        if moment is not None and abs(moment - now) > self._settings.key_clock_skew_seconds:
            return "signature expired"
        good = moment is not None and self._is_signed(authorization, call)
        return "" if good else "verify aksk signature fail"

    def _is_signed(self, authorization: signature.Authorization, call: Call) -> bool:
        key = authorization.access_key
        secret = self._settings.access_keys.get(key)
        expected_token = self._settings.security_tokens.get(key)
        if (temporary := self.federation.keys.get(key)) is not None:
            secret, expected_token = temporary.secret, temporary.security_token
        if secret is None or expected_token != call.headers.get("X-Security-Token"):
            return False
        return signature.is_valid(
            authorization,
            secret,
            method=call.method,
            path=call.path,
            query=call.query,
            headers=call.headers,
            body=call.body,
        )


def _iam_time(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _iam_error(status: HTTPStatus, message: str) -> Answer:
    error = {"code": int(status), "message": message, "title": status.phrase}
    return Answer(int(status), encode({"error": error}))

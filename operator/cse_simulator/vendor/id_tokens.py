"""Checks of the ID tokens that a cluster signs: issuer, audience, lifetime and signature.

RFC 7519 (JWT), RFC 7517 (JWKS); the algorithms are those that kube-apiserver signs with.
"""

from __future__ import annotations

import base64
import json
from typing import Any, NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

_COORDINATE = 32


class IdTokenRefusedError(Exception):
    """An ID token is invalid; the text says why."""


class Trust(NamedTuple):
    """An identity provider's configuration: issuer, client id, and the cluster's public keys."""

    issuer: str
    audience: str
    jwks: dict[str, Any]


def subject_of(token: str, trust: Trust, now: float) -> str:
    """Return the subject of a valid ID token.

    Args:
        token: The token.
        trust: The identity provider's configuration.
        now: Seconds since the epoch.

    Raises:
        IdTokenRefusedError: The token is malformed, or the provider does not trust it.
    """
    try:
        head, payload, signature = (_decoded(part) for part in token.split("."))
        header, claims = json.loads(head), json.loads(payload)
        issuer, audience, subject = claims["iss"], claims["aud"], claims["sub"]
        begins_at, ends_at = claims.get("nbf", 0), claims["exp"]
        algorithm, key_id = header["alg"], header.get("kid")
    except (ValueError, KeyError, TypeError, AttributeError):
        raise IdTokenRefusedError("The ID token is malformed.") from None
    if issuer != trust.issuer:
        raise IdTokenRefusedError("The issuer of the ID token is not that of the provider.")
    if trust.audience not in (audience if isinstance(audience, list) else [audience]):
        raise IdTokenRefusedError("The audience of the ID token is not the client ID.")
    signed = token.rpartition(".")[0].encode()
    keys = [key for key in trust.jwks.get("keys", []) if key_id in {None, key.get("kid")}]
    if not any(_is_signed(algorithm, key, signed, signature) for key in keys):
        raise IdTokenRefusedError("The signature of the ID token is invalid.")
    if now >= ends_at:
        raise IdTokenRefusedError("The ID token has expired.")
    if now < begins_at:
        raise IdTokenRefusedError("The ID token is not yet valid.")
    return str(subject)


def _decoded(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def _number(text: str) -> int:
    return int.from_bytes(_decoded(text))


def _is_signed(algorithm: str, key: dict[str, Any], signed: bytes, signature: bytes) -> bool:
    try:
        if algorithm == "ES256" and len(signature) == 2 * _COORDINATE:
            halves = signature[:_COORDINATE], signature[_COORDINATE:]
            pair = encode_dss_signature(*(int.from_bytes(half) for half in halves))
            point = ec.EllipticCurvePublicNumbers(
                _number(key["x"]), _number(key["y"]), ec.SECP256R1()
            )
            point.public_key().verify(pair, signed, ec.ECDSA(SHA256()))
            return True
        if algorithm == "RS256":
            numbers = rsa.RSAPublicNumbers(_number(key["e"]), _number(key["n"]))
            numbers.public_key().verify(signature, signed, padding.PKCS1v15(), SHA256())
            return True
    except (InvalidSignature, KeyError, ValueError):
        return False
    return False

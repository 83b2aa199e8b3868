"""Which parts of a foreign text are shown, and which are redacted."""

from __future__ import annotations

import base64
import json
import secrets
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from cse_operator.cloud.redaction import MAX_SHOWN, Redactor, clean, redact

IAM_TOKEN = "MIIEIwYJKoZIhvcNAQcCoIIEFDCC"  # the beginning of such a token
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln"
ACCESS_KEY = "QTWAOYTTINDUT2QVKYUC"
SECRET_KEY = "MFyfvK41ba2giqM7Uio6PznpdUKGpownRZlmVmHc"


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        (f"decrypt token fail, token:{IAM_TOKEN}", IAM_TOKEN),
        (f"bad {IAM_TOKEN}", IAM_TOKEN),
        (f"jwt {JWT} refused", JWT),
        (f"access key {ACCESS_KEY} unknown", ACCESS_KEY),
        (f"SK {SECRET_KEY}", SECRET_KEY),
        ('{"password": "hunter2 with blanks"}', "hunter2"),
        ("password=hunter2&user=x", "hunter2"),
        ("PASSWORD : hunter2", "hunter2"),
        ("passwd='hunter2'", "hunter2"),
        ("X-Auth-Token: abc123 sent", "abc123"),
        ('"X-Subject-Token":"abc123"', "abc123"),
        ("x-security-token=abc123", "abc123"),
        ("secretKey=abc123, region=x", "abc123"),
        ("secret_access_key: abc123", "abc123"),
        ("ak=abc123 sk=def456", "def456"),
        ("Authorization: Bearer abc123", "abc123"),
        ("Authorization: Basic dXNlcjpwYXNz", "dXNlcjpwYXNz"),
        (
            f"Authorization: SDK-HMAC-SHA256 Access={ACCESS_KEY}, Signature=0123abcd",
            "0123abcd",
        ),
        ("proxy http://user:abc123@proxy.example:3128 refused", "abc123"),
        ("Set-Cookie: session=abc123", "abc123"),
    ],
)
def test_what_looks_like_a_secret_is_taken_out(text: str, secret: str) -> None:
    shown = redact(text)
    assert secret not in shown
    assert "[redacted]" in shown


@pytest.mark.parametrize(
    "text",
    [
        "decrypt token fail",
        "token expires",
        "x-auth-token not found",
        "verify aksk signature fail",
        "no engine 891bf21a-4024-4f47-b38c-bd259ca8f10a in 0a1b2c3d4e5f60718293a4b5c6d7e8f9",
        "version 2.4.0 is not supported",
        "Cannot connect to host cse.cn-north-4.myhuaweicloud.com:443 [Name or service not known]",
    ],
)
def test_ordinary_words_of_the_vendor_are_left_alone(text: str) -> None:
    assert redact(text) == text


@given(st.binary(min_size=30, max_size=200), st.text(max_size=20))
def test_a_long_run_of_base64_never_gets_through(data: bytes, around: str) -> None:
    token = base64.b64encode(data).decode()
    assert token not in redact(f"{around} {token}")


@given(
    value=st.text(st.characters(categories=["L", "N", "P", "S"]), min_size=4, max_size=40),
    before=st.text(max_size=30),
    after=st.text(max_size=30),
)
def test_a_known_secret_is_taken_out_however_it_is_spelled(
    value: str, before: str, after: str
) -> None:
    for spelling in (value, quote(value, safe=""), json.dumps(value)[1:-1]):
        text = f"{before} {spelling} {after}"
        assert spelling not in redact(text, [SecretStr(value)]) or spelling in "[redacted]"


@given(st.text(max_size=2000))
def test_what_is_shown_is_short_printable_and_can_be_encoded(text: str) -> None:
    for shown in (redact(text), clean(text)):
        assert len(shown) <= MAX_SHOWN
        assert shown.isprintable()
        shown.encode()


@pytest.mark.parametrize(
    "hidden", ["\u200b", "\u00ad", "\u202e", "\ufeff", "\x00", "\ufe0f", "\u034f", "\U000e0041"]
)
@pytest.mark.parametrize("secret", ["hunter2", "pass  word", "päss wörd"])
def test_invisible_characters_do_not_hide_a_known_secret(hidden: str, secret: str) -> None:
    said = hidden.join(secret)
    shown = redact(f"wrong {said}{hidden} given", [SecretStr(secret)])
    assert shown == "wrong [redacted] given"


def test_what_is_taken_out_already_is_not_taken_out_again() -> None:
    assert redact("token: hunter2 x", [SecretStr("hunter2")]) == "token: [redacted] x"


@pytest.mark.parametrize("hidden", ["\u200b", "\ufe0f"])
def test_invisible_characters_do_not_hide_what_looks_like_a_secret(hidden: str) -> None:
    assert redact(f"the key {hidden.join(SECRET_KEY)}") == "the key [redacted]"
    assert redact(f"pass{hidden}word: {hidden}hunter2") == "password: [redacted]"


def test_a_secret_with_blanks_that_a_long_text_ends_in_is_not_shown_in_part() -> None:
    secret = "correct horse battery"
    disguised = "\u200b".join(secret)
    for filler in ("x ", "\u200b", "\u200b "):
        for length in range(4060, 4110):
            text = f"{(filler * 4110)[:length]} {disguised} {secret}"
            assert "correct" not in redact(text, [SecretStr(secret)])


def test_invisible_characters_and_line_breaks_do_not_get_through() -> None:
    assert clean("a\u202eb\x1b[31mc\r\n\td\ud800\u200be\x00") == "ab[31mc de"


def test_a_long_text_ends_with_an_ellipsis() -> None:
    shown = clean("word " * 1000)
    assert len(shown) <= MAX_SHOWN
    assert shown.startswith("word word")
    assert shown.endswith("…")


def test_a_secret_cut_in_two_by_the_limit_is_not_shown_in_part() -> None:
    text = "password=" + "x" * 4080 + " hunter22hunter22"
    assert "hunter" not in redact(text)


def test_a_hostile_text_does_not_keep_the_process_busy() -> None:
    hostile = "token" * 200_000 + "=" + "a-" * 200_000
    assert len(redact(hostile, [SecretStr(secrets.token_hex())])) <= MAX_SHOWN


def test_a_word_that_is_remembered_is_as_redacted_as_one_that_is_not() -> None:
    redactor = Redactor([SecretStr("hunter22")])
    words = ["2.4.0", "hunter22", "of hunter22", "\u202eUpgrading", "x" * 40, "2.4.0"]
    # More words than the redactor caches; some of them are short.
    words += [f"{number}-hunter22" for number in range(1_000)]
    assert [redactor.term(word, 32) for word in words] == [redactor(word, 32) for word in words]
    assert redactor.term("Available and on", 9) == "Availabl…"
    assert redactor.term("Available and on", 32) == "Available and on"

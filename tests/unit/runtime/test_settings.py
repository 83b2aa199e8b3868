"""The settings: flags and variables mean the same, and unsafe values are refused."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import certifi
import pytest
from pydantic import SecretStr, ValidationError

from cse_operator.cli.flags import read_settings
from cse_operator.runtime.settings import Settings


@pytest.fixture(autouse=True)
def _no_settings_of_ones_own(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(f"CSE_OPERATOR_{name.upper()}", raising=False)
    monkeypatch.delenv("POD_NAMESPACE", raising=False)


def try_to_read(*flags: str) -> Settings | None:
    return read_settings(Settings, "cse-operator run", flags, description="Runs.")


def read(*flags: str) -> Settings:
    settings = try_to_read(*flags)
    assert settings is not None
    return settings


def test_without_any_the_vendors_endpoints_are_used_securely() -> None:
    settings = read()
    assert settings.cse_endpoint == "https://cse.{region}.{domain}"
    assert settings.iam_endpoint == "https://iam.{region}.{domain}"
    assert not settings.allow_insecure_endpoint
    assert settings.namespaces == ()


FLAGS = [
    ("--namespaces=payments,shipping", "namespaces", ("payments", "shipping")),
    ("--cse-endpoint=https://cse.example.com", "cse_endpoint", "https://cse.example.com"),
    ("--allow-insecure-endpoint", "allow_insecure_endpoint", True),
    ("--allowed-regions=cn-north-4, cn-east-3", "allowed_regions", ("cn-north-4", "cn-east-3")),
    ("--sites=eu-*=example.eu,x-y=z.example", "sites", ("eu-*=example.eu", "x-y=z.example")),
    ("--https-proxy=http://proxy:3128", "https_proxy", SecretStr("http://proxy:3128")),
    ("--no-proxy=.example.com,10.0.0.1", "no_proxy", (".example.com", "10.0.0.1")),
    (f"--ca-bundle={certifi.where()}", "ca_bundle", Path(certifi.where())),
    ("--poll-interval=2.5", "poll_interval", 2.5),
    ("--workers=8", "workers", 8),
    ("--listen=", "listen", ""),
    ("--listen=[::1]:9000", "listen", "[::1]:9000"),
    ("--log-format=json", "log_format", "json"),
    ("--leader-elect", "leader_elect", True),
]


@pytest.mark.parametrize(("flag", "name", "value"), FLAGS)
def test_a_flag_and_its_variable_mean_the_same(
    flag: str, name: str, value: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert getattr(read(flag), name) == value
    given = flag.partition("=")[2] if "=" in flag else "true"
    monkeypatch.setenv(f"CSE_OPERATOR_{name.upper()}", given)
    assert getattr(read(), name) == value


def test_the_pods_namespace_is_that_of_the_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    assert read().lease_namespace == "default"
    monkeypatch.setenv("POD_NAMESPACE", "cse-system")
    assert read().lease_namespace == "cse-system"


REFUSED: Mapping[str, tuple[tuple[str, ...], str]] = {
    "no number": (("--workers=many",), "--workers: "),
    "no workers": (("--workers=0",), "--workers: "),
    "a negative interval": (("--poll-interval=-1",), "--poll-interval: "),
    "no rate": (("--calls-per-second=0",), "--calls-per-second: "),
    "an unknown format": (("--log-format=xml",), "--log-format: "),
    "no port": (("--listen=localhost",), "--listen: 'localhost' is not an address with a port"),
    "a port beyond the last": (("--listen=:65536",), "--listen: ':65536' is not an address"),
    "no CA bundle": (("--ca-bundle=/absent.pem",), "--ca-bundle: /absent.pem cannot be read: No "),
    "a CA bundle of something else": (
        (f"--ca-bundle={__file__}",),
        "does not hold CA certificates in PEM form",
    ),
    "a short lease": (("--lease-duration=1",), "--lease-duration: "),
    "a short grace": (("--outcome-grace=10",), "--outcome-grace 10 is too short"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_an_invalid_setting_is_refused_in_a_sentence(
    case: str, capsys: pytest.CaptureFixture[str]
) -> None:
    flags, complaint = REFUSED[case]
    assert try_to_read(*flags) is None
    said = capsys.readouterr().err
    assert complaint in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    "url",
    [
        "http://user:can/ary@proxy:3128",
        "http://user:12/canary@proxy:3128",
        "http://user:12?canary@proxy:3128",
        "http://user:12#canary@proxy:3128",
        "http://user:can\nary@proxy:3128",
        "http://user:canary@pro xy:3128",
        "http://user:canary@proxy:0",
        "http://user:canary@proxy:65536",
        "http://user:canary@",
        "socks5://user:canary@proxy:3128",
        "proxy:3128",
    ],
)
def test_what_is_no_proxy_is_refused_without_a_word_of_it(
    url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert try_to_read(f"--https-proxy={url}") is None
    said = capsys.readouterr().err
    assert said.startswith("--https-proxy: this is not the URL of a proxy, such as ")
    assert "can" not in said.removeprefix("--https-proxy: ")
    assert "ary" not in said


@pytest.mark.parametrize(
    "url", ["http://proxy", "https://proxy.example.com:3128/", "http://user:p%2Fw@[::1]:3128"]
)
def test_a_proxy_may_have_a_user_a_port_or_neither(url: str) -> None:
    assert read(f"--https-proxy={url}").https_proxy == SecretStr(url)


def test_an_empty_proxy_is_none() -> None:
    assert read("--https-proxy=").https_proxy is None


def test_an_unknown_flag_ends_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        try_to_read("--pol-interval=5")
    assert end.value.code == 2
    assert "--pol-interval=5" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("timeout", "window", "grace", "fits"),
    [
        (15.0, 5.0, 23.0, True),
        (15.0, 5.0, 22.9, False),
        (40.0, 5.0, 30.0, False),
        (15.0, 20.0, 30.0, False),
        (1.0, 1.0, 5.0, True),
    ],
)
def test_a_call_is_certainly_over_before_it_may_be_made_again(
    timeout: float, window: float, grace: float, *, fits: bool
) -> None:
    values = {
        "request_timeout": timeout,
        "send_window": window,
        "read_lag": 2.0,
        "clock_tolerance": 1.0,
        "outcome_grace": grace,
    }
    if fits:
        assert Settings(**values).limits.grace == grace  # type: ignore[arg-type]
    else:
        with pytest.raises(ValidationError, match="must not be made again before that"):
            Settings(**values)  # type: ignore[arg-type]


def test_a_refused_value_is_not_repeated_where_it_may_be_a_secret(
    capsys: pytest.CaptureFixture[str],
) -> None:
    flags = ("--https-proxy=http://alice:canary@proxy:3128", "--workers=none")
    assert try_to_read(*flags) is None
    assert "canary" not in capsys.readouterr().err


def test_a_new_leader_must_outwait_the_calls_of_the_previous_one() -> None:
    with pytest.raises(ValidationError, match="a call of the previous leader may be on its way"):
        Settings(leader_elect=True, lease_duration=30)
    assert Settings(leader_elect=False, lease_duration=30).lease_duration == 30
    assert Settings(leader_elect=True, lease_duration=30, outcome_grace=45).leader_elect

"""Variables with our prefix that are no setting: they end the start, warn, or are Service links."""

from __future__ import annotations

import subprocess
import sys

import pytest
from pydantic import SecretStr

from cse_operator.cli.check import CheckSettings
from cse_operator.cli.flags import read_settings
from cse_operator.runtime.settings import Settings
from cse_operator.runtime.variables import PREFIX, REMOVED, ignored_proxies, misspelt, unused
from support.processes import python_environment

MISTAKES = {
    "ALLOWED_REGION": "ALLOWED_REGIONS",
    "REGIONS": "ALLOWED_REGIONS",
    "ALOWED_REGIONS": "ALLOWED_REGIONS",
    "ALLOWEDREGIONS": "ALLOWED_REGIONS",
    "LEADER_ELECTION": "LEADER_ELECT",
    "LEADER_ELECT_ENABLED": "LEADER_ELECT",
    "CA_BUNDEL": "CA_BUNDLE",
    "NAMESPACE": "NAMESPACES",
    "HTTP_PROXY": "HTTPS_PROXY",
    "PROXY": "HTTPS_PROXY or CSE_OPERATOR_NO_PROXY",
    "LISTEN_ADDRESS": "LISTEN",
    "METRICS_LIMIT": "METRICS_RESOURCE_LIMIT",
    "POLL-INTERVAL": "POLL_INTERVAL",
    "UNKNOWN_OUTCOME_GRACE": "OUTCOME_GRACE",
}


@pytest.mark.parametrize(("written", "meant"), MISTAKES.items())
def test_a_near_miss_or_a_removed_name_is_answered_with_the_right_one(
    written: str, meant: str
) -> None:
    name = f"CSE_OPERATOR_{written}"

    assert misspelt({name: "canary"}) == (f"{name} is not a setting: write CSE_OPERATOR_{meant}",)
    assert unused({name: "canary"}) == ()


@pytest.mark.parametrize("name", ["CSE_OPERATR_WORKERS", "CSE_OPERATORS_WORKERS"])
def test_a_misspelt_prefix_is_noticed(name: str) -> None:
    assert misspelt({name: "1"}) == (f"{name} is not a setting: write CSE_OPERATOR_WORKERS",)


def test_one_letter_too_few_in_any_setting_is_noticed() -> None:
    for setting in Settings.model_fields:
        for at in range(len(setting)):
            name = PREFIX + (setting[:at] + setting[at + 1 :]).upper()
            assert misspelt({name: ""}), name


def test_every_setting_is_known_in_capitals_or_not() -> None:
    right = {PREFIX + name.upper(): "" for name in Settings.model_fields}
    right |= {name.lower(): "" for name in right}

    assert misspelt(right) == unused(right) == ()


def test_a_removed_name_is_no_setting_and_leads_to_one() -> None:
    for gone, instead in REMOVED.items():
        assert gone.lower() not in Settings.model_fields
        assert instead.lower() in Settings.model_fields


LINKS = {
    "CSE_OPERATOR_SERVICE_HOST": "10.96.7.7",
    "CSE_OPERATOR_SERVICE_PORT": "8080",
    "CSE_OPERATOR_SERVICE_PORT_HTTP": "8080",
    "CSE_OPERATOR_PORT": "tcp://10.96.7.7:8080",
    "CSE_OPERATOR_PORT_8080_TCP": "tcp://10.96.7.7:8080",
    "CSE_OPERATOR_PORT_8080_TCP_PROTO": "tcp",
    "CSE_OPERATOR_PORT_8080_TCP_PORT": "8080",
    "CSE_OPERATOR_PORT_8080_TCP_ADDR": "10.96.7.7",
    "CSE_OPERATOR_WORKERS_SERVICE_HOST": "10.96.7.8",
    "CSE_OPERATOR_WORKERS_SERVICE_PORT": "53",
    "CSE_OPERATOR_WORKERS_PORT": "udp://[fd00::1]:53",
    "CSE_OPERATORS_SERVICE_HOST": "10.96.7.9",
}


@pytest.mark.parametrize("name", LINKS)
def test_the_variables_of_a_service_are_ignored(name: str) -> None:
    link = {name: LINKS[name]}

    assert misspelt(link) == unused(link) == ()


def test_a_port_that_is_no_link_is_warned_of() -> None:
    assert len(unused({"CSE_OPERATOR_PORT": "8080"})) == 1


def test_anything_else_with_the_prefix_is_warned_of_without_its_value() -> None:
    [said] = unused({"CSE_OPERATOR_IMAGE": "canary", "PATH": "/bin", "CSE_REGION": "x"})

    assert said.startswith("CSE_OPERATOR_IMAGE is not a setting and has no effect")
    assert "canary" not in said


def test_a_name_cannot_forge_a_line_of_the_log() -> None:
    [said] = unused({"CSE_OPERATOR_\x1b[2J\nready\u202e": ""})

    assert said.isprintable()
    assert said.isascii()


@pytest.mark.parametrize("command", ["run", "check"])
def test_both_commands_end_before_anything_is_called(command: str) -> None:
    mistakes = {"CSE_OPERATOR_ALLOWED_REGION": "canary", "CSE_OPERATOR_LEADER_ELECTION": "true"}

    ended = subprocess.run(
        [sys.executable, "-m", "cse_operator", command],
        env=python_environment(mistakes),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )

    assert ended.returncode == 2
    assert ended.stdout == ""
    assert ended.stderr.splitlines() == [
        "CSE_OPERATOR_ALLOWED_REGION is not a setting: write CSE_OPERATOR_ALLOWED_REGIONS",
        "CSE_OPERATOR_LEADER_ELECTION is not a setting: write CSE_OPERATOR_LEADER_ELECT",
    ]


@pytest.mark.parametrize("command", ["run", "check"])
def test_both_commands_only_warn_of_variables_that_may_be_foreign(command: str) -> None:
    others = {**LINKS, "CSE_OPERATOR_IMAGE": "canary", "KUBECONFIG": "/absent"}

    ended = subprocess.run(
        [sys.executable, "-m", "cse_operator", command],
        env=python_environment(others),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )

    said = ended.stdout + ended.stderr
    assert ended.returncode == 1
    assert said.count("is not a setting and has no effect") == 1
    assert "CSE_OPERATOR_IMAGE" in said
    assert "canary" not in said


def test_what_check_takes_beside_the_settings_are_flags_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in CheckSettings.model_fields.keys() - Settings.model_fields.keys():
        monkeypatch.setenv(f"CSE_OPERATOR_{name.upper()}", "other")
    monkeypatch.setenv("CSE_OPERATOR_WORKERS", "7")

    assert CheckSettings().secret is None
    assert CheckSettings().workers == 7


def test_help_is_shown_whatever_is_set(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CSE_OPERATOR_ALLOWED_REGION", "x")

    with pytest.raises(SystemExit) as ended:
        read_settings(Settings, "cse-operator run", ["--help"], description="Runs.")

    assert ended.value.code == 0
    assert "--allowed-regions" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"])
def test_check_names_a_proxy_of_the_environment_that_is_ignored(name: str) -> None:
    injected = {name: "http://canary:canary@proxy:3128", "NO_PROXY": ".svc"}

    ended = subprocess.run(
        [sys.executable, "-m", "cse_operator", "check"],
        env=python_environment({**injected, "KUBECONFIG": "/absent"}),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )

    assert f"note     settings: {name} is ignored" in ended.stdout
    assert "CSE_OPERATOR_HTTPS_PROXY (and CSE_OPERATOR_NO_PROXY) to use one" in ended.stdout
    assert "canary" not in ended.stdout + ended.stderr


def test_an_ignored_environment_proxy_is_not_reported_when_a_proxy_is_set() -> None:
    settings = Settings(https_proxy=SecretStr("http://proxy:3128"))
    assert ignored_proxies({"HTTPS_PROXY": "http://other:3128"}, settings) == ()
    assert ignored_proxies({"HTTPS_PROXY": ""}, Settings()) == ()

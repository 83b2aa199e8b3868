"""The simulator as a process: its start, and its certain end."""

from __future__ import annotations

import json
import signal
import ssl
import subprocess
import sys
import urllib.request

import pytest
import trustme

from cse_simulator.vendor.admin import AdminClient
from cse_simulator.vendor.simulation import start_simulator
from support.repository import ROOT

COMMAND = [sys.executable, "-m", "cse_simulator", "serve"]


def started(*flags, **pipes):
    process = subprocess.Popen([*COMMAND, *flags], stdout=subprocess.PIPE, text=True, **pipes)
    return process, json.loads(process.stdout.readline())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_says_where_it_listens_and_ends_on_a_signal(number):
    process, line = started("--engines", "2", "--prefix", "shop")
    try:
        assert line["admin"] == line["url"] + "/_admin"
        for url in line.values():
            assert [one.name for one in AdminClient(url).engines()] == ["shop-00000", "shop-00001"]
    finally:
        process.send_signal(number)
        rest = process.stdout.read()
        process.stdout.close()
        assert process.wait(30) == 0
    assert rest == ""


def test_it_ends_with_the_process_that_holds_its_standard_input():
    process, _ = started("--exit-with-stdin", stdin=subprocess.PIPE)
    process.stdin.close()
    assert process.wait(30) == 0
    process.stdout.close()


def test_a_seed_file_makes_the_world(tmp_path, monkeypatch):
    seed = tmp_path / "seed.yaml"
    seed.write_text("engines: [{name: a, version: 1.0.0}]\nfaults: [{status: 503}]\n")
    monkeypatch.chdir(tmp_path)
    with start_simulator(seed="seed.yaml") as simulation:
        assert [one.version for one in simulation.admin.engines()] == ["1.0.0"]
        assert list(simulation.admin.faults()) == ["fault-1"]


def test_the_seed_on_its_page_is_served(tmp_path):
    page = (ROOT / "docs/simulator.md").read_text(encoding="utf-8")
    seed = tmp_path / "world.yaml"
    seed.write_text(page.split("```yaml\n")[1].split("```")[0])
    with start_simulator(seed=seed) as simulation:
        engines = simulation.admin.engines()
    assert {one.name for one in engines} >= {"orders", "registry", "edge", "shop-00099"}
    [planned] = [one.id for one in engines if one.name == "orders"]
    assert f"engineId: {planned}" in page


def test_a_simulator_that_cannot_start_says_so(capfd):
    with pytest.raises(RuntimeError, match="ended at once: 2"):
        start_simulator(seed="no-such-file.yaml")
    assert "no-such-file.yaml" in capfd.readouterr().err


def test_a_call_that_hangs_does_not_keep_it_alive():
    with start_simulator("--fault", '{"hang": true}') as simulation:
        request = urllib.request.Request(f"{simulation.url}/v2/p/enginemgr/engines")
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with pytest.raises(TimeoutError):
            opener.open(request, timeout=0.2)
    assert simulation._process.returncode == 0


def test_it_serves_https_with_a_given_certificate(tmp_path):
    certificate, key = tmp_path / "tls.crt", tmp_path / "tls.key"
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    issued.private_key_pem.write_to_path(key)
    for part in (*issued.cert_chain_pems, authority.cert_pem):
        part.write_to_path(certificate, append=True)
    with start_simulator(engines=1, tls_certificate=certificate, tls_key=key) as simulation:
        assert simulation.url.startswith("https://127.0.0.1:")
        assert len(simulation.admin.engines()) == 1
        with pytest.raises(ssl.SSLCertVerificationError):
            AdminClient(simulation.url).engines()

"""The process: what it refuses to be, and how it starts and ends."""

import os
import re
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from core.errors import BadSettings
from core.settings import read_settings
from tests.conftest import ROOT
from tests.node import Node, as_environment, running_node
from tests.servers import end_process, free_port, wait_until


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "::"])
def test_it_is_not_served_to_a_network_without_tls_or_a_trusted_proxy(tmp_path: Path, host: str) -> None:
    given = as_environment({"data_dir": str(tmp_path), "console_host": host})
    ran = subprocess.run(
        [sys.executable, "-m", "cli", "console"], cwd=ROOT, env={**os.environ, **given}, capture_output=True, timeout=90
    )
    assert ran.returncode == 1
    assert b"console_tls_certificate" in ran.stderr
    assert list(tmp_path.iterdir()) == []


def test_with_tls_or_a_trusted_proxy_it_may_be_and_half_a_certificate_is_none(tmp_path: Path) -> None:
    pair = {"console_tls_certificate": tmp_path / "a", "console_tls_key": tmp_path / "b"}
    assert read_settings(console_host="0.0.0.0", **pair).console_host == "0.0.0.0"
    assert read_settings(console_host="0.0.0.0", console_trusted_proxies=("10.0.0.1",)).console_trusted_proxies
    with pytest.raises(BadSettings, match="set both or none"):
        read_settings(console_tls_key=tmp_path / "b")
    with pytest.raises(BadSettings, match="no IANA time zone"):
        read_settings(time_zone="Mars/Olympus")


def test_it_serves_tls_by_itself_and_loads_no_network_library(tmp_path: Path, certificate: Path) -> None:
    tls = {"console_tls_certificate": str(certificate), "console_tls_key": str(certificate.with_suffix(".key"))}
    with running_node(tmp_path / "node", "console", console_port=0, **tls) as node:
        address = f"https://127.0.0.1:{node.port('console')}"
        with httpx.Client(base_url=address, verify=False, timeout=60) as client:
            assert client.get("/login").status_code == 200
            assert client.get("/model").status_code == 303
        maps = Path(f"/proc/{node.processes['console'].pid}/maps").read_text(encoding="utf-8")
        assert not re.search("tensorflow|keras", maps)
        assert end_process(node.processes["console"]) == 0


def test_a_trusted_proxys_word_on_tls_and_address_is_believed_and_nobody_elses(tmp_path: Path) -> None:
    forwarded = {"X-Forwarded-Proto": "https", "X-Forwarded-For": "203.0.113.9"}
    for proxy, scheme in (("127.0.0.1", "__Host-ecg_session"), ("10.9.9.9", "ecg_session")):
        given = {"console_trusted_proxies": f'["{proxy}"]', "console_port": 0}
        with running_node(tmp_path / proxy, "console", **given) as node:
            address = f"http://127.0.0.1:{node.port('console')}"
            cookie = httpx.get(f"{address}/login", headers=forwarded, timeout=60).headers["set-cookie"]
            assert cookie.startswith(f"{scheme}_login=")


def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    with running_node(tmp_path / "one", "console", console_port=0) as node:
        taken = node.port("console")
        other = Node(tmp_path / "two", console_port=taken)
        ran = subprocess.run(
            [sys.executable, "-m", "cli", "console"],
            cwd=ROOT,
            env={**os.environ, **other.environment},
            capture_output=True,
            timeout=90,
        )
        other.close()
    assert ran.returncode == 1
    assert str(taken).encode() in ran.stderr
    assert b"set console_port" in b" ".join(ran.stderr.split())


def test_run_starts_the_console_with_everything_else(tmp_path: Path) -> None:
    node = Node(tmp_path, console_port=(port := free_port()), listen_port=free_port())
    environment = {**os.environ, **node.environment, "PYTHONPATH": str(ROOT)}
    with (tmp_path / "run.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "cli", "run"], env=environment, cwd=ROOT, stdin=subprocess.DEVNULL, stderr=log
        )
    try:
        wait_until(lambda: _answers(port), 90, "the console answers")
    finally:
        assert end_process(process, deadline_s=90) == 0
        node.close()
    assert not _answers(port)


def _answers(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/healthz", timeout=5).text == "ok\n"
    except httpx.TransportError:
        return False

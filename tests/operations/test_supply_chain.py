"""The bill of materials holds what is locked; a look for vulnerabilities mistakes no silence for a clean bill."""

import json
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from tests.servers import free_port
from tests.supply_chain import CLEAN, NOT_ASKED, SETS, VULNERABLE, locked, look_for_vulnerabilities, write_sbom

HASH = "0" * 64


@pytest.mark.parametrize("name", SETS)
def test_a_bill_of_materials_follows_its_schema_and_names_everything_locked(name: str, tmp_path: Path) -> None:
    file = write_sbom(name, tmp_path)
    text = file.read_text(encoding="utf-8")
    written = json.loads(text)
    assert JsonStrictValidator(SchemaVersion.from_version(written["specVersion"])).validate_str(text) is None
    pinned = dict(
        re.findall(r"^([A-Za-z0-9_.\[\]-]+?)(?:\[.*?\])?==([^ ;\\]+)", locked(name).read_text(), re.MULTILINE)
    )
    assert {one["name"]: one["version"] for one in written["components"]} == pinned
    assert all(given["hashes"] for one in written["components"] for given in one["externalReferences"])
    assert write_sbom(name, tmp_path / "again").read_text(encoding="utf-8") == text


@contextmanager
def _running_osv(known: Mapping[str, str]) -> Iterator[str]:
    """An advisory service as OSV is, that knows of these packages' vulnerabilities; its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            name = asked["package"]["name"]
            said = (
                {"vulns": [{"id": known[name], "affected": [{"package": asked["package"]}]}]} if name in known else {}
            )
            body = json.dumps(said).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_words: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1/query"
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    file = tmp_path / "lock.txt"
    file.write_text("".join(f"{name}==1.0 --hash=sha256:{HASH}\n" for name in ("alpha", "beta")))
    return file


def test_a_lock_of_which_nothing_is_known_is_clean(lock: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with _running_osv({}) as address:
        assert look_for_vulnerabilities(lock, "osv", address) == CLEAN
    assert "lock: no known vulnerabilities" in capsys.readouterr().out


def test_a_known_vulnerability_is_named(lock: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with _running_osv({"beta": "PYSEC-2026-1"}) as address:
        assert look_for_vulnerabilities(lock, "osv", address) == VULNERABLE
    said = capsys.readouterr().out
    assert re.search(r"beta +1\.0 +PYSEC-2026-1", said)
    assert "lock: found 1 known vulnerability in 1 package" in said


def test_a_service_that_does_not_answer_is_no_clean_bill(lock: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Seen to fail with the exit code of pip-audit taken as it is: 1, as for a vulnerability."""
    address = f"http://127.0.0.1:{free_port()}/v1/query"
    assert look_for_vulnerabilities(lock, "osv", address) == NOT_ASKED
    said = capsys.readouterr().out
    assert f"lock: the advisory service ({address}) could not be asked: " in said
    assert "CVE_SERVICE=osv" in said
    assert "Traceback" not in said

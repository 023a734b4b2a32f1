"""What the node is made of, and what is known against it: `python -m tests.supply_chain sbom build`, `... cve`."""

import argparse
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.conftest import ROOT

SETS = ("base", "cpu", "gpu")
CLEAN, VULNERABLE, NOT_ASKED = 0, 1, 2
# Which advisory service is asked: pypi, or osv with an address of its own
SERVICE_VARIABLE, ADDRESS_VARIABLE = "CVE_SERVICE", "CVE_OSV_URL"
WHAT_TO_DO = f"""\
{{name}}: the advisory service ({{service}}) could not be asked: {{why}}.
Nothing is known of these versions, which is not the same as that nothing is wrong with them. Run `make cve` on a
machine that reaches the service, through a proxy (HTTPS_PROXY), or ask another one: {SERVICE_VARIABLE}=osv, and
{ADDRESS_VARIABLE}=https://... for a copy of it inside the hospital."""


def locked(name: str) -> Path:
    """The hash-pinned requirements of a set."""
    return ROOT / "requirements" / f"{name}.txt"


def write_sbom(name: str, folder: Path) -> Path:
    """Write a CycloneDX bill of materials of a locked set; the same lock gives the same file."""
    folder.mkdir(parents=True, exist_ok=True)
    to = folder / f"sbom-{name}.json"
    words = ["requirements", locked(name), "--pyproject", ROOT / "pyproject.toml", "--output-reproducible"]
    command = [sys.executable, "-m", "cyclonedx_py", *map(str, words), "--of", "JSON", "-o", str(to)]
    subprocess.run(command, check=True)
    return to


def look_for_vulnerabilities(requirements: Path, service: str = "pypi", osv_url: str = "") -> int:
    """Ask an advisory service about everything in a lock, print what it says, and what to do when it says nothing."""
    options = ["--strict", "--disable-pip", "--require-hashes", "--progress-spinner", "off", "-s", service]
    options += ["--osv-url", osv_url] if osv_url else []
    command = [sys.executable, "-m", "pip_audit", *options, "-r", str(requirements)]
    done = subprocess.run(command, capture_output=True, text=True)
    print(done.stdout, end="")
    if done.returncode == 0:
        print(f"{requirements.stem}: no known vulnerabilities")
        return CLEAN
    found = re.search(r"^Found \d+ known .*$", done.stderr, re.MULTILINE)
    if found:
        print(f"{requirements.stem}: {found.group().lower()}")
        return VULNERABLE
    why = (done.stderr.strip().splitlines() or ["it said nothing"])[-1].removeprefix("ERROR:pip_audit._cli:")
    print(WHAT_TO_DO.format(name=requirements.stem, service=osv_url or service, why=why.rstrip(".")))
    return NOT_ASKED


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["sbom", "cve"])
    parser.add_argument("folder", nargs="?", type=Path, default=ROOT / "build")
    given = parser.parse_args(words)
    if given.what == "sbom":
        for name in SETS:
            print(write_sbom(name, given.folder))
        return
    service, address = os.environ.get(SERVICE_VARIABLE, "pypi"), os.environ.get(ADDRESS_VARIABLE, "")
    raise SystemExit(max(look_for_vulnerabilities(locked(name), service, address) for name in SETS))


if __name__ == "__main__":
    main()

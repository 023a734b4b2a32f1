"""The light processes stay light."""

import subprocess
import sys

import pytest

from tests.conftest import ROOT

PROBE = "import sys, {module}; print(sorted({{'tensorflow', 'keras', 'jax'}} & set(sys.modules)))"


@pytest.mark.parametrize(
    "module",
    [
        "cli.main",
        "dicom_node.listener",
        "dicom_node.pacs",
        "dicom_node.scu",
        "worker.delivery",
        "worker.decoder",
        "model.labels",
        "model.preprocessing",
        "model.rendering",
        "records.queries",
        "console.process",
        "console.passwords",
    ],
)
def test_importing_it_loads_no_network_library(module: str) -> None:
    command = [sys.executable, "-c", PROBE.format(module=module)]
    assert subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip() == "[]"

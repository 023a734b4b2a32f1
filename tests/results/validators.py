"""Validators of other authors over one object each: what they find."""

import re
import subprocess
from pathlib import Path

from tests.conftest import need_tool

PIXELMED = Path("/usr/share/java/pixelmed.jar")
# JDK 17 bounds XPath expressions below what the templates need; one compiler and one collector halve the time
_JAVA = [
    *("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"),
    *("-Djdk.xml.xpathTotalOpLimit=0", "-Djdk.xml.xpathExprGrpLimit=0", "-Djdk.xml.xpathExprOpLimit=0"),
]


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=300, check=False)


def dciodvfy(path: Path) -> list[str]:
    """Errors of dicom3tools' IOD validator."""
    done = _run(need_tool("dciodvfy"), "-new", str(path))
    said = (done.stdout + done.stderr).splitlines()
    assert any(line.endswith(("SR", "Image", "PDF")) or "SC" in line for line in said), said
    return [line for line in said if line.startswith("Error")]


def dsrdump(path: Path) -> str:
    """The tree as DCMTK reads it; fails where it does not."""
    done = _run(need_tool("dsrdump"), "+Pl", str(path))
    assert done.returncode == 0, done.stderr
    assert not re.search(r"^[EF]: ", done.stderr, re.MULTILINE), done.stderr
    return done.stdout


def pixelmed(path: Path) -> list[str]:
    """Errors and warnings of PixelMed's SR validator, after it found IOD and root template."""
    java = need_tool("java")
    if not PIXELMED.exists():
        need_tool("libpixelmed-java")
    done = _run(java, *_JAVA, "-cp", str(PIXELMED), "com.pixelmed.validate.DicomSRValidator", str(path))
    said = done.stdout.splitlines()
    assert any(re.match(r"Found \w+SR IOD", line) for line in said), done.stdout + done.stderr
    assert "Found Root Template TID_1500 (MeasurementReport)" in said, done.stdout
    assert "IOD validation complete" in said, done.stdout
    return [line for line in said if line.startswith(("Error", "Warning"))]

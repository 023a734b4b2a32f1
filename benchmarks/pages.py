"""A page that the benchmarks send: drawn by code, as a JPEG of a given size, wrapped by DCMTK."""

import io
import subprocess
from pathlib import Path

import numpy as np
from PIL import Image

from model.rendering import draw_sheet
from model.synthetic import synthetic_signal
from tests.conftest import need_tool


def page_of(folder: Path, jpeg_bytes: int) -> Path:
    """A Secondary Capture whose JPEG has about this many bytes: 2213 x 1572, the size of a scanned page."""
    sheet = Image.fromarray(draw_sheet(synthetic_signal(75.0, 0.6, "regular", seed=1)).rgb).resize((2213, 1572))
    noise = np.random.default_rng(1).normal(0, 3, (*np.asarray(sheet).shape[:2], 1))
    scan = Image.fromarray(np.clip(np.asarray(sheet) + noise, 0, 255).astype(np.uint8))
    found = min((_encoded(scan, quality) for quality in range(20, 96, 5)), key=lambda one: abs(len(one) - jpeg_bytes))
    (folder / "page.jpg").write_bytes(found)
    command = [need_tool("img2dcm"), "-k", "PatientID=BENCH", str(folder / "page.jpg"), str(folder / "page.dcm")]
    subprocess.run(command, check=True)
    return folder / "page.dcm"


def _encoded(scan: Image.Image, quality: int) -> bytes:
    file = io.BytesIO()
    scan.save(file, "JPEG", quality=quality)
    return file.getvalue()

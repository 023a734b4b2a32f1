"""From an ECG's last byte to its SR at the PACS, against the bare forward pass: `python -m benchmarks.latency [ECGS]`.

One ECG at a time through a warm node with its embedded broker and a throw-away PACS, in turn with forward passes of
the same network in this process, so that a slow spell slows both. Times are the node's own: last byte to the PACS's
answer, and what of it was decoding, classifying and reporting.
"""

import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from pydicom import dcmread
from pydicom.uid import generate_uid
from sqlalchemy import select

from benchmarks.pages import page_of
from cli.supervisor import embedded_broker
from dicom_node.pacs import ThrowAwayPacs
from dicom_node.wrap import outgoing_of
from model.classifier import Classifier, default_model_dir
from records.tables import Classification
from tests.node import Node, running_node

JPEG_BYTES = 282_000


def main(ecgs: int) -> None:
    """Print medians in milliseconds and their ratio."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    with tempfile.TemporaryDirectory(prefix="ecg-node-bench-") as name:
        folder = Path(name)
        page = page_of(folder, JPEG_BYTES)
        pacs = ThrowAwayPacs(folder / "pacs")
        there = {"there": {"host": "127.0.0.1", "port": pacs.start(), "ae_title": "PACS"}}
        with (
            embedded_broker(folder / "broker") as broker,
            running_node(
                folder / "node", "send", "work", "listen", destinations=there, broker_url=broker, reconcile_s=5
            ) as node,
        ):
            found = _measure(node, page, ecgs)
        pacs.stop()
    for what, values in found.items():
        print(f"{what:38} {statistics.median(values):8.1f} ms  (best {min(values):.1f})")
    whole, forward = (statistics.median(found[what]) for what in ("last byte to SR accepted", "bare forward pass"))
    print(f"{'ratio':38} {whole / forward:8.1f}     (goal: below 3)")


def _measure(node: Node, page: Path, ecgs: int) -> dict[str, list[float]]:
    classifier = Classifier.load(default_model_dir())
    size = (classifier.identity.input_height, classifier.identity.input_width)
    pixels = np.full((1, *size), 255, np.uint8)
    views = classifier.card.config["views"]
    found: dict[str, list[float]] = {"bare forward pass": [], "last byte to SR accepted": []}
    for number in range(ecgs + 2):
        began = time.perf_counter()
        classifier.probabilities(pixels)
        forward = (time.perf_counter() - began) * 1000 / views
        uid = _push(node, page)
        whole = node.wait_delivered(uid).milliseconds
        if number > 1:  # the first ones warm both up
            found["bare forward pass"].append(forward)
            found["last byte to SR accepted"].append(whole or 0.0)
            for step, took in _timings(node).items():
                found.setdefault(f"  of which {step}", []).append(took)
    return found


def _push(node: Node, page: Path) -> str:
    ds = dcmread(page)
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    ds.save_as(page)
    ecg = outgoing_of(page)
    node.push([ecg])
    return ecg.sop_instance_uid


def _timings(node: Node) -> dict[str, Any]:
    with node.database.reading() as session:
        last = session.scalars(select(Classification).order_by(Classification.id.desc()).limit(1)).one()
        return dict(last.model["timings_ms"])


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20)

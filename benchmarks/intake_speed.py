"""How long it takes from a file to the network's input, beside pydicom on the same file.

`python benchmarks/intake_speed.py [DATA]`. CPU time of one thread, the median of several runs. Goals on a core of a
server: a JPEG Secondary Capture 12 ms, a waveform 25 ms, a page of a PDF 120 ms. What DATA lacks is drawn by code.
"""

import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
from PIL import Image
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.pixels import pixel_array

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from dicom_node.ecg_object import Limits
from dicom_node.image import read_ecg
from dicom_node.wrap import outgoing_of
from model.card import read_card, shipped_model_dir
from model.config import config_from
from model.preprocessing import prepare
from model.rendering import draw_sheet, draw_standard_sheet
from model.synthetic import synthetic_signal
from worker.decoder_child import centred

RUNS = 9
GOALS_MS = {"JPEG Secondary Capture": 12, "12-lead waveform": 25, "page of a PDF": 120}
PAGE, PDF = "pages/normal/Normal(31).jpg", "dicom/anonymous_ecg_3x4_1.pdf"


def sheet() -> Image.Image:
    return Image.fromarray(draw_sheet(synthetic_signal(70, seed=1)).rgb).resize((2213, 1572))


def objects(data: Path, folder: Path) -> dict[str, Path]:
    """One file of each kind, real where there are real ones."""
    files = {"JPEG Secondary Capture": data / PAGE, "page of a PDF": data / PDF}
    if not files["JPEG Secondary Capture"].exists():
        files["JPEG Secondary Capture"] = folder / "page.jpg"
        sheet().save(files["JPEG Secondary Capture"], quality=90)
    if not files["page of a PDF"].exists():
        files["page of a PDF"] = folder / "page.pdf"
        sheet().save(files["page of a PDF"])
    found = {"12-lead waveform": Path(str(get_testdata_file("waveform_ecg.dcm")))}
    for name, file in files.items():
        content = outgoing_of(file).content
        assert content is not None
        found[name] = folder / f"{name}.dcm"
        found[name].write_bytes(content)
    return found


def milliseconds(work: Callable[[], object]) -> float:
    """CPU time, in the median; the first run loads what is loaded lazily."""
    work()
    times = []
    for _ in range(RUNS):
        began = time.process_time()
        work()
        times.append(time.process_time() - began)
    return median(times) * 1000


def picture(path: Path) -> np.ndarray:
    found = read_ecg(path, Limits())
    return draw_standard_sheet(centred(found.signal)).rgb if found.signal is not None else found.pictures[0].rgb


def other(path: Path) -> Callable[[], object] | None:
    """What pydicom makes of the same file."""
    dataset = dcmread(path)
    if "PixelData" in dataset:
        return lambda: pixel_array(dcmread(path))
    if "WaveformSequence" in dataset:
        return lambda: dcmread(path).waveform_array(0)
    return None


def main() -> None:
    data = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parents[2] / "shared" / "data"
    config = config_from(read_card(shipped_model_dir()).config)
    print(f"{'':24} {'picture':>9} {'prepare':>9} {'input':>9} {'goal':>7} {'pydicom':>9} {'picture / pydicom':>18}")
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, path in objects(data, Path(folder)).items():
            rgb = picture(path)
            read_ms = milliseconds(lambda path=path: picture(path))
            prepare_ms = milliseconds(lambda rgb=rgb: prepare(rgb, config.height, config.width))
            peer = other(path)
            peer_ms = milliseconds(peer) if peer else float("nan")
            ratio = f"{read_ms / peer_ms:.2f}" if peer else "-"
            times = f"{read_ms:6.1f} ms {prepare_ms:6.1f} ms {read_ms + prepare_ms:6.1f} ms {GOALS_MS[name]:4d} ms"
            print(f"{name:24} {times} {peer_ms:6.1f} ms {ratio:>18}")


if __name__ == "__main__":
    main()

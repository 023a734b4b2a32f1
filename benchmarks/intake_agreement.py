"""How far the network's answer depends on who drew a waveform: our sheet, and another program's as PNG and as PDF.

`python benchmarks/intake_agreement.py FOLDER FILE.dcm ...`: FOLDER holds what another program drew of each file, as
`dicom-ecg-plot FILE --layout 3x4_1 --output FOLDER/NAME.png` (and .pdf; PyPI, MIT). Nothing was tuned to this.
"""

import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from core.values import LABELS, Picture
from dicom_node.ecg_object import Limits
from dicom_node.image import read_ecg
from dicom_node.wrap import outgoing_of
from model.classifier import Classifier, default_model_dir
from model.rendering import draw_standard_sheet
from worker.decoder_child import centred


def drawings(waveform: Path, folder: Path) -> Iterator[tuple[str, Picture]]:
    """Our sheet of a waveform, and what lies in the folder under its name."""
    signal = read_ecg(waveform, Limits()).signal
    assert signal is not None
    yield "ours", draw_standard_sheet(centred(signal))
    for other in sorted(folder.glob(f"{waveform.stem}*")):
        with tempfile.NamedTemporaryFile(suffix=".dcm") as file:
            content = outgoing_of(other).content
            assert content is not None
            Path(file.name).write_bytes(content)
            yield other.name.removeprefix(waveform.stem).strip("-_."), read_ecg(Path(file.name), Limits()).pictures[0]


def main() -> None:
    folder, *files = map(Path, sys.argv[1:])
    classifier = Classifier.load(default_model_dir())
    print(f"model {classifier.identity.version}; largest difference of a probability from that of our own sheet")
    warnings.simplefilter("ignore")
    same, gaps = 0, []
    for file in files:
        named = list(drawings(file, folder))
        answers = classifier.classify([picture for _name, picture in named])
        ours = answers[0].probabilities
        for (name, _picture), one in zip(named, answers, strict=True):
            shares = " ".join(f"{share:.2f}" for share in one.probabilities or ())
            gap = np.abs(np.subtract(one.probabilities, ours)).max() if one.probabilities and ours else float("nan")
            print(f"{file.stem:28} {name:12} {one.label or one.reason!s:24} {shares:16} {gap:.2f}")
            if name != "ours" and one.probabilities and ours:
                same += int(np.argmax(one.probabilities) == np.argmax(ours))
                gaps.append(gap)
    if gaps:
        print(f"most likely of {len(LABELS)} labels the same: {same} of {len(gaps)}")
        print(f"gap: {np.median(gaps):.2f} in the median, {max(gaps):.2f} at most")


if __name__ == "__main__":
    if len(sys.argv) < 3:
        print("give a folder of drawings and the waveforms they are of; see the head of this file")
    else:
        main()

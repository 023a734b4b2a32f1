"""Every reason why an object is not judged is reached through a running node: a reason without a case fails.

Seen to fail: a reason added to the enum is a KeyError here; each check of the product taken out, its object ends
otherwise.
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import RLELossless, generate_uid

from core.states import JobState, Reason
from dicom_node.contexts import RETIRED_CLASSES, STORAGE_CLASSES
from dicom_node.scu import Outgoing, Verdict
from model.rendering import draw_sheet
from model.synthetic import synthetic_signal
from records.queries import EcgSummary
from tests.intake.image_objects import Format, build_image, ecg_like, photograph
from tests.intake.pdf_objects import build_pdf, encapsulate_pdf
from tests.intake.test_related_objects import outgoing
from tests.intake.waveform_objects import Group, beats, build_waveform
from tests.model.test_preprocessing import symmetric_sheet
from tests.models import make_variant
from tests.node import Node, running_node

GREY = Format("grey", "MONOCHROME2", 8, 8)
ENDED_S = 240.0
pytestmark = pytest.mark.timeout(600)


def sheet() -> np.ndarray:
    return draw_sheet(synthetic_signal(70)).rgb


def thumbnail() -> Dataset:
    return photograph(np.asarray(Image.fromarray(sheet()).resize((260, 150), Image.Resampling.BOX)))


def on_its_side() -> Dataset:
    """Turned by a quarter, with nothing that says which of the long edges is the upper one."""
    return photograph(np.rot90(symmetric_sheet()))


def floating_point() -> Dataset:
    dataset = build_image(GREY, ecg_like(GREY))
    del dataset.PixelData
    dataset.BitsAllocated = 32
    dataset.FloatPixelData = bytes(4 * dataset.Rows * dataset.Columns)
    return dataset


def cut_off() -> Dataset:
    dataset = build_image(GREY, ecg_like(GREY))
    dataset.PixelData = dataset.PixelData[: len(dataset.PixelData) // 4 * 2]
    return dataset


def bomb() -> Dataset:
    dataset = build_image(GREY, ecg_like(GREY))
    dataset.file_meta.TransferSyntaxUID = RLELossless
    dataset.Rows = dataset.Columns = 65535
    dataset.PixelData = encapsulate([bytes(64)])
    dataset["PixelData"].is_undefined_length = True
    return dataset


def of_class(uid: str) -> Dataset:
    dataset = build_waveform(Group(beats()), sop_class=uid)
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    return dataset


CASES: Mapping[Reason, Callable[[], Dataset]] = {
    Reason.RETIRED_CLASS: lambda: of_class("1.2.840.10008.5.1.4.1.1.9"),
    Reason.NO_PICTURE: lambda: encapsulate_pdf(b""),
    Reason.NOT_AN_ECG: lambda: photograph(np.random.default_rng(1).integers(0, 255, (700, 1000, 3))),
    Reason.TOO_FEW_LEADS: lambda: build_waveform(Group(beats(leads=("II",)))),
    Reason.BLANK: lambda: photograph(np.full((700, 1000, 3), 255)),
    Reason.UNREADABLE: thumbnail,
    Reason.UPSIDE_DOWN: on_its_side,
    Reason.DAMAGED: cut_off,
    Reason.ENCRYPTED: lambda: encapsulate_pdf(build_pdf(password="secret")),
    Reason.TOO_BIG: bomb,
    Reason.UNSUPPORTED_ENCODING: floating_point,
    Reason.UNCERTAIN: lambda: build_waveform(Group(beats())),
    Reason.SUPERSEDED: lambda: encapsulate_pdf(build_pdf()),
}


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """Its model is never certain, and where a waveform and a PDF are one ECG, the waveform speaks for both."""
    folder = tmp_path_factory.mktemp("node")
    unsure = make_variant(tmp_path_factory.mktemp("models"), "unsure", confidence=1.1)
    rule = {"related_objects": "waveform_only", "waveform_wait_s": 5.0}
    with running_node(folder, "work", "listen", model_dir=unsure.folder, **rule) as running:
        yield running


@pytest.fixture(scope="module")
def pushed(node: Node, tmp_path_factory: pytest.TempPathFactory) -> Mapping[Reason, Outgoing]:
    folder = tmp_path_factory.mktemp("objects")
    made = {reason: make() for reason, make in CASES.items()}
    waveform = made[Reason.UNCERTAIN]
    sent = {
        reason: outgoing(dataset, folder, waveform if reason is Reason.SUPERSEDED else None)
        for reason, dataset in made.items()
    }
    outcomes = dict(zip(sent, node.push(sent.values()), strict=True))
    assert {reason: one.status for reason, one in outcomes.items() if one.verdict is not Verdict.DELIVERED} == {}
    return sent


def _end(summary: EcgSummary) -> tuple[JobState, str]:
    return summary.state, (summary.reason or "").split(":")[0]


@pytest.mark.parametrize("reason", Reason)
def test_each_reason_is_the_end_of_an_object_that_deserves_it(
    reason: Reason, node: Node, pushed: Mapping[Reason, Outgoing]
) -> None:
    summary = node.wait_ended(pushed[reason].sop_instance_uid, ENDED_S)
    assert _end(summary) == (JobState.NOT_DIAGNOSTIC, reason.value)
    assert summary.labels == (None,)


@pytest.mark.parametrize("uid", sorted(RETIRED_CLASSES), ids=lambda uid: STORAGE_CLASSES[uid][0])
def test_an_object_of_a_retired_class_is_kept_and_says_so(uid: str, node: Node, tmp_path: Path) -> None:
    one = outgoing(of_class(uid), tmp_path)
    assert [outcome.verdict for outcome in node.push([one])] == [Verdict.DELIVERED]
    assert _end(node.wait_ended(one.sop_instance_uid, ENDED_S)) == (JobState.NOT_DIAGNOSTIC, Reason.RETIRED_CLASS)

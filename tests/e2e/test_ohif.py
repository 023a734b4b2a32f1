"""A viewer of another author shows what a person has to see: label, probabilities, "not verified", and the heat map."""

import io
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from core.values import LABELS, NOTICE, Label
from dicom_node.codes import PROBABILITIES
from dicom_node.texts import LABEL_TEXTS, label_summary
from records.queries import EcgSummary
from tests.conftest import need_tool
from tests.e2e.ecgs import drawn_page, jpeg_capture, pdf_object, storescu
from tests.e2e.ohif import DIST, running_ohif
from tests.node import Node
from tests.orthanc import Orthanc
from tests.servers import wait_until

DEADLINE_S = 90.0
BROKEN = "Something went wrong"


class NotShown(AssertionError):
    """The viewer broke down over an object."""


@pytest.fixture(scope="module")
def viewer(orthanc: Orthanc) -> Iterator[str]:
    if not (DIST / "index.html").exists():
        need_tool("ohif")
    with running_ohif(orthanc.url) as address:
        yield address


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    opened = browser.new_page(viewport={"width": 1280, "height": 800})
    opened.add_locator_handler(opened.get_by_text("Skip all"), lambda skip: skip.click())
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def answered(house: Node, tmp_path_factory: pytest.TempPathFactory) -> EcgSummary:
    """A page that went all the way: pushed, judged, delivered to the PACS."""
    folder = tmp_path_factory.mktemp("page")
    drawn_page().save(folder / "page.jpg", quality=92)
    file = jpeg_capture(folder / "page.jpg", folder)
    storescu(file, house.port(), "-xy")
    return house.wait_delivered(str(dcmread(file).SOPInstanceUID))


def _report(answered: EcgSummary, orthanc: Orthanc, kind: str) -> Dataset:
    (uid,) = [uid for one, uid, _state in answered.reports if one == kind]
    return orthanc.dataset(uid)


def _open(page: Page, viewer: str, report: Dataset, is_there: Callable[[], object]) -> None:
    """Show one series and wait until it is there. Raises NotShown when the viewer breaks."""
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(
        f"{viewer}/viewer?StudyInstanceUIDs={report.StudyInstanceUID}&SeriesInstanceUIDs={report.SeriesInstanceUID}"
    )
    wait_until(lambda: errors or BROKEN in page.inner_text("body") or is_there(), DEADLINE_S, "OHIF shows something")
    if errors or BROKEN in page.inner_text("body"):
        raise NotShown(errors or page.inner_text("body"))


def _text_of(page: Page, viewer: str, report: Dataset) -> str:
    _open(page, viewer, report, lambda: "EKG study" in page.inner_text("body"))
    return page.inner_text("body")


def _keep(page: Page, name: str) -> None:
    """Keep a small picture of the page where KEEP_PICTURES names a folder, as docs/images has it."""
    folder = os.environ.get("KEEP_PICTURES")
    if folder:
        taken = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
        small = taken.resize((960, 600), Image.Resampling.LANCZOS)
        small.quantize(256, Image.Quantize.MAXCOVERAGE).save(Path(folder) / name, optimize=True)


def test_the_report_can_be_read(page: Page, viewer: str, orthanc: Orthanc, answered: EcgSummary) -> None:
    shown = _text_of(page, viewer, _report(answered, orthanc, "sr"))
    label, shares = Label(answered.labels[0]), answered.probabilities[0]
    assert shares is not None
    assert label_summary(label, shares) in shown
    assert NOTICE in shown
    for one, share in zip(LABELS, shares, strict=True):
        # OHIF shows a number's value and unit, without the zeros at its end
        (said,) = re.findall(rf"{PROBABILITIES[one].meaning}: ([0-9.]+) %", shown)
        assert float(said) == pytest.approx(100 * share, abs=0.051)
    page.get_by_text(NOTICE).scroll_into_view_if_needed()
    _keep(page, "ohif-report.png")


def test_the_report_about_a_document_names_it(
    page: Page, viewer: str, orthanc: Orthanc, house: Node, tmp_path: Path
) -> None:
    document = pdf_object(drawn_page(), tmp_path)
    storescu(document, house.port())
    uid = str(dcmread(document).SOPInstanceUID)
    found = house.wait_delivered(uid)
    shown = _text_of(page, viewer, _report(found, orthanc, "sr"))
    assert f"Encapsulated PDF {uid}" in shown
    assert found.probabilities[0] is not None
    assert label_summary(Label(found.labels[0]), found.probabilities[0]) in shown
    assert NOTICE in shown


def test_an_item_without_a_name_breaks_the_viewer(
    page: Page, viewer: str, orthanc: Orthanc, answered: EcgSummary
) -> None:
    """So the test above fails for such a report: this is what it would see."""
    report = _report(answered, orthanc, "sr")
    report.SeriesInstanceUID, report.SOPInstanceUID = generate_uid(), generate_uid()
    report.file_meta.MediaStorageSOPInstanceUID = report.SOPInstanceUID
    (library,) = [item for item in report.ContentSequence if _name(item) == "Image Library"]
    image = library.ContentSequence[0].ContentSequence[0]
    assert image.ValueType == "IMAGE"
    del image.ConceptNameCodeSequence
    file = io.BytesIO()
    report.save_as(file)
    orthanc.upload(file.getvalue())
    with pytest.raises(NotShown):
        _text_of(page, viewer, report)


def _name(item: Dataset) -> str:
    return str(item.ConceptNameCodeSequence[0].CodeMeaning)


def test_the_heat_map_is_seen(page: Page, viewer: str, orthanc: Orthanc, answered: EcgSummary) -> None:
    heatmap = _report(answered, orthanc, "heatmap")
    _open(page, viewer, heatmap, lambda: _difference(page, heatmap.pixel_array) < 12)
    assert LABEL_TEXTS[Label(answered.labels[0])] in heatmap.DerivationDescription
    _keep(page, "ohif-heat-map.png")


def _difference(page: Page, pixels: np.ndarray) -> float:  # type: ignore[type-arg]
    """Mean difference in grey values between the viewport and the picture that should fill it."""
    canvas = page.locator("canvas.cornerstone-canvas")
    if canvas.count() != 1:
        return 255.0
    seen = Image.open(io.BytesIO(canvas.screenshot())).convert("RGB")
    height, width = pixels.shape[:2]
    scale = min(seen.width / width, seen.height / height)
    size = (round(width * scale), round(height * scale))
    left, top = (seen.width - size[0]) // 2, (seen.height - size[1]) // 2
    shown = np.asarray(seen.crop((left, top, left + size[0], top + size[1])), np.float32)
    wanted = np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BILINEAR), np.float32)
    return float(np.abs(shown - wanted).mean())

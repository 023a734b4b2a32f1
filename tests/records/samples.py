"""Received instances and answers as the tests of the records need them."""

from dataclasses import replace
from datetime import UTC, datetime
from itertools import count

from core.states import JobState, ReportKind
from core.values import Box, Label, ModelIdentity, ReceivedInstance
from records.results import Answer, FrameResult, StoredReport

_numbers = count(1)


def received(**changes: object) -> ReceivedInstance:
    n = next(_numbers)
    base = ReceivedInstance(
        sop_class_uid="1.2.840.10008.5.1.4.1.1.7",
        sop_instance_uid=f"1.2.3.{n}",
        study_instance_uid="1.2.3",
        series_instance_uid="1.2.4",
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        content_sha256=f"{n:064x}",
        file_sha256=f"{n:064x}",
        path=f"received/{n}.dcm",
        size_bytes=10,
        calling_ae_title="CART",
        called_ae_title="ECGNODE",
        peer_address="127.0.0.1",
        association_id="a1",
        stat=False,
        comparison_sha256=f"{n:064x}",
        pixel_sha256=f"{n:064x}",
    )
    return replace(base, **changes)  # type: ignore[arg-type]


MODEL = ModelIdentity("resnet50", "1.0.0", "f" * 64, "1", "1", 224, 224, "cam")


def answer(label: Label | None = Label.NORMAL) -> Answer:
    n = next(_numbers)
    frame = FrameResult(1, label, None, (0.9, 0.06, 0.04), 1.0, Box(0, 0, 1, 1), "e" * 64)
    reports = [
        StoredReport(ReportKind.HEATMAP, 1, "", "1.7", f"2.25.{n}1", "2.25.8", "1.2.1", "a" * 64, 5),
        StoredReport(ReportKind.SR, 0, "comprehensive", "1.33", f"2.25.{n}2", "2.25.9", "1.2.1", "b" * 64, 5),
        StoredReport(ReportKind.SR, 0, "enhanced", "1.22", f"2.25.{n}3", "2.25.9", "1.2.1", "c" * 64, 5),
    ]
    return Answer(JobState.DONE, None, [frame], reports, MODEL, "0.1.0", datetime.now(UTC), {"classify": 12.0})

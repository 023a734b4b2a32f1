"""T15 through running processes: what is made to exhaust a decoder costs one job ten seconds at most, the listener next
to no memory, and the next ECG nothing.

Seen to fail with a deadline of 60 s for the decoder: the progressive stream's job takes longer than ten.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from core.states import JobState, Reason
from dicom_node.scu import Outgoing, Verdict
from records.queries import EcgSummary
from records.tables import Job
from tests.faults.test_t15_bombs import progressive_bomb, with_a_million_elements
from tests.intake.image_objects import Format, build_image, ecg_like
from tests.intake.pdf_objects import build_pdf, encapsulate_pdf
from tests.intake.test_related_objects import outgoing
from tests.intake.waveform_objects import Group, beats, build_waveform
from tests.node import Node, running_node

GREY = Format("grey", "MONOCHROME2", 8, 8)
MOST_S = 10.0
MOST_BYTES = 512 << 20
ENDED_S = 240.0
pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    with running_node(tmp_path_factory.mktemp("node"), "work", "listen") as running:
        yield running


def _many_elements(folder: Path) -> Outgoing:
    one = outgoing(build_image(GREY, ecg_like(GREY)), folder)
    assert one.path is not None
    with_a_million_elements(one.path)
    return one


BOMBS: dict[str, Callable[[Path], Outgoing]] = {
    "ten thousand progressive scans": lambda folder: outgoing(progressive_bomb(), folder),
    "a million elements": _many_elements,
    "three million lines": lambda folder: outgoing(
        encapsulate_pdf(build_pdf(["0 0 m 300 200 l S\n" * 3_000_000])), folder
    ),
    "two million saves": lambda folder: outgoing(encapsulate_pdf(build_pdf(["q " * 2_000_000])), folder),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_costs_its_own_job_ten_seconds_at_most(
    name: str, node: Node, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    bomb, good = BOMBS[name](tmp_path), outgoing(build_waveform(Group(beats())), tmp_path)
    assert {outcome.verdict for outcome in node.push([bomb, good])} == {Verdict.DELIVERED}
    summary = node.wait_ended(bomb.sop_instance_uid, ENDED_S)
    assert summary.state is JobState.NOT_DIAGNOSTIC
    seconds, peak = _job_s(node, summary), _peak_memory(node.processes["listen"].pid)
    record_property("ended", f"{seconds:.1f} s, {summary.reason}; listener {peak >> 20} MB")
    assert seconds < MOST_S
    assert peak < MOST_BYTES
    answered = node.wait_ended(good.sop_instance_uid, ENDED_S)
    assert answered.state is JobState.DONE or (answered.reason or "").startswith(Reason.UNCERTAIN)


def _job_s(node: Node, summary: EcgSummary) -> float:
    """From the claim of an ECG's job to its end."""
    with node.database.reading() as session:
        (job,) = session.scalars(select(Job).where(Job.ecg_id == summary.ecg_id))
        assert job.started_at is not None
        assert job.ended_at is not None
        return (job.ended_at - job.started_at).total_seconds()


def _peak_memory(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))

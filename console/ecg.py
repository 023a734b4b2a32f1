"""One ECG: picture with heat map, probabilities, time line, reports, header, earlier ones, final reads, trail."""

import struct
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from itertools import islice

from starlette.exceptions import HTTPException
from starlette.responses import Response

from console.dicom_text import header_lines, report_lines
from console.visit import Visit
from console.words import Word, delivery_word, job_word, status_text
from core.errors import NotDiagnostic, Rejected
from core.files import result_name
from core.states import DeliveryState
from core.values import LABELS, Label
from dicom_node.headers import read_source
from records.audit_search import Search, search_trail
from records.one_ecg import JobWithAnswer, OneEcg, find_ecg, find_picture, find_report, find_thumbnail
from records.reads import record_read
from records.related import is_same_ecg
from records.tables import Classification, Report

_PNG_SIZE_END = 24
_GONE = "The file of this picture is gone from the data folder, or is not the one that was recorded."
_LONGEST_COMMENT = 2000
# A picture is part of a page: who was shown the page on record was shown it, too
_SHOWN_ON = {"picture": ("picture", "ecg"), "heat": ("heat", "ecg"), "thumbnail": ("thumbnail", "worklist", "ecg")}
_REPORT_NAMES = {"sr": "Structured Report", "heatmap": "Heat map"}


@dataclass(frozen=True, slots=True)
class Step:
    """A point of the time line."""

    at: datetime
    what: Word
    text: str


@dataclass(frozen=True, slots=True)
class View:
    """One judged picture with its size in pixels, None where there is none to show."""

    said: Classification
    width: int
    height: int
    has_picture: bool

    @property
    def bars(self) -> list[tuple[str, float]]:
        shares = [getattr(self.said, f"probability_{label}") for label in LABELS]
        return [(label.value, share) for label, share in zip(LABELS, shares, strict=True) if share is not None]

    @property
    def heat_box(self) -> tuple[float, float, float, float]:
        """Where the map lies in the picture: x, y, width, height in pixels."""
        area = {"left": 0.0, "top": 0.0, "right": 1.0, "bottom": 1.0} | dict(self.said.area or {})
        left, top = area["left"] * self.width, area["top"] * self.height
        return left, top, area["right"] * self.width - left, area["bottom"] * self.height - top


def show(visit: Visit) -> Response:
    """Everything that is known of one ECG."""
    found = _need(visit)
    visit.note_look("ecg", found.instance.id)
    latest = found.latest
    return visit.page(
        "ecg.html",
        title="ECG",
        ecg=found,
        instance=found.instance,
        is_same_ecg=is_same_ecg,
        latest=latest,
        views=[_view(visit, one) for one in latest.said] if latest else [],
        steps=time_line(found),
        labels=LABELS,
        events=search_trail(visit.database, Search(ecg_id=found.instance.id), limit=500).entries,
        report_names=_REPORT_NAMES,
        may_read=visit.may("cardiologist") and latest is not None and latest.job.state in ("done", "not_diagnostic"),
    )


def _need(visit: Visit) -> OneEcg:
    found = find_ecg(visit.database, _ecg_id(visit))
    if found is None:
        raise HTTPException(404, "There is no ECG with this number.")
    return found


def _ecg_id(visit: Visit) -> int:
    return _number(visit, "ecg_id")


def _number(visit: Visit, name: str) -> int:
    number = int(visit.request.path_params[name])
    if number >= 1 << 31:
        raise HTTPException(404, "There is no ECG with this number.")
    return number


def _view(visit: Visit, said: Classification) -> View:
    if said.picture_sha256 is None:
        return View(said, 0, 0, False)
    path = visit.settings.data_dir / result_name(said.picture_sha256)
    try:
        with path.open("rb") as file:
            head = file.read(_PNG_SIZE_END)
    except OSError:
        return View(said, 0, 0, False)
    # PNG (ISO/IEC 15948) 11.2.2: IHDR comes first; width and height stand at bytes 16 to 23
    width, height = struct.unpack(">II", head[16:_PNG_SIZE_END]) if len(head) == _PNG_SIZE_END else (0, 0)
    return View(said, width, height, width > 0 and height > 0)


def time_line(found: OneEcg) -> list[Step]:
    """From the association to the commitment, in the order in which it happened."""
    instance = found.instance
    came = f"from {instance.calling_ae_title} at {instance.peer_address}, association {instance.association_id}"
    steps = [Step(instance.received_at, Word("Received", "good"), f"{came}: answered {status_text(0)}")]
    for one in reversed(found.jobs):
        steps += _job_steps(one)
    steps += [Step(read.recorded_at, Word("Final read", "good"), f"by {read.reader}") for read in found.reads]
    if instance.file_deleted_at is not None:
        steps.append(Step(instance.file_deleted_at, Word("File deleted", "quiet"), "by the retention rule"))
    return sorted(steps, key=lambda step: step.at)


def _job_steps(one: JobWithAnswer) -> list[Step]:
    job = one.job
    which = "" if job.request == "first" else f"request {job.request}"
    steps = [Step(job.created_at, Word("Queued", "busy"), which + (" STAT" if job.stat else ""))]
    if job.started_at is not None:
        steps.append(Step(job.started_at, Word("Claimed by a worker", "busy"), f"attempt {job.attempt}"))
    if job.ended_at is not None:
        steps.append(Step(job.ended_at, job_word(job.state), job.reason or ""))
    for sent in one.deliveries:
        name = f"{_REPORT_NAMES.get(sent.kind, sent.kind)} to {sent.destination}"
        if sent.sent_at is not None:
            there = delivery_word(DeliveryState.SENT)
            steps.append(Step(sent.sent_at, there, f"{name}: {status_text(sent.last_status)}"))
        if sent.ended_at is not None:
            steps.append(
                Step(sent.ended_at, delivery_word(sent.state), f"{name}: {sent.last_error or ''}".rstrip(": "))
            )
    return steps


def show_header(visit: Visit) -> Response:
    """The received header as text; the pixels are not looked at."""
    found = _need(visit)
    visit.note_look("header", found.instance.id)
    try:
        source = read_source(visit.settings.data_dir / found.instance.path)
        lines, fault = list(islice(header_lines(source.dataset), 3000)), ""
    except NotDiagnostic as error:
        lines, fault = [], str(error)
    return visit.page("header.html", lines=lines, fault=fault)


def show_report(visit: Visit) -> Response:
    """A stored SR as text, or the header of a heat map."""
    report = _need_report(visit)
    visit.note_look("report", report.ecg_id)
    content = _stored(visit, report.sha256)
    return visit.page("report.html", report=report, lines=report_lines(content))


def _need_report(visit: Visit) -> Report:
    report = find_report(visit.database, _ecg_id(visit), _number(visit, "report_id"))
    if report is None:
        raise HTTPException(404, "This ECG has no such report.")
    return report


def send_picture(visit: Visit) -> Response:
    """The judged picture, as the worker stored it."""
    return _send_frame(visit, "picture")


def send_heat(visit: Visit) -> Response:
    """The bare heat map, as the worker stored it."""
    return _send_frame(visit, "heat")


def _send_frame(visit: Visit, what: str) -> Response:
    ecg_id = _ecg_id(visit)
    stored = find_picture(visit.database, ecg_id, _number(visit, "job_id"), _number(visit, "frame"))
    return _send(visit, ecg_id, getattr(stored, what) if stored else None, what)


def send_thumbnail(visit: Visit) -> Response:
    """The small picture for lists."""
    ecg_id = _ecg_id(visit)
    return _send(visit, ecg_id, find_thumbnail(visit.database, ecg_id), "thumbnail")


def _send(visit: Visit, ecg_id: int, name: str | None, what: str) -> Response:
    if name is None:
        raise HTTPException(404, "There is no such picture.")
    visit.note_look(what, ecg_id, unless=_SHOWN_ON[what])
    # Named by its content: a browser may keep it for the session, and what changed has another name
    headers = {"Cache-Control": "private, max-age=600", "Vary": "Cookie"}
    return Response(_stored(visit, name), media_type="image/png", headers=headers)


def _stored(visit: Visit, name: str) -> bytes:
    try:
        content = (visit.settings.data_dir / result_name(name)).read_bytes()
    except OSError as error:
        raise HTTPException(404, _GONE) from error
    if sha256(content).hexdigest() != name:
        raise HTTPException(404, _GONE)
    return content


def record_final_read(visit: Visit) -> Response:
    """A cardiologist agrees with the model, or says what it is instead."""
    found = _need(visit)
    latest = found.latest
    said = visit.form.get("label", "")
    if latest is None or said not in {*Label, "agree", "not_diagnostic"}:
        raise Rejected("choose a finding first")
    if str(latest.job.id) != visit.form.get("job"):
        raise Rejected(
            "the ECG was judged again since you opened this page; go back, reload and look at the new answer"
        )
    chosen = latest.label if said == "agree" else said
    label = Label(chosen) if chosen in set(Label) else None
    comment = visit.form.get("comment", "").replace("\0", "").strip()[:_LONGEST_COMMENT]
    record_read(visit.database, latest.job.id, label, comment, visit.person.name)
    return visit.back_to(f"/ecg/{found.instance.id}#reads")

"""The way of one ECG through the worker, a line a step: decode, classify, explain, report, record."""

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import structlog

from core.errors import NotDiagnostic
from core.files import sha256_of
from core.settings import Settings
from core.states import JobState, Reason, ReportKind
from core.values import Box, Judgement, ModelIdentity, Picture
from core.version import code_version
from dicom_node.codes import report_codes
from dicom_node.contexts import need_judged_class
from dicom_node.headers import SourceHeader, read_source
from dicom_node.heatmap import build_heatmap, heat_png, picture_png, thumbnail_png
from dicom_node.objects import ObjectReference
from dicom_node.report import BuiltObject, FrameFinding, ReportContext, build_sr
from model.classifier import Classifier
from records.database import Database
from records.jobs import ClaimedJob, fail_job, renew_lease
from records.reanalysis import EarlierReport, find_earlier_reports, is_superseded
from records.related import find_related
from records.results import Answer, FrameResult, Route, StoredReport, record_answer
from worker.decoder import Decoder
from worker.files import save_result
from worker.related import Turn, find_turn
from worker.routes import SR_CLASSES, Subject, choose_routes, find_routes

_log = structlog.get_logger(__name__)
WHOLE = Box(0.0, 0.0, 1.0, 1.0)


@dataclass(frozen=True, slots=True)
class Tools:
    """What a worker needs to judge ECGs, made once at its start."""

    settings: Settings
    database: Database
    decoder: Decoder
    classifier: Classifier
    shadow: Classifier | None = None
    shadow_card_sha256: str = ""
    aside: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "aside"))


@dataclass(frozen=True, slots=True)
class Prepared:
    """A job's pictures, or why there are none."""

    job: ClaimedJob
    pictures: tuple[Picture, ...]
    reason: NotDiagnostic | None
    decode_ms: float
    channels: tuple[tuple[int, int], ...] = ()


def judge(jobs: Sequence[ClaimedJob], tools: Tools) -> list[Prepared]:
    """Judge claimed jobs as one batch, by one model, and record each answer; what was judged.

    Raises what decoding, the network or a disk raises.
    """
    prepared = [_decode(job, tools) for job in jobs if not _superseded(job, tools)]
    began = time.perf_counter()
    judgements = iter(tools.classifier.classify([picture for one in prepared for picture in one.pictures]))
    classify_ms = (time.perf_counter() - began) * 1000
    routes = find_routes(tools.settings, tools.database)
    for one in prepared:
        mine = [next(judgements) for _ in one.pictures]
        renew_lease(tools.database, one.job, tools.settings.lease_s)
        taken = choose_routes(routes, tools.settings, _subject(one, mine))
        answer = _answer(one, mine, {"decode": one.decode_ms, "classify_batch": classify_ms}, taken, tools)
        record_answer(tools.database, one.job, answer, taken)
        ids = {"association": one.job.association_id, "ecg": one.job.ecg_id, "job": one.job.job_id}
        _log.info("answered", state=answer.state.value, **ids)
    return prepared


def _subject(prepared: Prepared, judgements: Sequence[Judgement]) -> Subject:
    job = prepared.job
    said = tuple(judgement for _picture, judgement in _frames(prepared, judgements)[0])
    return Subject(job.calling_ae_title, job.modality, job.study_description, said)


def _superseded(job: ClaimedJob, tools: Tools) -> bool:
    """End a re-analysis that would only repeat an answer: the model was changed back while it waited."""
    model = tools.classifier.identity
    if not is_superseded(tools.database, job.ecg_id, job.request, model.weights_sha256, model.calibration_version):
        return False
    why = f"{Reason.SUPERSEDED.value}: model {model.version}, now in service, has answered this ECG already"
    fail_job(tools.database, job, why)
    return True


def _decode(job: ClaimedJob, tools: Tools) -> Prepared:
    renew_lease(tools.database, job, tools.settings.lease_s)
    path = tools.settings.data_dir / job.path
    began = time.perf_counter()
    try:
        need_judged_class(job.sop_class_uid)
        _need_turn(job, tools)
        _need_unchanged(path, job.file_sha256)
        decoded = tools.decoder.pictures_of(path)
        return Prepared(job, decoded.pictures, None, (time.perf_counter() - began) * 1000, decoded.channels)
    except NotDiagnostic as reason:
        return Prepared(job, (), reason, (time.perf_counter() - began) * 1000)


def _need_turn(job: ClaimedJob, tools: Tools) -> None:
    if find_turn(job, tools.settings, tools.database) is Turn.SUPERSEDED:
        raise NotDiagnostic(Reason.SUPERSEDED, "the waveform of this ECG is judged in its place")


def _need_unchanged(path: Path, expected: str) -> None:
    if not path.exists():
        raise NotDiagnostic(Reason.DAMAGED, "the file is gone from the data folder")
    if sha256_of(path) != expected:
        raise NotDiagnostic(Reason.DAMAGED, "the file on disk is not the one that was received")


def _answer(
    prepared: Prepared,
    judgements: Sequence[Judgement],
    timings_ms: Mapping[str, float],
    routes: Sequence[Route],
    tools: Tools,
) -> Answer:
    model = tools.classifier.identity
    context = _report_context(prepared, tools)
    frames, reason = _frames(prepared, judgements)
    began = time.perf_counter()
    # Pictures are packed and written beside the reports: that is native code, which needs no turn of Python's
    storing = [tools.aside.submit(_store_frame, picture, judgement, tools) for picture, judgement in frames]
    reports = _build_reports(prepared, frames, model, context, routes, tools)
    stored = [_store_report(built, sr_class, tools) for built, sr_class in reports]
    results = [one.result() for one in storing]
    labelled = any(judgement.label for judgement in judgements)
    return Answer(
        state=JobState.DONE if labelled else JobState.NOT_DIAGNOSTIC,
        reason=None if labelled else reason,
        frames=results,
        reports=stored,
        model=model,
        code_version=code_version(),
        recorded_at=context.when,
        timings_ms={**timings_ms, "report": (time.perf_counter() - began) * 1000},
    )


def _frames(
    prepared: Prepared, judgements: Sequence[Judgement]
) -> tuple[list[tuple[Picture | None, Judgement]], str | None]:
    if prepared.reason is not None:
        nothing = Judgement(None, prepared.reason.reason, None, None, WHOLE, 0.0)
        return [(None, nothing)], str(prepared.reason)
    frames = list(zip(prepared.pictures, judgements, strict=True))
    reasons = [judgement.reason.value for judgement in judgements if judgement.reason]
    return list(frames), reasons[0] if reasons else None


def _report_context(prepared: Prepared, tools: Tools) -> ReportContext:
    settings = tools.settings
    return ReportContext(
        installation=settings.installation,
        ae_title=settings.ae_title,
        software_version=code_version(),
        content_sha256=prepared.job.content_sha256,
        when=datetime.now(UTC).replace(microsecond=0),
        codes=report_codes(settings),
        heatmap_strength=settings.heatmap_strength,
        channels=prepared.channels,
        same_ecg=tuple(
            (one.study_instance_uid, one.series_instance_uid, one.sop_class_uid, one.sop_instance_uid)
            for one in find_related(tools.database, prepared.job.ecg_id) or ()
        ),
    )


def _build_reports(
    prepared: Prepared,
    frames: Sequence[tuple[Picture | None, Judgement]],
    model: ModelIdentity,
    context: ReportContext,
    routes: Sequence[Route],
    tools: Tools,
) -> list[tuple[BuiltObject, str]]:
    judged = [(picture, judgement) for picture, judgement in frames if picture is not None and judgement.label]
    superseded = prepared.reason is not None and prepared.reason.reason is Reason.SUPERSEDED
    if superseded or (not judged and not tools.settings.report_not_diagnostic):
        return []  # of a superseded object nothing is said: the ECG has its report
    try:
        source: SourceHeader = read_source(tools.settings.data_dir / prepared.job.path)
    except NotDiagnostic:
        # Without a readable header nothing can be linked to the patient; the records still hold the answer
        return []
    heatmaps = [build_heatmap(source, picture, judgement, model, context) for picture, judgement in judged]
    findings = [FrameFinding(picture.frame if picture else None, judgement) for picture, judgement in frames]
    earlier = find_earlier_reports(tools.database, prepared.job.ecg_id, prepared.job.job_id)
    reports = [
        (build_sr(source, findings, heatmaps, model, context, sr_class, _predecessors(earlier, sr_class)), sr_class)
        for sr_class in _sr_classes(routes)
    ]
    # They leave in this order: what is waited for is the finding
    return [*reports, *((heatmap, "") for heatmap in heatmaps)]


def _predecessors(earlier: Sequence[EarlierReport], sr_class: str) -> list[ObjectReference]:
    """The SR that a re-analysis follows: the one of the same class, which went to the same destinations, if any."""
    alike = [one for one in earlier if one.sr_class == sr_class] or list(earlier)
    return [
        ObjectReference(one.study_instance_uid, one.series_instance_uid, one.sop_class_uid, one.sop_instance_uid)
        for one in alike[:1]
    ]


def _sr_classes(routes: Sequence[Route]) -> tuple[str, ...]:
    """Classes to build: those that destinations take; all of them while one has not told; one where none is set up."""
    wanted = {route.sr_class for route in routes if ReportKind.SR in route.kinds}
    if "" in wanted:
        return SR_CLASSES
    return tuple(sorted(wanted)) or SR_CLASSES[:1]


def _store_report(built: BuiltObject, sr_class: str, tools: Tools) -> StoredReport:
    return StoredReport(
        kind=built.kind,
        frame=0 if built.kind is ReportKind.SR else built.frame or 1,
        sr_class=sr_class,
        sop_class_uid=built.sop_class_uid,
        sop_instance_uid=built.sop_instance_uid,
        series_instance_uid=built.series_instance_uid,
        transfer_syntax_uid=built.transfer_syntax_uid,
        sha256=save_result(tools.settings, built.content),
        size_bytes=len(built.content),
    )


def _store_frame(picture: Picture | None, judgement: Judgement, tools: Tools) -> FrameResult:
    return FrameResult(
        frame=(picture.frame or 1) if picture else 1,
        label=judgement.label,
        reason=judgement.reason,
        probabilities=judgement.probabilities,
        quality=judgement.quality,
        area=judgement.area,
        input_sha256=sha256(picture.rgb.tobytes()).hexdigest() if picture else "",
        picture_sha256=save_result(tools.settings, picture_png(picture.rgb)) if picture else None,
        thumbnail_sha256=save_result(tools.settings, thumbnail_png(picture.rgb)) if picture else None,
        heat_sha256=save_result(tools.settings, heat_png(judgement.heat)) if judgement.heat is not None else None,
    )

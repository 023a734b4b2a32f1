"""The Structured Report: a TID 1500 Measurement Report with one TID 1501 group a frame. PS3.16, PS3.3 A.35."""

from collections.abc import Sequence

from pydicom.dataset import Dataset

from core.states import ReportKind
from core.values import ModelIdentity
from dicom_node import codes
from dicom_node.headers import SourceHeader, copy_patient_and_study, list_requests
from dicom_node.items import add_equipment, add_times, device_uid, finished, hierarchy
from dicom_node.objects import BuiltObject, FrameFinding, ObjectReference, ReportContext
from dicom_node.report_tree import content_tree
from dicom_node.scu import SR_CLASS_UIDS
from dicom_node.texts import MANUFACTURER, MODEL_NAME, SR_SERIES
from dicom_node.uids import derived_uid, result_uid

__all__ = ["BuiltObject", "FrameFinding", "ReportContext", "build_sr"]

SERIES_NUMBER = 9000


def build_sr(
    source: SourceHeader,
    findings: Sequence[FrameFinding],
    heatmaps: Sequence[BuiltObject],
    model: ModelIdentity,
    context: ReportContext,
    sr_class: str,
    predecessors: Sequence[ObjectReference] = (),
) -> BuiltObject:
    """An SR about one source object; `sr_class` is a key of SR_CLASS_UIDS. In a series of its own: viewers load one."""
    target = Dataset()
    copy_patient_and_study(source, target)
    target.SOPClassUID = SR_CLASS_UIDS[sr_class]
    target.SOPInstanceUID = result_uid("sr", source.sop_instance_uid, None, sr_class, model, context)
    target.SeriesInstanceUID = result_uid("sr-series", source.sop_instance_uid, None, sr_class, model, context)
    target.Modality, target.SeriesNumber, target.InstanceNumber = "SR", SERIES_NUMBER, 1
    target.SeriesDescription = SR_SERIES
    target.ReferencedPerformedProcedureStepSequence, target.PerformedProcedureCodeSequence = [], []
    add_times(target, context)
    add_equipment(target, source, model, context)
    target.CompletionFlag, target.VerificationFlag, target.PreliminaryFlag = "COMPLETE", "UNVERIFIED", "PRELIMINARY"
    target.AuthorObserverSequence = [_author(source, context)]
    _add_references(target, source, heatmaps, predecessors, context)
    target.CodingSchemeIdentificationSequence = [_own_scheme(context)]
    tree = content_tree(source, findings, heatmaps, model, context)
    for element in tree:
        target[element.tag] = element
    return finished(target, ReportKind.SR)


def _author(source: SourceHeader, context: ReportContext) -> Dataset:
    author = Dataset()
    author.ObserverType, author.StationName, author.DeviceUID = "DEV", context.ae_title, device_uid(context)
    author.Manufacturer, author.ManufacturerModelName = MANUFACTURER, MODEL_NAME
    author.InstitutionName, author.InstitutionCodeSequence = "", []
    return author


def _add_references(
    target: Dataset,
    source: SourceHeader,
    heatmaps: Sequence[BuiltObject],
    predecessors: Sequence[ObjectReference],
    context: ReportContext,
) -> None:
    evidence = [
        (source.study_instance_uid, source.series_instance_uid, source.sop_class_uid, source.sop_instance_uid),
        *map(_uids, heatmaps),
        *context.same_ecg,
    ]
    target.CurrentRequestedProcedureEvidenceSequence = hierarchy(evidence)
    if predecessors:
        target.PredecessorDocumentsSequence = hierarchy(map(_uids, predecessors))
    requests = list_requests(source)
    if requests:
        target.ReferencedRequestSequence = requests


def _uids(built: BuiltObject | ObjectReference) -> tuple[str, str, str, str]:
    return built.study_instance_uid, built.series_instance_uid, built.sop_class_uid, built.sop_instance_uid


def _own_scheme(context: ReportContext) -> Dataset:
    scheme = Dataset()
    scheme.CodingSchemeDesignator, scheme.CodingSchemeName = codes.OWN_SCHEME, codes.OWN_SCHEME_NAME
    scheme.CodingSchemeUID = derived_uid("coding-scheme", codes.OWN_SCHEME)
    scheme.CodingSchemeResponsibleOrganization = MANUFACTURER
    return scheme

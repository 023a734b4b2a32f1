"""Sequence items and attributes that both the SR and the heat map are made of."""

import io
from collections.abc import Iterable

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from core.states import ReportKind
from core.values import ModelIdentity
from dicom_node.codes import PROCESSING_EQUIPMENT, Code
from dicom_node.copying import copy_well_formed, keep_bytes
from dicom_node.headers import SourceHeader
from dicom_node.objects import BuiltObject, ReportContext
from dicom_node.texts import ALGORITHM, MANUFACTURER, MODEL_NAME, plain
from dicom_node.uids import derived_uid


def code_item(code: Code) -> Dataset:
    """A code sequence item. PS3.3 8.8."""
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = code.value, code.scheme, code.meaning
    return item


def reference(sop_class_uid: str, sop_instance_uid: str, frame: int | None = None) -> Dataset:
    """A referenced SOP item; `frame` where the object has several."""
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class_uid, sop_instance_uid
    if frame is not None:
        item.ReferencedFrameNumber = frame
    return item


def hierarchy(objects: Iterable[tuple[str, str, str, str]]) -> list[Dataset]:
    """Study, series, instance items of (study, series, class, instance) UIDs. PS3.3 C.17.2.1."""
    studies: dict[str, dict[str, list[Dataset]]] = {}
    for study, series, sop_class, instance in objects:
        studies.setdefault(study, {}).setdefault(series, []).append(reference(sop_class, instance))
    return [_study(study, series) for study, series in studies.items()]


def _study(study_uid: str, series: dict[str, list[Dataset]]) -> Dataset:
    item = Dataset()
    item.StudyInstanceUID = study_uid
    item.ReferencedSeriesSequence = []
    for series_uid, instances in series.items():
        inner = Dataset()
        inner.SeriesInstanceUID, inner.ReferencedSOPSequence = series_uid, instances
        item.ReferencedSeriesSequence.append(inner)
    return item


def device_uid(context: ReportContext) -> str:
    """UID of this installation as an observer."""
    return derived_uid(context.installation, "device")


def software_versions(model: ModelIdentity, context: ReportContext) -> list[str]:
    """What ran, for Software Versions (0018,1020); each at most 64 characters."""
    return [f"ecg-node {context.software_version}"[:64], plain(f"{model.name} {model.version}")[:64]]


def add_equipment(target: Dataset, source: SourceHeader, model: ModelIdentity, context: ReportContext) -> None:
    """General and contributing equipment: our own. PS3.3 C.7.5.1, C.12.1."""
    target.Manufacturer, target.ManufacturerModelName = MANUFACTURER, MODEL_NAME
    target.DeviceSerialNumber, target.StationName = context.installation[:64], context.ae_title
    target.SoftwareVersions = software_versions(model, context)
    copy_well_formed(source.dataset, target, ["InstitutionName"])
    item = Dataset()
    item.PurposeOfReferenceCodeSequence = [code_item(PROCESSING_EQUIPMENT)]
    item.Manufacturer, item.ManufacturerModelName = MANUFACTURER, MODEL_NAME
    item.DeviceSerialNumber, item.StationName = context.installation[:64], context.ae_title
    item.SoftwareVersions = software_versions(model, context)
    item.ContributionDescription = f"{ALGORITHM} and class activation map"
    target.ContributingEquipmentSequence = [item]


def add_times(target: Dataset, context: ReportContext, *prefixes: str) -> None:
    """Date and time of the stored result, in UTC as Timezone Offset From UTC says."""
    for prefix in ("InstanceCreation", "Series", "Content", *prefixes):
        setattr(target, f"{prefix}Date", context.when.strftime("%Y%m%d"))
        setattr(target, f"{prefix}Time", context.when.strftime("%H%M%S"))


def finished(target: Dataset, kind: ReportKind, frame: int | None = None) -> BuiltObject:
    """The object as a Part 10 file."""
    target.file_meta = FileMetaDataset()
    target.file_meta.MediaStorageSOPClassUID = target.SOPClassUID
    target.file_meta.MediaStorageSOPInstanceUID = target.SOPInstanceUID
    target.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    keep_bytes(target)
    file = io.BytesIO()
    target.save_as(file, enforce_file_format=True)
    return BuiltObject(
        kind=kind,
        sop_class_uid=str(target.SOPClassUID),
        sop_instance_uid=str(target.SOPInstanceUID),
        series_instance_uid=str(target.SeriesInstanceUID),
        study_instance_uid=str(target.StudyInstanceUID),
        transfer_syntax_uid=str(ExplicitVRLittleEndian),
        frame=frame,
        content=file.getvalue(),
    )

"""The source's header, and what results copy of it: patient, study and request, byte for byte."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pydicom import dcmread
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError

from core.errors import NotDiagnostic
from core.states import Reason
from dicom_node.contexts import ObjectKind, kind_of

# PS3.3 C.7.1.1, C.7.1.3 (patient, clinical trial) and C.7.2.1 (study); type 2 ones are written empty when missing
PATIENT = [
    "PatientName",
    "PatientID",
    "IssuerOfPatientID",
    "IssuerOfPatientIDQualifiersSequence",
    "TypeOfPatientID",
    "PatientBirthDate",
    "PatientBirthTime",
    "PatientSex",
    "OtherPatientIDsSequence",
    "OtherPatientNames",
    "EthnicGroup",
    "PatientComments",
    "QualityControlSubject",
    "PatientIdentityRemoved",
    "DeidentificationMethod",
    "DeidentificationMethodCodeSequence",
    "PatientSpeciesDescription",
    "PatientSpeciesCodeSequence",
    "PatientBreedDescription",
    "PatientBreedCodeSequence",
    "BreedRegistrationSequence",
    "ResponsiblePerson",
    "ResponsibleOrganization",
    "ClinicalTrialSponsorName",
    "ClinicalTrialProtocolID",
    "ClinicalTrialProtocolName",
    "ClinicalTrialSiteID",
    "ClinicalTrialSiteName",
    "ClinicalTrialSubjectID",
    "ClinicalTrialSubjectReadingID",
]
STUDY = [
    "StudyInstanceUID",
    "StudyDate",
    "StudyTime",
    "ReferringPhysicianName",
    "StudyID",
    "AccessionNumber",
    "IssuerOfAccessionNumberSequence",
    "StudyDescription",
    "PhysiciansOfRecord",
    "NameOfPhysiciansReadingStudy",
    "ProcedureCodeSequence",
    "ReferencedStudySequence",
    "ConsultingPhysicianName",
    "PatientAge",
    "PatientSize",
    "PatientWeight",
    "AdmissionID",
    "AdmittingDiagnosesDescription",
    "LongitudinalTemporalInformationModified",
]
TYPE_2 = [
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "StudyTime",
    "AccessionNumber",
    "ReferringPhysicianName",
    "StudyID",
]
LOSSY = ("LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod")
_BULK_BYTES = 65536  # larger values stay in the file: the header needs none of them
_TEXT_VRS = frozenset(
    ["AE", "AS", "CS", "DA", "DS", "DT", "IS", "LO", "LT", "PN", "SH", "ST", "TM", "UC", "UI", "UR", "UT"]
)
_STRING_PADDING = {"UI": b"\0"}


@dataclass(frozen=True, slots=True, eq=False)
class SourceHeader:
    """A received object's header, without its pixels."""

    dataset: Dataset
    sop_class_uid: str
    sop_instance_uid: str
    series_instance_uid: str
    study_instance_uid: str

    @property
    def kind(self) -> ObjectKind | None:
        return kind_of(self.sop_class_uid)

    def text(self, keyword: str) -> str:
        """A value as text; empty when it is missing."""
        return str(self.dataset.get(keyword) or "")


def read_source(path: Path) -> SourceHeader:
    """Read a kept file's header. Raises NotDiagnostic when it cannot be read."""
    try:
        dataset = dcmread(path, stop_before_pixels=True, defer_size=_BULK_BYTES)
        return SourceHeader(
            dataset,
            str(dataset.SOPClassUID),
            str(dataset.SOPInstanceUID),
            str(dataset.SeriesInstanceUID),
            str(dataset.StudyInstanceUID),
        )
    except (InvalidDicomError, OSError, EOFError, AttributeError, ValueError, KeyError, NotImplementedError) as error:
        raise NotDiagnostic(Reason.DAMAGED, "its header cannot be read") from error


def copy_patient_and_study(source: SourceHeader, target: Dataset) -> None:
    """Copy who and what was examined, with the source's character set and its bytes; nothing is ever invented."""
    copy_elements(source, target, ["SpecificCharacterSet", *PATIENT, *STUDY])
    for keyword in TYPE_2:
        if keyword not in target:
            setattr(target, keyword, "")


def copy_elements(source: SourceHeader, target: Dataset, keywords: Iterable[str]) -> None:
    """Copy elements; texts keep their bytes, whether they can be decoded or not."""
    for keyword in keywords:
        tag = tag_for_keyword(keyword)
        if tag is None or tag not in source.dataset:
            continue
        element = source.dataset.get_item(tag)
        if isinstance(element, RawDataElement):
            target[tag] = _readdressed(element)
        elif element is not None:
            target[tag] = element


def _readdressed(element: RawDataElement) -> object:
    """A raw text element as explicit VR little endian would hold it; other VRs are decoded and encoded again."""
    vr = element.VR if element.VR not in (None, "UN") else dictionary_VR(element.tag)
    value = element.value or b""
    if vr not in _TEXT_VRS:
        return element
    value += _STRING_PADDING.get(str(vr), b" ") * (len(value) % 2)
    return element._replace(VR=vr, length=len(value), value=value, is_implicit_VR=False, is_little_endian=True)


def first_request(source: SourceHeader) -> Dataset | None:
    """What the source says of the order it answers, for Referenced Request Sequence. PS3.3 C.17.2.1."""
    items = source.dataset.get("RequestAttributesSequence") or []
    if not items:
        return None
    asked, request = items[0], Dataset()
    request.StudyInstanceUID = source.study_instance_uid
    request.ReferencedStudySequence = []
    request.AccessionNumber = asked.get("AccessionNumber") or source.dataset.get("AccessionNumber") or ""
    request.PlacerOrderNumberImagingServiceRequest = asked.get("PlacerOrderNumberImagingServiceRequest") or ""
    request.FillerOrderNumberImagingServiceRequest = asked.get("FillerOrderNumberImagingServiceRequest") or ""
    request.RequestedProcedureID = asked.get("RequestedProcedureID") or ""
    request.RequestedProcedureDescription = asked.get("RequestedProcedureDescription") or ""
    request.RequestedProcedureCodeSequence = asked.get("RequestedProcedureCodeSequence") or []
    return request

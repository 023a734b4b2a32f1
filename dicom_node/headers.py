"""The source's header, and what results copy of it: patient, study and request, byte for byte."""

from dataclasses import dataclass
from pathlib import Path

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError

from core.errors import NotDiagnostic
from core.states import Reason
from dicom_node.contexts import ObjectKind, kind_of
from dicom_node.copying import copy_elements, copy_well_formed
from dicom_node.texts import DEIDENTIFICATION_NOT_STATED
from dicom_node.wellformed import has_value

# Who was examined, and which study it is: always as the source has it, well-formed or not
IDENTITY = [
    "SpecificCharacterSet",
    "PatientName",
    "PatientID",
    "IssuerOfPatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyInstanceUID",
    "StudyDate",
    "StudyTime",
    "ReferringPhysicianName",
    "StudyID",
    "AccessionNumber",
]
# PS3.3 C.7.1.1 (patient) and C.7.2 (study): optional, so left out where they are not well-formed
OPTIONAL = [
    "IssuerOfPatientIDQualifiersSequence",
    "TypeOfPatientID",
    "PatientBirthTime",
    "OtherPatientIDsSequence",
    "OtherPatientNames",
    "EthnicGroup",
    "PatientComments",
    "QualityControlSubject",
    "PatientSpeciesDescription",
    "PatientSpeciesCodeSequence",
    "PatientBreedDescription",
    "PatientBreedCodeSequence",
    "BreedRegistrationSequence",
    "ResponsiblePerson",
    "ResponsibleOrganization",
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
# PS3.3 C.7.1.3: the type 1 ones, of which the subject has one of two, and the type 2 ones
TRIAL = ["ClinicalTrialSponsorName", "ClinicalTrialProtocolID"]
TRIAL_SUBJECT = ["ClinicalTrialSubjectID", "ClinicalTrialSubjectReadingID"]
TRIAL_TYPE_2 = ["ClinicalTrialProtocolName", "ClinicalTrialSiteID", "ClinicalTrialSiteName"]
# PS3.3 C.17.2 Referenced Request Sequence
REQUEST = [
    "AccessionNumber",
    "PlacerOrderNumberImagingServiceRequest",
    "FillerOrderNumberImagingServiceRequest",
    "RequestedProcedureID",
    "RequestedProcedureDescription",
    "RequestedProcedureCodeSequence",
]
# PS3.3 Table 10-9 Request Attributes Macro
REQUEST_ATTRIBUTES = [
    "AccessionNumber",
    "RequestedProcedureID",
    "RequestedProcedureDescription",
    "RequestedProcedureCodeSequence",
    "ScheduledProcedureStepID",
    "ScheduledProcedureStepDescription",
    "ScheduledProtocolCodeSequence",
    "ReasonForTheRequestedProcedure",
]
LOSSY = ("LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod")
_BULK_BYTES = 65536  # larger values stay in the file: the header needs none of them


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
    copy_elements(source.dataset, target, IDENTITY)
    copy_well_formed(source.dataset, target, OPTIONAL)
    for keyword in TYPE_2:
        if keyword not in target:
            setattr(target, keyword, "")
    _copy_trial(source.dataset, target)
    _copy_deidentification(source.dataset, target)


def _copy_trial(source: Dataset, target: Dataset) -> None:
    """All of the clinical trial or none of it: half of it names no trial."""
    trial = Dataset()
    copy_well_formed(source, trial, [*TRIAL, *TRIAL_SUBJECT, *TRIAL_TYPE_2])
    if not all(has_value(trial, one) for one in TRIAL) or not any(has_value(trial, one) for one in TRIAL_SUBJECT):
        return
    for keyword in TRIAL_TYPE_2:
        if keyword not in trial:
            setattr(trial, keyword, "")
    copy_elements(trial, target, [*TRIAL, *TRIAL_SUBJECT, *TRIAL_TYPE_2])


def _copy_deidentification(source: Dataset, target: Dataset) -> None:
    copy_well_formed(source, target, ["PatientIdentityRemoved"])
    if target.get("PatientIdentityRemoved") != "YES":
        return
    copy_well_formed(source, target, ["DeidentificationMethod", "DeidentificationMethodCodeSequence"])
    if not target.get("DeidentificationMethod") and not target.get("DeidentificationMethodCodeSequence"):
        target.DeidentificationMethod = DEIDENTIFICATION_NOT_STATED


def list_requests(source: SourceHeader) -> list[Dataset]:
    """What the source says of the orders it answers, for Referenced Request Sequence. PS3.3 C.17.2."""
    return [_request(source, asked) for asked in _asked(source)]


def _request(source: SourceHeader, asked: Dataset) -> Dataset:
    request = Dataset()
    request.StudyInstanceUID, request.ReferencedStudySequence = source.study_instance_uid, []
    for keyword in REQUEST:
        setattr(request, keyword, [] if keyword.endswith("Sequence") else "")
    if not has_value(asked, "AccessionNumber"):
        copy_well_formed(source.dataset, request, ["AccessionNumber"])
    copy_well_formed(asked, request, [one for one in REQUEST if has_value(asked, one)])
    return request


def list_request_attributes(source: SourceHeader) -> list[Dataset]:
    """The source's Request Attributes Sequence, as far as it is well-formed."""
    copies = []
    for asked in _asked(source):
        copied = Dataset()
        copy_well_formed(asked, copied, [one for one in REQUEST_ATTRIBUTES if has_value(asked, one)])
        # Both are required where the procedure was scheduled, which is what the sequence says
        if has_value(copied, "RequestedProcedureID") and has_value(copied, "ScheduledProcedureStepID"):
            copies.append(copied)
    return copies


def _asked(source: SourceHeader) -> list[Dataset]:
    items = source.dataset.get("RequestAttributesSequence") or []
    return [item for item in items if any(has_value(item, keyword) for keyword in REQUEST)]

"""Coded concepts of the reports. The finding codes are a choice that a clinician has to sign."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from core.settings import Settings
from core.values import Label


@dataclass(frozen=True, slots=True)
class Code:
    """A coded concept. PS3.3 8.8."""

    value: str
    scheme: str
    meaning: str


def dcm(value: str, meaning: str) -> Code:
    return Code(value, "DCM", meaning)


def sct(value: str, meaning: str) -> Code:
    return Code(value, "SCT", meaning)


OWN_SCHEME = "99ECGNODE"
OWN_SCHEME_NAME = "ECG node local codes"

EKG_STUDY = Code("11524-6", "LN", "EKG study")
IMAGING_MEASUREMENT_REPORT = dcm("126000", "Imaging Measurement Report")
TITLES = {"ekg_study": EKG_STUDY, "imaging_measurement_report": IMAGING_MEASUREMENT_REPORT}

LANGUAGE = dcm("121049", "Language of Content Item and Descendants")
ENGLISH = Code("en", "RFC5646", "English")
OBSERVER_TYPE, DEVICE = dcm("121005", "Observer Type"), dcm("121007", "Device")
DEVICE_UID = dcm("121012", "Device Observer UID")
DEVICE_NAME = dcm("121013", "Device Observer Name")
DEVICE_MANUFACTURER = dcm("121014", "Device Observer Manufacturer")
DEVICE_MODEL = dcm("121015", "Device Observer Model Name")
DEVICE_SERIAL = dcm("121016", "Device Observer Serial Number")
PROCEDURE_REPORTED = dcm("121058", "Procedure reported")
TWELVE_LEAD_ECG = sct("268400002", "12-Lead ECG")
ECG_PROCEDURE = sct("29303009", "Electrocardiographic procedure")
IMAGE_LIBRARY, IMAGE_LIBRARY_GROUP = dcm("111028", "Image Library"), dcm("126200", "Image Library Group")
SOURCE = sct("260753009", "Source")
MODALITY, ECG, PHOTOGRAPH = (
    dcm("121139", "Modality"),
    dcm("ECG", "Electrocardiography"),
    dcm("XC", "External-camera Photography"),
)
MEASUREMENTS, MEASUREMENT_GROUP = dcm("126010", "Imaging Measurements"), dcm("125007", "Measurement Group")
TRACKING_ID, TRACKING_UID = dcm("112039", "Tracking Identifier"), dcm("112040", "Tracking Unique Identifier")
FINDING = dcm("121071", "Finding")
FINDING_SITE, HEART = sct("363698007", "Finding Site"), sct("80891009", "Heart")
ALGORITHM_NAME = dcm("111001", "Algorithm Name")
ALGORITHM_PARAMETERS = dcm("111002", "Algorithm Parameters")
ALGORITHM_VERSION = dcm("111003", "Algorithm Version")
ALGORITHM_FAMILY = dcm("111000", "Algorithm Family")
ARTIFICIAL_INTELLIGENCE = dcm("123110", "Artificial Intelligence")
VISUAL_EXPLANATION = dcm("130401", "Visual explanation")
CERTAINTY = dcm("111012", "Certainty of Finding")
PERCENT = Code("%", "UCUM", "Percent")
SOURCE_OF_MEASUREMENT = dcm("121112", "Source of Measurement")
QUALITATIVE = Code("C0034375", "UMLS", "Qualitative Evaluations")
OVERALL_FINDING = Code("18810-2", "LN", "ECG overall finding")
NORMAL_ECG, ABNORMAL_ECG = sct("164854000", "Normal ECG"), sct("102594003", "Abnormal ECG")
NON_DIAGNOSTIC_ECG = dcm("122753", "Non-diagnostic ECG")
SAME_ECG = Code("SAME_ECG", OWN_SCHEME, "Other object of the same ECG")
SUMMARY, COMMENT = dcm("121111", "Summary"), dcm("121106", "Comment")
PROCESSING_EQUIPMENT = dcm("109102", "Processing Equipment")
GRAD_CAM = dcm("130403", "Gradient-weighted class activation")
SOURCE_IMAGE = dcm("121322", "Source image for image processing operation")

FINDINGS: dict[Label, Code] = {
    Label.NORMAL: NORMAL_ECG,
    Label.ABNORMAL_HEARTBEAT: ABNORMAL_ECG,
    Label.MYOCARDIAL_INFARCTION: sct("22298006", "Myocardial infarction"),
}
# Own names for the three probabilities: viewers hide the children of a NUM, and three lines that are all called
# "Certainty of Finding" would be unsafe
PROBABILITIES: dict[Label, Code] = {
    Label.NORMAL: Code("PROB_NORMAL", OWN_SCHEME, "Probability of normal ECG"),
    Label.ABNORMAL_HEARTBEAT: Code("PROB_ABNBEAT", OWN_SCHEME, "Probability of abnormal heartbeat"),
    Label.MYOCARDIAL_INFARCTION: Code("PROB_MI", OWN_SCHEME, "Probability of myocardial infarction"),
}


@dataclass(frozen=True, slots=True)
class ReportCodes:
    """The codes that a site may choose: the report's title, and what each label is called as finding and overall."""

    title: Code = EKG_STUDY
    findings: Mapping[Label, Code] = field(default_factory=lambda: FINDINGS)
    overall_normal: Code = NORMAL_ECG
    overall_abnormal: Code = ABNORMAL_ECG

    @property
    def fingerprint(self) -> str:
        """Part of a report's UID: other codes make another report."""
        chosen = [self.title, *(self.findings[label] for label in Label), self.overall_normal, self.overall_abnormal]
        return ";".join(f"{code.scheme}:{code.value}:{code.meaning}" for code in chosen)


def report_codes(settings: Settings) -> ReportCodes:
    """The defaults, with what the site has set in their place."""
    chosen = {use: Code(code.value, code.scheme, code.meaning) for use, code in settings.codes.items()}
    return ReportCodes(
        title=chosen.get("title", TITLES[settings.sr_title]),
        findings={label: chosen.get(label.value, FINDINGS[label]) for label in Label},
        overall_normal=chosen.get("overall_normal", NORMAL_ECG),
        overall_abnormal=chosen.get("overall_abnormal", ABNORMAL_ECG),
    )

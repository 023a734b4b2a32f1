"""Where results go: the PACS that get them, and the rules that say which results each gets."""

import fnmatch
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from core.values import Label

# PS3.8 9.3.2: 16 characters of ISO 646:1990-Basic G0 without backslash and control characters
AeTitle = Annotated[str, StringConstraints(pattern=r"^[ -\[\]-~]{1,16}$", strip_whitespace=True)]
SrClass = Literal["auto", "comprehensive3d", "comprehensive", "enhanced"]
Results = Literal["sr", "heatmap", "both"]
TransferSyntax = Literal["uncompressed", "explicit", "implicit", "rle", "jpegls", "jpeg2000"]
NOT_DIAGNOSTIC = "not_diagnostic"
Answered = Literal["normal", "abnormal_heartbeat", "myocardial_infarction", "not_diagnostic"]
Pattern = Annotated[str, StringConstraints(min_length=1)]
Share = Annotated[float, Field(ge=0, le=1)]


class Rule(BaseModel):
    """One reason to send results: everything that is set must hold; an ECG that no rule fits is not sent there."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    calling_ae_titles: tuple[Pattern, ...] = Field((), description="AE titles the ECG came from; * and ? as in files.")
    modalities: tuple[Pattern, ...] = Field((), description="Modality (0008,0060) of the ECG: ECG, OT, XC, DOC, ...")
    labels: tuple[Answered, ...] = Field((), description="What was said of any frame; not_diagnostic: no label.")
    probability: dict[Label, Share] = Field({}, description="Least probability of each of these labels, in a frame.")
    study_descriptions: tuple[Pattern, ...] = Field((), description="Study descriptions; * and ?, small as capital.")
    send: Results | None = Field(None, description="Which results; empty: what the destination says.")

    @model_validator(mode="after")
    def _can_hold(self) -> "Rule":
        if self.model_fields_set <= {"send"}:
            raise ValueError("a rule without a condition holds always; set `send` of the destination instead")
        if sum(self.probability.values()) > 1:
            raise ValueError("probability: the three add up to 1, so these can never hold together")
        if self.probability and self.labels and set(self.labels) == {NOT_DIAGNOSTIC}:
            raise ValueError("probability: what cannot be judged is not sent by its probabilities; take one away")
        if self.send == "heatmap" and self.labels and set(self.labels) == {NOT_DIAGNOSTIC}:
            raise ValueError("send: what cannot be judged has no heat map, so nothing would ever be sent")
        for name in ("calling_ae_titles", "modalities"):
            for pattern in getattr(self, name):
                if len(pattern.replace("*", "")) > 16:
                    raise ValueError(f"{name}: {pattern} is longer than the 16 characters that it can have")
        return self


class Destination(BaseModel):
    """A PACS that gets results."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    host: str = Field(description="Host name or address of the PACS.")
    port: int = Field(ge=1, le=65535, description="Its DICOM port.")
    ae_title: AeTitle = Field(description="Its AE title.")
    calling_ae_title: AeTitle | None = Field(None, description="Our AE title towards it; empty: `ae_title`.")
    sr_class: SrClass = Field("auto", description="SR storage class; auto asks the PACS once and keeps the answer.")
    send: Results = Field("both", description="Which results go there.")
    commitment: bool = Field(False, description="Ask it for storage commitment of each result.")
    when: tuple[Rule, ...] = Field((), description="Rules: it gets an ECG's results when one holds; none: always.")
    paused: bool = Field(False, description="Results wait and are not sent, until this is taken away.")
    transfer_syntax: TransferSyntax = Field(
        "uncompressed",
        description="What is offered: both little endians, one of them, or heat maps without loss as well.",
    )
    tls: bool = Field(False, description="TLS 1.2 or newer, as PS3.15's profile of BCP 195 asks.")
    tls_ca_file: Path | None = Field(None, description="Certificates that the PACS is checked with; empty: the usual.")
    tls_certificate_file: Path | None = Field(None, description="Our own certificate, where the PACS asks for one.")
    tls_key_file: Path | None = Field(None, description="The key of our certificate.")
    tls_server_name: str = Field("", description="Name in the PACS's certificate; empty: `host`.")

    @model_validator(mode="after")
    def _tls_is_whole(self) -> "Destination":
        if (self.tls_certificate_file is None) != (self.tls_key_file is None):
            raise ValueError("tls_certificate_file and tls_key_file belong together")
        if not self.tls and (self.tls_ca_file or self.tls_certificate_file or self.tls_server_name):
            raise ValueError("tls: the other tls_ settings do nothing without it; set tls = true")
        return self

    @model_validator(mode="after")
    def _rules_can_send(self) -> "Destination":
        for number, rule in enumerate(self.when, start=1):
            only_unjudged = bool(rule.labels) and set(rule.labels) == {NOT_DIAGNOSTIC}
            if only_unjudged and (rule.send or self.send) == "heatmap":
                raise ValueError(f"when, rule {number}: what cannot be judged has no heat map")
        return self


def matches(patterns: tuple[str, ...], text: str) -> bool:
    """Whether one of the patterns fits, small as capital; no patterns fit everything."""
    return not patterns or any(fnmatch.fnmatchcase(text.casefold(), one.casefold()) for one in patterns)


def find_conflict(
    destinations: dict[str, Destination], callers: list[str] | None, report_not_diagnostic: bool
) -> str | None:
    """What of several destinations can never work, by name; `callers` are all who may send, None where anybody may."""
    seen: dict[tuple[str, int, str, str | None], str] = {}
    for name, one in destinations.items():
        key = (one.host, one.port, one.ae_title, one.calling_ae_title)
        if key in seen:
            return f"{seen[key]} and {name} are the same PACS; make them one destination with several rules"
        seen[key] = name
        for number, rule in enumerate(one.when, start=1):
            where = f"{name}.when, rule {number}"
            if not report_not_diagnostic and rule.labels and set(rule.labels) == {NOT_DIAGNOSTIC}:
                return f"{where}: report_not_diagnostic is off, so nothing would ever be sent"
            if callers is not None and not any(matches(rule.calling_ae_titles, caller) for caller in callers):
                return f"{where}: no caller has such an AE title; add it to callers or correct calling_ae_titles"
    return None

"""Everything that a site may set, read once at start and handed in.

Sources, strongest first: environment (`ECG_NODE_...`), files named by `ECG_NODE_..._FILE` (secrets), the TOML file
named by `ECG_NODE_CONFIG`, the defaults below. An unknown or impossible setting is refused at start, by name.
"""

import os
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    HttpUrl,
    SecretStr,
    StringConstraints,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from core.destinations import AeTitle, Destination, SrClass, find_conflict
from core.errors import BadSettings
from core.secrets import find_weak, holds_secrets, is_open_to_others
from core.states import AlertKind

__all__ = ["AeTitle", "Destination", "Settings", "SrClass", "read_settings"]

PREFIX = "ECG_NODE_"
CONFIG_VARIABLE = "ECG_NODE_CONFIG"
NESTED = "__"


class ReportCode(BaseModel):
    """A coded concept that a site's clinicians chose for reports. PS3.3 8.8."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    value: Annotated[str, StringConstraints(pattern=r"^[!-\[\]-}]{1,16}$")] = Field(description="Code value.")
    scheme: Annotated[str, StringConstraints(pattern=r"^[!-\[\]-}]{1,16}$")] = Field(
        description="Coding scheme designator: SCT, LN, DCM, ..."
    )
    meaning: Annotated[str, StringConstraints(pattern=r"^[ -\[\]-}]{1,64}$")] = Field(
        description="Code meaning in plain ASCII, as viewers show it."
    )


CodeUse = Literal[
    "title", "normal", "abnormal_heartbeat", "myocardial_infarction", "overall_normal", "overall_abnormal"
]


def _plain_hex(text: str) -> str:
    return text.replace(":", "").lower()


Fingerprint = Annotated[str, BeforeValidator(_plain_hex), StringConstraints(pattern=r"^[0-9a-f]{64}$")]
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


class Caller(BaseModel):
    """A modality or PACS that may send to the node."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    ae_titles: tuple[AeTitle, ...] = Field(description="Every calling AE title that this peer uses.")
    addresses: tuple[str, ...] = Field((), description="Addresses or networks it may call from; empty: any.")
    certificates: tuple[Fingerprint, ...] = Field(
        (), description="SHA-256 fingerprints of the TLS certificates that it shows; empty: any that the CA signed."
    )
    stat: bool = Field(False, description="Everything from this peer is judged first.")
    host: str = Field("", description="Where it listens for answers to storage commitment; empty: told as it asks.")
    port: int = Field(0, ge=0, le=65535, description="Its port there.")
    tls: bool | None = Field(
        None, description="TLS towards it, with the listener's certificate; empty: where the listener takes only TLS."
    )
    tls_ca_file: Path | None = Field(
        None, description="Certificates that it is checked with there; empty: the node's `tls_ca_file`."
    )
    tls_server_name: str = Field("", description="Name in its certificate there; empty: `host`.")

    @model_validator(mode="after")
    def _host_and_port_belong_together(self) -> "Caller":
        if bool(self.host) != bool(self.port):
            raise ValueError("host and port: set both or none")
        if not self.host and (self.tls is not None or self.tls_ca_file or self.tls_server_name):
            raise ValueError("tls: it is about the way to host and port; set these, too")
        if self.tls is False and (self.tls_ca_file or self.tls_server_name):
            raise ValueError("tls: tls_ca_file and tls_server_name do nothing without it")
        return self


class Webhook(BaseModel):
    """A web service that is told of alerts; each message is signed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: HttpUrl = Field(description="Where alerts are posted; https, or http on this machine.")
    secret_file: Path = Field(description="File of the secret that signs each message (HMAC-SHA-256).")
    ca_file: Path | None = Field(None, description="Certificates that its server's is checked with; empty: the usual.")
    patient_data: bool = Field(False, description="Send the patient's name and id, too; else only ids of the ECG.")
    alerts: tuple[AlertKind, ...] = Field(tuple(AlertKind), description="Which alerts it is told of.")

    @model_validator(mode="after")
    def _plain_http_stays_here(self) -> "Webhook":
        if self.url.scheme != "https" and self.url.host not in {"127.0.0.1", "[::1]", "localhost"}:
            raise ValueError("url: plain http is possible to this machine only; use https")
        return self


class Hl7Receiver(BaseModel):
    """A receiver of HL7 v2 messages over MLLP that is told of alerts. The messages hold patient data."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    host: str = Field(description="Host name or address.")
    port: int = Field(ge=1, le=65535, description="Its MLLP port.")
    application: str = Field("", description="Receiving application, MSH-5.")
    facility: str = Field("", description="Receiving facility, MSH-6.")
    processing_id: Literal["P", "T", "D"] = Field("P", description="MSH-11: production, training or debugging.")
    ca_file: Path | None = Field(None, description="Use TLS, and check its certificate with these.")
    certificate_file: Path | None = Field(None, description="Our own certificate for TLS, where it asks for one.")
    key_file: Path | None = Field(None, description="The key of our certificate.")
    alerts: tuple[AlertKind, ...] = Field(
        (AlertKind.SUSPECTED_INFARCTION,), description="Which alerts it is told of; each is about an ECG."
    )

    @model_validator(mode="after")
    def _certificate_has_a_key(self) -> "Hl7Receiver":
        if (self.certificate_file is None) != (self.key_file is None):
            raise ValueError("certificate_file and key_file belong together")
        if self.certificate_file and not self.ca_file:
            raise ValueError("certificate_file: set ca_file, too, so that the receiver is checked")
        return self


class Settings(BaseSettings):
    """The node's settings; each is documented in docs/settings.md."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_nested_delimiter=NESTED, extra="forbid", frozen=True, hide_input_in_errors=True
    )

    # Places
    data_dir: Path = Field(Path("data"), description="Received files, results, the SQLite database and keys.")
    database_url: SecretStr = Field(
        SecretStr(""), description="SQLAlchemy address of the audit database; empty: SQLite in the data folder."
    )
    broker_url: SecretStr = Field(
        SecretStr(""), description="Redis or Valkey address; empty: the embedded broker that `ecg-node run` starts."
    )
    trail_key: SecretStr = Field(
        SecretStr(""), description="Key of the trail's hash chain; empty: made once, in the data folder."
    )
    installation: Annotated[str, StringConstraints(pattern=r"^[ -\[\]-}]{1,64}$")] = Field(
        "ecg-node", description="Name of this installation in plain ASCII; part of its UIDs and in its reports."
    )
    model_dir: Path | None = Field(
        None, description="Folder of the model to start with, until one is released; empty: the one that is shipped."
    )
    models_dir: Path | None = Field(
        None, description="Folder of models by sha256, for `ecg-node model release`; empty: models in the data folder."
    )
    demo: bool = Field(False, description="Open to every caller, on loopback only. Never in production.")

    # Receiving
    ae_title: AeTitle = Field("ECGNODE", description="Our AE title.")
    more_ae_titles: tuple[AeTitle, ...] = Field((), description="Further AE titles that the node answers to.")
    listen_host: str = Field("127.0.0.1", description="Address that the listener binds.")
    listen_port: int = Field(11112, ge=0, le=65535, description="Port that the listener binds; 0: any free one.")
    listen_plain: bool = Field(
        False, description="Receive DICOM without TLS on an address other than loopback, or beside TLS."
    )
    tls_port: int = Field(2762, ge=0, le=65535, description="Port of DICOM over TLS, where a certificate is set.")
    tls_certificate_file: Path | None = Field(None, description="PEM certificate of the listener, with its chain.")
    tls_key_file: Path | None = Field(None, description="PEM key of the listener's certificate.")
    tls_ca_file: Path | None = Field(None, description="PEM certificates of the CAs that sign the callers' ones.")
    tls_mutual: bool = Field(True, description="Callers over TLS must show a certificate that tls_ca_file vouches for.")
    callers: dict[str, Caller] = Field({}, description="Who may send, by a name of your own.")
    more_storage_classes: tuple[str, ...] = Field((), description="Further SOP class UIDs that are accepted and kept.")
    max_associations: int = Field(64, ge=1, description="Associations open at the same time.")
    max_associations_per_address: int = Field(32, ge=1, description="Associations from one address.")
    max_waiting_connections: int = Field(
        512, ge=1, description="Most connections that have not asked for an association yet; then the oldest goes."
    )
    max_pdu_bytes: int = Field(131072, ge=4096, le=1 << 24, description="Largest PDU that we offer to receive, bytes.")
    max_instance_bytes: int = Field(256 << 20, ge=1 << 16, description="Largest data set that is accepted, bytes.")
    max_bytes_in_flight: int = Field(256 << 20, ge=1 << 20, description="Bytes being received, over all associations.")
    max_nesting: int = Field(64, ge=1, le=200, description="Deepest sequence nesting that is accepted.")
    pdu_timeout_s: float = Field(10.0, gt=0, description="A PDU once begun must be complete within this time, seconds.")
    association_timeout_s: float = Field(5.0, gt=0, description="A connection must ask for an association in time, s.")
    idle_timeout_s: float = Field(60.0, gt=0, description="An association with nothing to say is aborted, seconds.")
    database_timeout_s: float = Field(10.0, gt=0, description="Longest wait for a locked database, seconds.")
    disk_reserve_bytes: int = Field(2_000_000_000, ge=0, description="Free bytes below which nothing is accepted.")
    disk_reserve_fraction: float = Field(0.05, ge=0, lt=1, description="The same as part of the disk; larger wins.")

    # Keeping
    retention_days: int = Field(
        0,
        ge=0,
        description="`ecg-node retention` deletes the files of ECGs this long after their last change; 0: none.",
    )
    retention_rule: Literal["committed", "sent", "answered"] = Field(
        "committed",
        description="What may go: committed by every PACS, accepted by it, or answered where no PACS is set up, too.",
    )

    # Working
    worker_threads: int = Field(0, ge=0, description="CPU threads for the network; 0: as many as there are cores.")
    batch_size: int = Field(8, ge=1, le=256, description="Most ECGs that are claimed and classified together.")
    lease_s: float = Field(30.0, gt=0, description="After this silence a claimed job is claimed again, seconds.")
    max_attempts: int = Field(3, ge=1, description="Attempts before a job ends as failed.")
    reconcile_s: float = Field(5.0, gt=0, description="How often the database itself is asked for work, seconds.")
    decode_timeout_s: float = Field(8.0, gt=0, description="Longest time to turn one object into pictures, seconds.")
    decode_memory_bytes: int = Field(2 << 30, ge=1 << 28, description="Memory limit of the decoder process, bytes.")
    max_pixels: int = Field(100_000_000, ge=1, description="Rows x Columns x Frames above which nothing is decoded.")
    max_frames: int = Field(32, ge=1, description="Frames or pages of one object that are judged.")
    stat_study_description: str = Field("", description="Study descriptions holding this text are judged first.")
    related_objects: Literal["each", "waveform_only"] = Field(
        "each",
        description="Of a waveform and pictures or PDFs of one ECG (same study, patient, second of acquisition) each "
        "is answered, or the waveform alone; the others then end as superseded, without a report.",
    )
    waveform_wait_s: float = Field(
        60.0, ge=0, description="With waveform_only: a picture or PDF waits for its waveform this long, seconds."
    )

    # Reporting
    destinations: dict[str, Destination] = Field({}, description="PACS that get the results, by a name of your own.")
    sr_title: Literal["ekg_study", "imaging_measurement_report"] = Field(
        "ekg_study", description="Title of the SR; the second one for consumers of strict IHE AI Results."
    )
    codes: dict[CodeUse, ReportCode] = Field(
        {}, description="Codes of findings and title that a clinician signed, in place of the defaults."
    )
    heatmap_strength: float = Field(
        0.5, ge=0.1, le=0.9, description="How strongly the heat map covers the ECG: 0.1 hardly, 0.9 almost."
    )
    report_not_diagnostic: bool = Field(True, description="Send an SR for what cannot be judged, too.")
    send_timeout_s: float = Field(30.0, gt=0, description="Longest wait for a PACS's answer, seconds.")
    retry_first_s: float = Field(5.0, gt=0, description="First delay before a delivery is tried again, seconds.")
    retry_most_s: float = Field(900.0, gt=0, description="Longest delay between tries, seconds.")

    commitment_delay_s: float = Field(
        10.0, ge=0, description="A destination is asked for commitment this long after it took a result, seconds."
    )
    commitment_answer_s: float = Field(
        900.0, gt=0, description="A commitment without an answer for this long is asked for again, seconds."
    )
    commitment_hold_s: float = Field(
        2.0, ge=0, description="How long an association is kept open for the answer to come on it, seconds."
    )

    # Console
    console_host: str = Field("127.0.0.1", description="Address that the console binds.")
    console_port: int = Field(8480, ge=0, le=65535, description="Port that the console binds; 0: any free one.")
    console_tls_certificate: Path | None = Field(None, description="PEM certificate of the console, with its chain.")
    console_tls_key: Path | None = Field(None, description="PEM key of the console's certificate.")
    console_trusted_proxies: tuple[str, ...] = Field(
        (), description="Addresses of reverse proxies that end TLS for the console; their X-Forwarded-* is believed."
    )
    console_idle_s: float = Field(1800.0, gt=0, description="A login without a request ends after this time, seconds.")
    console_session_s: float = Field(43200.0, gt=0, description="A login ends after this time anyway, seconds.")
    time_zone: str = Field("UTC", description="IANA name of the zone in which people see times; kept in UTC.")
    verify_trail_s: float = Field(86400.0, gt=0, description="How often the console verifies the whole trail, s.")
    # Alerts
    unanswered_alert_s: float = Field(
        300.0, gt=0, description="An ECG without an answer for this long raises an alert, seconds."
    )
    infarction_alert_probability: float = Field(
        0.5, gt=0, le=1, description="Probability of myocardial infarction from which an alert is raised."
    )
    alert_reanalysis: bool = Field(False, description="Raise alerts for what a re-analysis finds, too.")
    undelivered_alert_s: float = Field(
        3600.0, gt=0, description="Results that wait this long for a destination raise an alert, seconds."
    )
    webhooks: dict[str, Webhook] = Field({}, description="Web services told of alerts, by a name of your own.")
    hl7_receivers: dict[str, Hl7Receiver] = Field(
        {}, description="HL7 receivers told of alerts, by a name of your own."
    )

    # Logs
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least level that is logged.")
    log_format: Literal["json", "console"] = Field("json", description="One JSON object a line, or coloured text.")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, _SecretFiles(settings_cls), _TomlFile(settings_cls)

    @field_validator("time_zone")
    @classmethod
    def _zone_is_known(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (KeyError, ValueError, OSError) as error:
            raise ValueError(f"{name} is no IANA time zone; write one such as Europe/Berlin") from error
        return name

    @model_validator(mode="after")
    def _demo_stays_on_loopback(self) -> "Settings":
        if self.demo and self.listen_host not in LOOPBACK:
            raise ValueError("demo: open to every caller is possible on loopback only; set listen_host to 127.0.0.1")
        return self

    @model_validator(mode="after")
    def _console_is_not_open_to_the_network_without_tls(self) -> "Settings":
        if (self.console_tls_certificate is None) != (self.console_tls_key is None):
            raise ValueError("console_tls_certificate and console_tls_key: set both or none")
        safe = self.console_tls_certificate is not None or self.console_trusted_proxies
        if self.console_host not in LOOPBACK and not safe:
            raise ValueError(
                "console_host: patient data would cross the network unencrypted; set console_tls_certificate and "
                "console_tls_key, or console_trusted_proxies where a proxy ends TLS, or bind 127.0.0.1"
            )
        return self

    @model_validator(mode="after")
    def _destinations_can_work(self) -> "Settings":
        callers = [title for caller in self.callers.values() for title in caller.ae_titles]
        conflict = find_conflict(
            self.destinations, callers if self.callers and not self.demo else None, self.report_not_diagnostic
        )
        if conflict:
            raise ValueError(f"destinations: {conflict}")
        return self

    @model_validator(mode="after")
    def _patient_data_crosses_the_network_as_was_said(self) -> "Settings":
        if (self.tls_certificate_file is None) != (self.tls_key_file is None):
            raise ValueError("tls_certificate_file and tls_key_file: set both or none")
        tls = self.tls_certificate_file is not None
        if tls and self.tls_mutual and self.tls_ca_file is None:
            raise ValueError("tls_ca_file: needed to check the callers' certificates; or set tls_mutual = false")
        if not tls and any(caller.certificates for caller in self.callers.values()):
            raise ValueError("callers: certificates are shown over TLS only; set tls_certificate_file and tls_key_file")
        if not tls and self.listen_host not in LOOPBACK and not self.listen_plain:
            raise ValueError(
                "listen_host: DICOM would cross the network unencrypted; set tls_certificate_file and tls_key_file, "
                "or listen_plain = true where the network itself is protected"
            )
        return self

    @model_validator(mode="after")
    def _secrets_are_secret(self) -> "Settings":
        if self.demo:
            return self
        secrets = (self.database_url, self.broker_url, self.trail_key)
        weak = [f"{name}: {why}" for name, why in find_weak(*(one.get_secret_value() for one in secrets))]
        if weak:
            raise ValueError("; ".join(weak))
        return self

    @property
    def serves_plain(self) -> bool:
        """Whether the listener takes DICOM without TLS."""
        return self.listen_plain or self.tls_certificate_file is None

    @property
    def ae_titles(self) -> tuple[str, ...]:
        """Every AE title that the node answers to."""
        return (self.ae_title, *self.more_ae_titles)


class _TomlFile(PydanticBaseSettingsSource):
    """The TOML file named by ECG_NODE_CONFIG."""

    def get_field_value(self, field: Any, field_name: str) -> tuple[Any, str, bool]:
        return None, field_name, False

    def __call__(self) -> dict[str, Any]:
        named = os.environ.get(CONFIG_VARIABLE)
        if not named:
            return {}
        try:
            given = tomllib.loads(Path(named).read_text(encoding="utf-8"))
            if is_open_to_others(Path(named)) and holds_secrets(given):
                raise BadSettings(
                    f"{CONFIG_VARIABLE}: {named} holds secrets and every user of this machine can read it: "
                    f"chmod 600 {named}, or move them to files that ..._FILE settings name"
                )
            return given
        except OSError as error:
            raise BadSettings(f"{CONFIG_VARIABLE}: {named} cannot be read: {error.strerror}") from error
        except tomllib.TOMLDecodeError as error:
            raise BadSettings(f"{CONFIG_VARIABLE}: {named} is not TOML: {error}") from error


class _SecretFiles(EnvSettingsSource):
    """Settings whose value stands in a file: ECG_NODE_<NAME>_FILE=/run/secrets/name."""

    def __call__(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name in self.settings_cls.model_fields:
            variable = f"{PREFIX}{name.upper()}_FILE"
            named = os.environ.get(variable)
            if not named:
                continue
            try:
                found[name] = Path(named).read_text(encoding="utf-8").strip()
            except OSError as error:
                raise BadSettings(f"{variable}: {named} cannot be read ({error.strerror})") from error
        return found


def read_settings(**given: Any) -> Settings:
    """Settings from environment, secret files and TOML; what is `given` wins. Raises BadSettings naming the setting."""
    _refuse_unknown_variables()
    try:
        return Settings(**given)
    except ValidationError as error:
        lines = [f"{'.'.join(map(str, e['loc'])) or 'settings'}: {e['msg']}" for e in error.errors(include_input=False)]
        raise BadSettings("; ".join(lines)) from error


def _refuse_unknown_variables() -> None:
    fields = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields}
    for variable in os.environ:
        if not variable.startswith(PREFIX) or variable == CONFIG_VARIABLE:
            continue
        name = variable.split(NESTED, 1)[0]
        if name not in fields and variable.removesuffix("_FILE") not in fields:
            raise BadSettings(f"{variable}: no such setting; docs/settings.md lists them")

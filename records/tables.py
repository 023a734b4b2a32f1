"""The tables of the audit database."""

from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    DateTime,
    Dialect,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from core.roles import Role
from core.states import (
    AlertKind,
    AlertState,
    CommitmentRequestState,
    CommitmentState,
    DeliveryState,
    JobState,
    ModelAction,
    ModelRole,
    NotificationState,
    Reason,
    ReportKind,
)
from core.values import Label

UID = String(64)
SHA256 = String(64)
# SQLite gives a row number of its own only to a column that is spelled INTEGER
Key = BigInteger().with_variant(Integer, "sqlite")


class UtcTime(TypeDecorator[datetime]):
    """An instant, always in UTC; SQLite keeps it as text that sorts."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a time without a zone cannot be recorded")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Disposition(StrEnum):
    """What the node made of an instance when it came."""

    ACCEPTED = "accepted"
    OTHER_SYNTAX = "other_syntax"
    CONFLICT = "conflict"


def _one_of(column: str, words: type[StrEnum]) -> CheckConstraint:
    listed = ", ".join(f"'{word.value}'" for word in words)
    return CheckConstraint(f"{column} IN ({listed})", name=f"{column}_known")


class Base(DeclarativeBase):
    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {datetime: UtcTime(), dict[str, Any]: JSON(), bool: Boolean(), float: Float()}  # noqa: RUF012


def table_of(row: type[Base]) -> Table:
    """The table behind a class of rows, for statements that need none of the class's bookkeeping."""
    table = row.__table__
    assert isinstance(table, Table)
    return table


class Instance(Base):
    """A SOP instance that was kept; its bytes lie at `path` below the data folder."""

    __tablename__ = "instance"
    __table_args__ = (
        UniqueConstraint("sop_instance_uid", "content_sha256"),
        Index(
            "uq_instance_accepted_sop_instance_uid",
            "sop_instance_uid",
            unique=True,
            sqlite_where=text("disposition = 'accepted'"),
            postgresql_where=text("disposition = 'accepted'"),
        ),
        _one_of("disposition", Disposition),
        Index(None, "received_at"),
        Index(None, "patient_id"),
        Index(None, "accession_number"),
        Index(None, "study_instance_uid"),
        Index(None, "calling_ae_title", "id"),
    )

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    sop_class_uid: Mapped[str] = mapped_column(UID)
    sop_instance_uid: Mapped[str] = mapped_column(UID)
    study_instance_uid: Mapped[str] = mapped_column(UID)
    series_instance_uid: Mapped[str] = mapped_column(UID)
    transfer_syntax_uid: Mapped[str] = mapped_column(UID)
    content_sha256: Mapped[str] = mapped_column(SHA256)
    comparison_sha256: Mapped[str] = mapped_column(String(64), default="")
    pixel_sha256: Mapped[str] = mapped_column(String(64), default="")
    file_sha256: Mapped[str] = mapped_column(SHA256)
    path: Mapped[str] = mapped_column(String(255), unique=True)
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    disposition: Mapped[str] = mapped_column(String(16))
    calling_ae_title: Mapped[str] = mapped_column(String(16))
    called_ae_title: Mapped[str] = mapped_column(String(16))
    peer_address: Mapped[str] = mapped_column(String(64))
    association_id: Mapped[str] = mapped_column(String(64))
    stat: Mapped[bool]
    patient_id: Mapped[str] = mapped_column(Text)
    patient_name: Mapped[str] = mapped_column(Text)
    accession_number: Mapped[str] = mapped_column(Text)
    modality: Mapped[str] = mapped_column(Text)
    study_description: Mapped[str] = mapped_column(Text)
    study_date: Mapped[str] = mapped_column(Text)
    acquisition_datetime: Mapped[str] = mapped_column(Text)
    received_at: Mapped[datetime]
    file_deleted_at: Mapped[datetime | None]


class Job(Base):
    """One analysis of one instance; `request` tells the first from later ones."""

    __tablename__ = "job"
    __table_args__ = (
        UniqueConstraint("ecg_id", "request"),
        _one_of("state", JobState),
        CheckConstraint("attempt >= 0 AND fence >= attempt", name="counters"),
        CheckConstraint("(state = 'running') = (lease_until IS NOT NULL)", name="lease_only_while_running"),
        CheckConstraint(
            "reason IS NOT NULL OR state NOT IN ('not_diagnostic', 'failed')", name="unanswered_has_a_reason"
        ),
        Index("ix_job_next", "state", "stat", "priority", "id"),
        Index(None, "ended_at"),
    )

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    ecg_id: Mapped[int] = mapped_column(ForeignKey("instance.id"))
    request: Mapped[str] = mapped_column(String(64), default="first")
    state: Mapped[str] = mapped_column(String(16))
    reason: Mapped[str | None] = mapped_column(Text)
    stat: Mapped[bool]
    priority: Mapped[int] = mapped_column(Integer, default=0)
    owner: Mapped[str | None] = mapped_column(String(128))
    fence: Mapped[int] = mapped_column(Integer, default=0)
    attempt: Mapped[int] = mapped_column(Integer, default=0)
    not_before: Mapped[datetime]
    lease_until: Mapped[datetime | None]
    created_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]


class Classification(Base):
    """What a model said about one picture of an instance, with all that is needed to find that model again."""

    __tablename__ = "classification"
    __table_args__ = (
        UniqueConstraint("job_id", "frame"),
        CheckConstraint("(label IS NULL) <> (reason IS NULL)", name="label_or_reason"),
        _one_of("label", Label),
        _one_of("reason", Reason),
        Index(None, "ecg_id"),
        Index(None, "label", "job_id"),
        # A results file is swept or deleted only when no row names it
        Index(None, "picture_sha256"),
        Index(None, "thumbnail_sha256"),
        Index(None, "heat_sha256"),
        Index(None, "recorded_at"),
    )

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    job_id: Mapped[int] = mapped_column(ForeignKey("job.id"))
    ecg_id: Mapped[int] = mapped_column(ForeignKey("instance.id"))
    frame: Mapped[int] = mapped_column(Integer)
    label: Mapped[str | None] = mapped_column(String(32))
    reason: Mapped[str | None] = mapped_column(String(32))
    probability_normal: Mapped[float | None]
    probability_abnormal_heartbeat: Mapped[float | None]
    probability_myocardial_infarction: Mapped[float | None]
    quality: Mapped[float | None]
    model: Mapped[dict[str, Any]]
    weights_sha256: Mapped[str] = mapped_column(SHA256)
    input_sha256: Mapped[str] = mapped_column(SHA256)
    picture_sha256: Mapped[str | None] = mapped_column(SHA256)
    thumbnail_sha256: Mapped[str | None] = mapped_column(SHA256)
    heat_sha256: Mapped[str | None] = mapped_column(SHA256)
    area: Mapped[dict[str, Any]]
    recorded_at: Mapped[datetime]


class ModelRelease(Base):
    """A change of the model in service or in shadow; the latest row of a role holds. An empty sha256 means none."""

    __tablename__ = "model_release"
    __table_args__ = (_one_of("role", ModelRole), _one_of("action", ModelAction))

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    role: Mapped[str] = mapped_column(String(16))
    action: Mapped[str] = mapped_column(String(16))
    weights_sha256: Mapped[str] = mapped_column(SHA256)
    card_sha256: Mapped[str] = mapped_column(SHA256)
    version: Mapped[str] = mapped_column(String(64))
    calibration_version: Mapped[str] = mapped_column(String(64))
    thresholds: Mapped[dict[str, Any]]
    actor: Mapped[str] = mapped_column(Text)
    why: Mapped[str] = mapped_column(Text)
    at: Mapped[datetime]


class ShadowClassification(Base):
    """What a model in shadow said beside the answer of a job; never reported. `error` where it broke."""

    __tablename__ = "shadow_classification"
    __table_args__ = (
        UniqueConstraint("job_id", "frame", "card_sha256"),
        CheckConstraint("error IS NOT NULL OR (label IS NULL) <> (reason IS NULL)", name="label_or_reason_or_error"),
        _one_of("label", Label),
        Index(None, "card_sha256", "id"),
    )

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    job_id: Mapped[int] = mapped_column(ForeignKey("job.id"))
    ecg_id: Mapped[int] = mapped_column(ForeignKey("instance.id"), index=True)
    frame: Mapped[int] = mapped_column(Integer)
    label: Mapped[str | None] = mapped_column(String(32))
    reason: Mapped[str | None] = mapped_column(String(32))
    probability_normal: Mapped[float | None]
    probability_abnormal_heartbeat: Mapped[float | None]
    probability_myocardial_infarction: Mapped[float | None]
    model: Mapped[dict[str, Any]]
    weights_sha256: Mapped[str] = mapped_column(SHA256)
    card_sha256: Mapped[str] = mapped_column(SHA256)
    error: Mapped[str | None] = mapped_column(Text)
    recorded_at: Mapped[datetime]


class Report(Base):
    """An SR or heat map whose bytes lie, named by their sha256, in the results folder."""

    __tablename__ = "report"
    __table_args__ = (
        UniqueConstraint("job_id", "kind", "frame", "sr_class"),
        _one_of("kind", ReportKind),
    )

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    job_id: Mapped[int] = mapped_column(ForeignKey("job.id"))
    ecg_id: Mapped[int] = mapped_column(ForeignKey("instance.id"), index=True)
    kind: Mapped[str] = mapped_column(String(16))
    frame: Mapped[int] = mapped_column(Integer)
    sr_class: Mapped[str] = mapped_column(String(16), default="")
    sop_class_uid: Mapped[str] = mapped_column(UID)
    sop_instance_uid: Mapped[str] = mapped_column(String(64), unique=True)
    series_instance_uid: Mapped[str] = mapped_column(UID)
    transfer_syntax_uid: Mapped[str] = mapped_column(UID)
    sha256: Mapped[str] = mapped_column(SHA256, index=True)
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    recorded_at: Mapped[datetime]


class DestinationState(Base):
    """What the node has learnt of a destination, and which sender serves it now."""

    __tablename__ = "destination"

    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    sr_class: Mapped[str] = mapped_column(String(16), default="")
    paused: Mapped[bool] = mapped_column(default=False)
    failures: Mapped[int] = mapped_column(Integer, default=0)
    not_before: Mapped[datetime]
    last_error: Mapped[str | None] = mapped_column(Text)
    owner: Mapped[str | None] = mapped_column(String(128))
    fence: Mapped[int] = mapped_column(Integer, default=0)
    lease_until: Mapped[datetime | None]
    commitment_failures: Mapped[int] = mapped_column(Integer, default=0, server_default="0")
    commitment_not_before: Mapped[datetime | None]


class Delivery(Base):
    """One report on its way to one destination; `report_id` is fixed before the first byte is sent."""

    __tablename__ = "delivery"
    __table_args__ = (
        UniqueConstraint("job_id", "destination", "kind", "frame"),
        _one_of("state", DeliveryState),
        _one_of("kind", ReportKind),
        Index("ix_delivery_next", "destination", "state", "not_before"),
    )

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    job_id: Mapped[int] = mapped_column(ForeignKey("job.id"))
    ecg_id: Mapped[int] = mapped_column(ForeignKey("instance.id"), index=True)
    destination: Mapped[str] = mapped_column(String(64))
    kind: Mapped[str] = mapped_column(String(16))
    frame: Mapped[int] = mapped_column(Integer)
    report_id: Mapped[int | None] = mapped_column(ForeignKey("report.id"))
    state: Mapped[str] = mapped_column(String(16))
    stat: Mapped[bool]
    attempt: Mapped[int] = mapped_column(Integer, default=0)
    not_before: Mapped[datetime]
    last_status: Mapped[int | None] = mapped_column(Integer)
    last_error: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime]
    sent_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]


class Commitment(Base):
    """A question to a destination whether it keeps results safe, recorded before it is asked. PS3.4 J."""

    __tablename__ = "commitment"
    __table_args__ = (
        UniqueConstraint("transaction_uid"),
        _one_of("state", CommitmentState),
        Index(None, "destination", "state"),
    )

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    transaction_uid: Mapped[str] = mapped_column(UID)
    destination: Mapped[str] = mapped_column(String(64))
    state: Mapped[str] = mapped_column(String(16))
    last_error: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime]
    asked_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]


class CommitmentItem(Base):
    """One result that a commitment asks about; `committed` is None until the destination has said so or not."""

    __tablename__ = "commitment_item"
    __table_args__ = (UniqueConstraint("commitment_id", "delivery_id"), Index(None, "delivery_id"))

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    commitment_id: Mapped[int] = mapped_column(ForeignKey("commitment.id"))
    delivery_id: Mapped[int] = mapped_column(ForeignKey("delivery.id"))
    sop_class_uid: Mapped[str] = mapped_column(UID)
    sop_instance_uid: Mapped[str] = mapped_column(UID)
    committed: Mapped[bool | None]
    reason: Mapped[int | None] = mapped_column(Integer)


class CommitmentRequest(Base):
    """A caller's question whether we keep its instances safe; `items` are pairs of SOP class and instance UID."""

    __tablename__ = "commitment_request"
    __table_args__ = (
        UniqueConstraint("calling_ae_title", "transaction_uid", "items_sha256"),
        _one_of("state", CommitmentRequestState),
        Index(None, "state", "not_before"),
    )

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    transaction_uid: Mapped[str] = mapped_column(UID)
    items_sha256: Mapped[str] = mapped_column(SHA256)
    items: Mapped[list[Any]] = mapped_column(JSON)
    duplicate: Mapped[bool]
    calling_ae_title: Mapped[str] = mapped_column(String(16))
    called_ae_title: Mapped[str] = mapped_column(String(16))
    peer_address: Mapped[str] = mapped_column(String(64))
    state: Mapped[str] = mapped_column(String(16))
    attempt: Mapped[int] = mapped_column(Integer, default=0)
    fence: Mapped[int] = mapped_column(Integer, default=0)
    not_before: Mapped[datetime]
    last_error: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime]
    answered_at: Mapped[datetime | None]


class Alert(Base):
    """Something that a person has to see; `cause` is raised once, and stays until somebody acknowledges it."""

    __tablename__ = "alert"
    __table_args__ = (
        UniqueConstraint("cause"),
        _one_of("kind", AlertKind),
        _one_of("state", AlertState),
        CheckConstraint("(state = 'acknowledged') = (acknowledged_at IS NOT NULL)", name="acknowledged_has_a_time"),
        Index(None, "state", "id"),
    )

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    kind: Mapped[str] = mapped_column(String(32))
    cause: Mapped[str] = mapped_column(String(128))
    state: Mapped[str] = mapped_column(String(16))
    ecg_id: Mapped[int | None] = mapped_column(ForeignKey("instance.id"), index=True)
    destination: Mapped[str | None] = mapped_column(String(64))
    details: Mapped[dict[str, Any]]
    raised_at: Mapped[datetime]
    acknowledged_at: Mapped[datetime | None]
    acknowledged_by: Mapped[str | None] = mapped_column(Text)
    why: Mapped[str | None] = mapped_column(Text)


class Notification(Base):
    """An alert on its way to one receiver; `message_id` stays the same over every try."""

    __tablename__ = "notification"
    __table_args__ = (
        UniqueConstraint("alert_id", "channel"),
        UniqueConstraint("message_id"),
        _one_of("state", NotificationState),
        Index("ix_notification_next", "channel", "state", "not_before"),
    )

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    alert_id: Mapped[int] = mapped_column(ForeignKey("alert.id"))
    channel: Mapped[str] = mapped_column(String(80))
    message_id: Mapped[str] = mapped_column(String(20))
    state: Mapped[str] = mapped_column(String(16))
    attempt: Mapped[int] = mapped_column(Integer, default=0)
    fence: Mapped[int] = mapped_column(Integer, default=0)
    not_before: Mapped[datetime]
    last_error: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime]
    sent_at: Mapped[datetime | None]


class AlertScan(Base):
    """Until when the records were looked through for alerts: one row, locked while somebody looks."""

    __tablename__ = "alert_scan"
    __table_args__ = (CheckConstraint("id = 1", name="one_row"),)

    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    until: Mapped[datetime]


class Process(Base):
    """A process of the node that says from time to time that it is alive."""

    __tablename__ = "process"

    id: Mapped[str] = mapped_column(String(128), primary_key=True)
    kind: Mapped[str] = mapped_column(String(16), index=True)
    host: Mapped[str] = mapped_column(String(255))
    pid: Mapped[int] = mapped_column(Integer)
    address: Mapped[str] = mapped_column(String(255), default="")
    started_at: Mapped[datetime]
    seen_at: Mapped[datetime]


class TrailEvent(Base):
    """One entry of the append-only history; the hash covers the entry and the hash before it."""

    __tablename__ = "trail"
    __table_args__ = (Index(None, "ecg_id"), Index(None, "kind", "seq"), Index(None, "actor", "seq"), Index(None, "at"))

    seq: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    at: Mapped[str] = mapped_column(String(32))
    kind: Mapped[str] = mapped_column(String(32))
    actor: Mapped[str] = mapped_column(Text)
    ecg_id: Mapped[int | None] = mapped_column(BigInteger)
    details: Mapped[str] = mapped_column(Text)
    hash: Mapped[str] = mapped_column(SHA256)


class TrailHead(Base):
    """The last entry of the trail: one row, updated as the last act of each writing transaction."""

    __tablename__ = "trail_head"
    __table_args__ = (CheckConstraint("id = 1", name="one_row"),)

    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    seq: Mapped[int] = mapped_column(BigInteger)
    hash: Mapped[str] = mapped_column(SHA256)


class Account(Base):
    """A person who may look at the console; the name is kept in lower case."""

    __tablename__ = "account"
    __table_args__ = (_one_of("role", Role),)

    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    role: Mapped[str] = mapped_column(String(16))
    password_hash: Mapped[str] = mapped_column(Text)
    disabled: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[datetime]
    password_changed_at: Mapped[datetime]


class ConsoleSession(Base):
    """A login; the browser holds the token, the database only its sha256."""

    __tablename__ = "console_session"

    token_sha256: Mapped[str] = mapped_column(SHA256, primary_key=True)
    account: Mapped[str] = mapped_column(ForeignKey("account.name"), index=True)
    opened_at: Mapped[datetime]
    seen_at: Mapped[datetime]
    expires_at: Mapped[datetime]


class FinalRead(Base):
    """What a physician says of an ECG, beside the answer of `job_id`; a label of None means: cannot be judged."""

    __tablename__ = "final_read"
    __table_args__ = (_one_of("label", Label), Index(None, "recorded_at"))

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    ecg_id: Mapped[int] = mapped_column(ForeignKey("instance.id"), index=True)
    job_id: Mapped[int] = mapped_column(ForeignKey("job.id"))
    label: Mapped[str | None] = mapped_column(String(32))
    model_label: Mapped[str | None] = mapped_column(String(32))
    agrees: Mapped[bool]
    comment: Mapped[str] = mapped_column(Text)
    reader: Mapped[str] = mapped_column(String(64))
    recorded_at: Mapped[datetime]

"""Where an ECG is on its way: one enum for each state machine.

The row is the state, the trail is the history.
job:      queued -> running -> done | not_diagnostic(reason) | failed(reason)
delivery: prepared -> sent -> committed | failed | dropped
alert:    raised -> acknowledged
notification: prepared -> sent | withdrawn
commitment, asked by us:   prepared -> asked -> answered | unanswered
commitment, asked of us:   prepared -> answered
"""

from enum import StrEnum


class JobState(StrEnum):
    """State of one analysis of one instance."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    NOT_DIAGNOSTIC = "not_diagnostic"
    FAILED = "failed"


class DeliveryState(StrEnum):
    """State of one report on its way to one destination."""

    PREPARED = "prepared"
    SENT = "sent"
    COMMITTED = "committed"
    FAILED = "failed"
    DROPPED = "dropped"


class Reason(StrEnum):
    """Why an object cannot be judged."""

    RETIRED_CLASS = "retired_class"
    NO_PICTURE = "no_picture"
    NOT_AN_ECG = "not_an_ecg"
    TOO_FEW_LEADS = "too_few_leads"
    BLANK = "blank"
    UNREADABLE = "unreadable"
    UPSIDE_DOWN = "upside_down"
    DAMAGED = "damaged"
    ENCRYPTED = "encrypted"
    TOO_BIG = "too_big"
    UNSUPPORTED_ENCODING = "unsupported_encoding"
    UNCERTAIN = "uncertain"
    SUPERSEDED = "superseded"


class ReportKind(StrEnum):
    """What is sent back to a PACS."""

    SR = "sr"
    HEATMAP = "heatmap"


class CommitmentState(StrEnum):
    """State of a question to a destination whether it keeps our results safe."""

    PREPARED = "prepared"
    ASKED = "asked"
    ANSWERED = "answered"
    UNANSWERED = "unanswered"


class CommitmentRequestState(StrEnum):
    """State of a caller's question whether we keep its instances safe."""

    PREPARED = "prepared"
    ANSWERED = "answered"


class ModelRole(StrEnum):
    """What a model does at this installation."""

    SERVICE = "service"
    SHADOW = "shadow"


class ModelAction(StrEnum):
    """What changed the model of a role."""

    START = "start"
    RELEASE = "release"
    ROLLBACK = "rollback"
    SHADOW = "shadow"
    STOP = "stop"


class AlertKind(StrEnum):
    """What a person is told of."""

    UNANSWERED = "unanswered"
    SUSPECTED_INFARCTION = "suspected_infarction"
    UNDELIVERED = "undelivered"


class AlertState(StrEnum):
    """State of an alert: it stays until a person acknowledges it."""

    RAISED = "raised"
    ACKNOWLEDGED = "acknowledged"


class NotificationState(StrEnum):
    """State of an alert on its way to one receiver."""

    PREPARED = "prepared"
    SENT = "sent"
    WITHDRAWN = "withdrawn"


class EventKind(StrEnum):
    """Kinds of trail events, by what happened."""

    NODE_STARTED = "node_started"
    NODE_STOPPED = "node_stopped"
    INSTANCE_RECEIVED = "instance_received"
    INSTANCE_RESENT = "instance_resent"
    RESENT_IN_OTHER_SYNTAX = "resent_in_other_syntax"
    CONTENT_CONFLICT = "content_conflict"
    CONFLICT_RELEASED = "conflict_released"
    INSTANCE_DELETED = "instance_deleted"
    ASSOCIATION_REJECTED = "association_rejected"
    STORE_REFUSED = "store_refused"
    JOB_CLAIMED = "job_claimed"
    JOB_RETRIED = "job_retried"
    JOB_FINISHED = "job_finished"
    JOB_FAILED = "job_failed"
    DELIVERY_SENT = "delivery_sent"
    DELIVERY_COMMITTED = "delivery_committed"
    COMMITMENT_ASKED = "commitment_asked"
    COMMITMENT_DENIED = "commitment_denied"
    COMMITMENT_REQUESTED = "commitment_requested"
    COMMITMENT_ANSWERED = "commitment_answered"
    DELIVERY_FAILED = "delivery_failed"
    DELIVERY_RETRIED = "delivery_retried"
    DELIVERY_DROPPED = "delivery_dropped"
    MODEL_LOADED = "model_loaded"
    MODEL_RELEASED = "model_released"
    MODEL_ROLLED_BACK = "model_rolled_back"
    MODEL_SHADOWED = "model_shadowed"
    MODEL_UNSHADOWED = "model_unshadowed"
    REANALYSIS_REQUESTED = "reanalysis_requested"
    ALERT_RAISED = "alert_raised"
    ALERT_ACKNOWLEDGED = "alert_acknowledged"
    NOTIFICATION_SENT = "notification_sent"
    DESTINATION_PAUSED = "destination_paused"
    DESTINATION_RESUMED = "destination_resumed"
    PATIENT_DATA_VIEWED = "patient_data_viewed"
    LOGIN = "login"
    LOGIN_FAILED = "login_failed"
    LOGOUT = "logout"
    ACCOUNT_ADDED = "account_added"
    ACCOUNT_DISABLED = "account_disabled"
    ACCOUNT_ENABLED = "account_enabled"
    PASSWORD_CHANGED = "password_changed"
    TRAIL_VERIFIED = "trail_verified"
    TRAIL_EXPORTED = "trail_exported"
    READS_EXPORTED = "reads_exported"
    FINAL_READ_RECORDED = "final_read_recorded"
    BACKUP_TAKEN = "backup_taken"
    BACKUP_RESTORED = "backup_restored"

"""Alerts, and who is told of them"""

from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

UTC_TIME = sa.DateTime(timezone=True)
KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "alert",
        sa.Column("id", KEY, nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("cause", sa.String(length=128), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("ecg_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("destination", sa.String(length=64), nullable=True),
        sa.Column("details", sa.JSON(), nullable=False),
        sa.Column("raised_at", UTC_TIME, nullable=False),
        sa.Column("acknowledged_at", UTC_TIME, nullable=True),
        sa.Column("acknowledged_by", sa.Text(), nullable=True),
        sa.Column("why", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "kind IN ('unanswered', 'suspected_infarction', 'undelivered')", name=op.f("ck_alert_kind_known")
        ),
        sa.CheckConstraint("state IN ('raised', 'acknowledged')", name=op.f("ck_alert_state_known")),
        sa.CheckConstraint(
            "(state = 'acknowledged') = (acknowledged_at IS NOT NULL)", name=op.f("ck_alert_acknowledged_has_a_time")
        ),
        sa.ForeignKeyConstraint(["ecg_id"], ["instance.id"], name=op.f("fk_alert_ecg_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alert")),
        sa.UniqueConstraint("cause", name=op.f("uq_alert_cause")),
    )
    op.create_index(op.f("ix_alert_ecg_id"), "alert", ["ecg_id"], unique=False)
    op.create_index(op.f("ix_alert_state_id"), "alert", ["state", "id"], unique=False)
    op.create_table(
        "notification",
        sa.Column("id", KEY, nullable=False),
        sa.Column("alert_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("channel", sa.String(length=80), nullable=False),
        sa.Column("message_id", sa.String(length=20), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("fence", sa.Integer(), nullable=False),
        sa.Column("not_before", UTC_TIME, nullable=False),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.Column("created_at", UTC_TIME, nullable=False),
        sa.Column("sent_at", UTC_TIME, nullable=True),
        sa.CheckConstraint("state IN ('prepared', 'sent', 'withdrawn')", name=op.f("ck_notification_state_known")),
        sa.ForeignKeyConstraint(["alert_id"], ["alert.id"], name=op.f("fk_notification_alert_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_notification")),
        sa.UniqueConstraint("alert_id", "channel", name=op.f("uq_notification_alert_id_channel")),
        sa.UniqueConstraint("message_id", name=op.f("uq_notification_message_id")),
    )
    op.create_index("ix_notification_next", "notification", ["channel", "state", "not_before"], unique=False)
    op.create_index(op.f("ix_job_ended_at"), "job", ["ended_at"], unique=False)
    scan = op.create_table(
        "alert_scan",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("until", UTC_TIME, nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_alert_scan_one_row")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alert_scan")),
    )
    # What is on record already raises nothing: nobody wants last year's alerts on the day of an upgrade
    op.bulk_insert(scan, [{"id": 1, "until": datetime.now(UTC)}])


def downgrade() -> None:
    op.drop_index(op.f("ix_job_ended_at"), table_name="job")
    for table in ("alert_scan", "notification", "alert"):
        op.drop_table(table)

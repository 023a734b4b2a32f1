"""The first tables"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

UTC_TIME = sa.DateTime(timezone=True)
KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "destination",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("sr_class", sa.String(length=16), nullable=False),
        sa.Column("paused", sa.Boolean(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("not_before", UTC_TIME, nullable=False),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.Column("owner", sa.String(length=128), nullable=True),
        sa.Column("fence", sa.Integer(), nullable=False),
        sa.Column("lease_until", UTC_TIME, nullable=True),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_destination")),
    )
    op.create_table(
        "instance",
        sa.Column("id", KEY, nullable=False),
        sa.Column("sop_class_uid", sa.String(length=64), nullable=False),
        sa.Column("sop_instance_uid", sa.String(length=64), nullable=False),
        sa.Column("study_instance_uid", sa.String(length=64), nullable=False),
        sa.Column("series_instance_uid", sa.String(length=64), nullable=False),
        sa.Column("transfer_syntax_uid", sa.String(length=64), nullable=False),
        sa.Column("content_sha256", sa.String(length=64), nullable=False),
        sa.Column("comparison_sha256", sa.String(length=64), nullable=False),
        sa.Column("pixel_sha256", sa.String(length=64), nullable=False),
        sa.Column("file_sha256", sa.String(length=64), nullable=False),
        sa.Column("path", sa.String(length=255), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("disposition", sa.String(length=16), nullable=False),
        sa.Column("calling_ae_title", sa.String(length=16), nullable=False),
        sa.Column("called_ae_title", sa.String(length=16), nullable=False),
        sa.Column("peer_address", sa.String(length=64), nullable=False),
        sa.Column("association_id", sa.String(length=64), nullable=False),
        sa.Column("stat", sa.Boolean(), nullable=False),
        sa.Column("patient_id", sa.Text(), nullable=False),
        sa.Column("patient_name", sa.Text(), nullable=False),
        sa.Column("accession_number", sa.Text(), nullable=False),
        sa.Column("modality", sa.Text(), nullable=False),
        sa.Column("study_description", sa.Text(), nullable=False),
        sa.Column("study_date", sa.Text(), nullable=False),
        sa.Column("acquisition_datetime", sa.Text(), nullable=False),
        sa.Column("received_at", UTC_TIME, nullable=False),
        sa.Column("file_deleted_at", UTC_TIME, nullable=True),
        sa.CheckConstraint(
            "disposition IN ('accepted', 'other_syntax', 'conflict')", name=op.f("ck_instance_disposition_known")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_instance")),
        sa.UniqueConstraint("path", name=op.f("uq_instance_path")),
        sa.UniqueConstraint(
            "sop_instance_uid", "content_sha256", name=op.f("uq_instance_sop_instance_uid_content_sha256")
        ),
    )
    op.create_index(op.f("ix_instance_accession_number"), "instance", ["accession_number"], unique=False)
    op.create_index(op.f("ix_instance_patient_id"), "instance", ["patient_id"], unique=False)
    op.create_index(op.f("ix_instance_received_at"), "instance", ["received_at"], unique=False)
    op.create_index(op.f("ix_instance_study_instance_uid"), "instance", ["study_instance_uid"], unique=False)
    op.create_index(
        "uq_instance_accepted_sop_instance_uid",
        "instance",
        ["sop_instance_uid"],
        unique=True,
        sqlite_where=sa.text("disposition = 'accepted'"),
        postgresql_where=sa.text("disposition = 'accepted'"),
    )
    op.create_table(
        "process",
        sa.Column("id", sa.String(length=128), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("host", sa.String(length=255), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("address", sa.String(length=255), nullable=False),
        sa.Column("started_at", UTC_TIME, nullable=False),
        sa.Column("seen_at", UTC_TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_process")),
    )
    op.create_index(op.f("ix_process_kind"), "process", ["kind"], unique=False)
    op.create_table(
        "trail",
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("at", sa.String(length=32), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("ecg_id", sa.BigInteger(), nullable=True),
        sa.Column("details", sa.Text(), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_trail")),
    )
    op.create_index(op.f("ix_trail_at"), "trail", ["at"], unique=False)
    op.create_index(op.f("ix_trail_ecg_id"), "trail", ["ecg_id"], unique=False)
    op.create_index(op.f("ix_trail_kind"), "trail", ["kind"], unique=False)
    op.create_table(
        "trail_head",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_trail_head_one_row")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_trail_head")),
    )
    op.create_table(
        "job",
        sa.Column("id", KEY, nullable=False),
        sa.Column("ecg_id", KEY, nullable=False),
        sa.Column("request", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("stat", sa.Boolean(), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("owner", sa.String(length=128), nullable=True),
        sa.Column("fence", sa.Integer(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("not_before", UTC_TIME, nullable=False),
        sa.Column("lease_until", UTC_TIME, nullable=True),
        sa.Column("created_at", UTC_TIME, nullable=False),
        sa.Column("started_at", UTC_TIME, nullable=True),
        sa.Column("ended_at", UTC_TIME, nullable=True),
        sa.CheckConstraint(
            "(state = 'running') = (lease_until IS NOT NULL)", name=op.f("ck_job_lease_only_while_running")
        ),
        sa.CheckConstraint(
            "reason IS NOT NULL OR state NOT IN ('not_diagnostic', 'failed')",
            name=op.f("ck_job_unanswered_has_a_reason"),
        ),
        sa.CheckConstraint(
            "state IN ('queued', 'running', 'done', 'not_diagnostic', 'failed')", name=op.f("ck_job_state_known")
        ),
        sa.CheckConstraint("attempt >= 0 AND fence >= attempt", name=op.f("ck_job_counters")),
        sa.ForeignKeyConstraint(["ecg_id"], ["instance.id"], name=op.f("fk_job_ecg_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_job")),
        sa.UniqueConstraint("ecg_id", "request", name=op.f("uq_job_ecg_id_request")),
    )
    op.create_index("ix_job_next", "job", ["state", "stat", "priority", "id"], unique=False)
    op.create_table(
        "classification",
        sa.Column("id", KEY, nullable=False),
        sa.Column("job_id", KEY, nullable=False),
        sa.Column("ecg_id", KEY, nullable=False),
        sa.Column("frame", sa.Integer(), nullable=False),
        sa.Column("label", sa.String(length=32), nullable=True),
        sa.Column("reason", sa.String(length=32), nullable=True),
        sa.Column("probability_normal", sa.Float(), nullable=True),
        sa.Column("probability_abnormal_heartbeat", sa.Float(), nullable=True),
        sa.Column("probability_myocardial_infarction", sa.Float(), nullable=True),
        sa.Column("quality", sa.Float(), nullable=True),
        sa.Column("model", sa.JSON(), nullable=False),
        sa.Column("weights_sha256", sa.String(length=64), nullable=False),
        sa.Column("input_sha256", sa.String(length=64), nullable=False),
        sa.Column("picture_sha256", sa.String(length=64), nullable=True),
        sa.Column("thumbnail_sha256", sa.String(length=64), nullable=True),
        sa.Column("heat_sha256", sa.String(length=64), nullable=True),
        sa.Column("area", sa.JSON(), nullable=False),
        sa.Column("recorded_at", UTC_TIME, nullable=False),
        sa.CheckConstraint(
            "label IN ('normal', 'abnormal_heartbeat', 'myocardial_infarction')",
            name=op.f("ck_classification_label_known"),
        ),
        sa.CheckConstraint(
            "reason IN ('retired_class', 'no_picture', 'not_an_ecg', 'too_few_leads', 'blank', 'unreadable', 'upside_down', 'damaged', 'encrypted', 'too_big', 'unsupported_encoding', 'uncertain', 'superseded')",
            name=op.f("ck_classification_reason_known"),
        ),
        sa.CheckConstraint("(label IS NULL) <> (reason IS NULL)", name=op.f("ck_classification_label_or_reason")),
        sa.ForeignKeyConstraint(["ecg_id"], ["instance.id"], name=op.f("fk_classification_ecg_id")),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name=op.f("fk_classification_job_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_classification")),
        sa.UniqueConstraint("job_id", "frame", name=op.f("uq_classification_job_id_frame")),
    )
    op.create_index(op.f("ix_classification_ecg_id"), "classification", ["ecg_id"], unique=False)
    op.create_index(op.f("ix_classification_label"), "classification", ["label"], unique=False)
    op.create_table(
        "report",
        sa.Column("id", KEY, nullable=False),
        sa.Column("job_id", KEY, nullable=False),
        sa.Column("ecg_id", KEY, nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("frame", sa.Integer(), nullable=False),
        sa.Column("sr_class", sa.String(length=16), nullable=False),
        sa.Column("sop_class_uid", sa.String(length=64), nullable=False),
        sa.Column("sop_instance_uid", sa.String(length=64), nullable=False),
        sa.Column("series_instance_uid", sa.String(length=64), nullable=False),
        sa.Column("transfer_syntax_uid", sa.String(length=64), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("recorded_at", UTC_TIME, nullable=False),
        sa.CheckConstraint("kind IN ('sr', 'heatmap')", name=op.f("ck_report_kind_known")),
        sa.ForeignKeyConstraint(["ecg_id"], ["instance.id"], name=op.f("fk_report_ecg_id")),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name=op.f("fk_report_job_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_report")),
        sa.UniqueConstraint("job_id", "kind", "frame", "sr_class", name=op.f("uq_report_job_id_kind_frame_sr_class")),
        sa.UniqueConstraint("sop_instance_uid", name=op.f("uq_report_sop_instance_uid")),
    )
    op.create_index(op.f("ix_report_ecg_id"), "report", ["ecg_id"], unique=False)
    op.create_table(
        "delivery",
        sa.Column("id", KEY, nullable=False),
        sa.Column("job_id", KEY, nullable=False),
        sa.Column("ecg_id", KEY, nullable=False),
        sa.Column("destination", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("frame", sa.Integer(), nullable=False),
        sa.Column("report_id", KEY, nullable=True),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("stat", sa.Boolean(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("not_before", UTC_TIME, nullable=False),
        sa.Column("last_status", sa.Integer(), nullable=True),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.Column("created_at", UTC_TIME, nullable=False),
        sa.Column("sent_at", UTC_TIME, nullable=True),
        sa.Column("ended_at", UTC_TIME, nullable=True),
        sa.CheckConstraint("kind IN ('sr', 'heatmap')", name=op.f("ck_delivery_kind_known")),
        sa.CheckConstraint(
            "state IN ('prepared', 'sent', 'committed', 'failed', 'dropped')", name=op.f("ck_delivery_state_known")
        ),
        sa.ForeignKeyConstraint(["ecg_id"], ["instance.id"], name=op.f("fk_delivery_ecg_id")),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name=op.f("fk_delivery_job_id")),
        sa.ForeignKeyConstraint(["report_id"], ["report.id"], name=op.f("fk_delivery_report_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_delivery")),
        sa.UniqueConstraint(
            "job_id", "destination", "kind", "frame", name=op.f("uq_delivery_job_id_destination_kind_frame")
        ),
    )
    op.create_index(op.f("ix_delivery_ecg_id"), "delivery", ["ecg_id"], unique=False)
    op.create_index("ix_delivery_next", "delivery", ["destination", "state", "not_before"], unique=False)
    op.execute(
        "INSERT INTO trail_head (id, seq, hash) VALUES (1, 0, '0000000000000000000000000000000000000000000000000000000000000000')"
    )


def downgrade() -> None:
    op.drop_index("ix_delivery_next", table_name="delivery")
    op.drop_index(op.f("ix_delivery_ecg_id"), table_name="delivery")
    op.drop_table("delivery")
    op.drop_index(op.f("ix_report_ecg_id"), table_name="report")
    op.drop_table("report")
    op.drop_index(op.f("ix_classification_label"), table_name="classification")
    op.drop_index(op.f("ix_classification_ecg_id"), table_name="classification")
    op.drop_table("classification")
    op.drop_index("ix_job_next", table_name="job")
    op.drop_table("job")
    op.drop_table("trail_head")
    op.drop_index(op.f("ix_trail_kind"), table_name="trail")
    op.drop_index(op.f("ix_trail_ecg_id"), table_name="trail")
    op.drop_index(op.f("ix_trail_at"), table_name="trail")
    op.drop_table("trail")
    op.drop_index(
        "uq_instance_accepted_sop_instance_uid",
        table_name="instance",
        sqlite_where=sa.text("disposition = 'accepted'"),
        postgresql_where=sa.text("disposition = 'accepted'"),
    )
    op.drop_index(op.f("ix_instance_study_instance_uid"), table_name="instance")
    op.drop_index(op.f("ix_instance_received_at"), table_name="instance")
    op.drop_index(op.f("ix_instance_patient_id"), table_name="instance")
    op.drop_index(op.f("ix_instance_accession_number"), table_name="instance")
    op.drop_table("process")
    op.drop_table("instance")
    op.drop_table("destination")

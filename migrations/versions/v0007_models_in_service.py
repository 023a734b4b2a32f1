"""Which model is in service, and what one in shadow says"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

UTC_TIME = sa.DateTime(timezone=True)
KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "model_release",
        sa.Column("id", KEY, nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("action", sa.String(length=16), nullable=False),
        sa.Column("weights_sha256", sa.String(length=64), nullable=False),
        sa.Column("card_sha256", sa.String(length=64), nullable=False),
        sa.Column("version", sa.String(length=64), nullable=False),
        sa.Column("calibration_version", sa.String(length=64), nullable=False),
        sa.Column("thresholds", sa.JSON(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("at", UTC_TIME, nullable=False),
        sa.CheckConstraint("role IN ('service', 'shadow')", name=op.f("ck_model_release_role_known")),
        sa.CheckConstraint(
            "action IN ('start', 'release', 'rollback', 'shadow', 'stop')", name=op.f("ck_model_release_action_known")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_model_release")),
    )
    op.create_table(
        "shadow_classification",
        sa.Column("id", KEY, nullable=False),
        sa.Column("job_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("ecg_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("frame", sa.Integer(), nullable=False),
        sa.Column("label", sa.String(length=32), nullable=True),
        sa.Column("reason", sa.String(length=32), nullable=True),
        sa.Column("probability_normal", sa.Float(), nullable=True),
        sa.Column("probability_abnormal_heartbeat", sa.Float(), nullable=True),
        sa.Column("probability_myocardial_infarction", sa.Float(), nullable=True),
        sa.Column("model", sa.JSON(), nullable=False),
        sa.Column("weights_sha256", sa.String(length=64), nullable=False),
        sa.Column("card_sha256", sa.String(length=64), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("recorded_at", UTC_TIME, nullable=False),
        sa.CheckConstraint(
            "error IS NOT NULL OR (label IS NULL) <> (reason IS NULL)",
            name=op.f("ck_shadow_classification_label_or_reason_or_error"),
        ),
        sa.CheckConstraint(
            "label IN ('normal', 'abnormal_heartbeat', 'myocardial_infarction')",
            name=op.f("ck_shadow_classification_label_known"),
        ),
        sa.ForeignKeyConstraint(["ecg_id"], ["instance.id"], name=op.f("fk_shadow_classification_ecg_id")),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name=op.f("fk_shadow_classification_job_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_shadow_classification")),
        sa.UniqueConstraint(
            "job_id", "frame", "card_sha256", name=op.f("uq_shadow_classification_job_id_frame_card_sha256")
        ),
    )
    op.create_index(op.f("ix_shadow_classification_ecg_id"), "shadow_classification", ["ecg_id"], unique=False)
    op.create_index(
        op.f("ix_shadow_classification_card_sha256_id"), "shadow_classification", ["card_sha256", "id"], unique=False
    )


def downgrade() -> None:
    for table in ("shadow_classification", "model_release"):
        op.drop_table(table)

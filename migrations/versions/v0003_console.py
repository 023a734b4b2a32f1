"""Accounts, sessions and final reads of the console, and the indexes of its lists"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

UTC_TIME = sa.DateTime(timezone=True)
KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "account",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("password_hash", sa.Text(), nullable=False),
        sa.Column("disabled", sa.Boolean(), nullable=False),
        sa.Column("created_at", UTC_TIME, nullable=False),
        sa.Column("password_changed_at", UTC_TIME, nullable=False),
        sa.CheckConstraint("role IN ('viewer', 'cardiologist', 'administrator')", name=op.f("ck_account_role_known")),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_account")),
    )
    op.create_table(
        "console_session",
        sa.Column("token_sha256", sa.String(length=64), nullable=False),
        sa.Column("account", sa.String(length=64), nullable=False),
        sa.Column("opened_at", UTC_TIME, nullable=False),
        sa.Column("seen_at", UTC_TIME, nullable=False),
        sa.Column("expires_at", UTC_TIME, nullable=False),
        sa.ForeignKeyConstraint(["account"], ["account.name"], name=op.f("fk_console_session_account")),
        sa.PrimaryKeyConstraint("token_sha256", name=op.f("pk_console_session")),
    )
    op.create_index(op.f("ix_console_session_account"), "console_session", ["account"], unique=False)
    op.create_table(
        "final_read",
        sa.Column("id", KEY, nullable=False),
        sa.Column("ecg_id", KEY, nullable=False),
        sa.Column("job_id", KEY, nullable=False),
        sa.Column("label", sa.String(length=32), nullable=True),
        sa.Column("model_label", sa.String(length=32), nullable=True),
        sa.Column("agrees", sa.Boolean(), nullable=False),
        sa.Column("comment", sa.Text(), nullable=False),
        sa.Column("reader", sa.String(length=64), nullable=False),
        sa.Column("recorded_at", UTC_TIME, nullable=False),
        sa.CheckConstraint(
            "label IN ('normal', 'abnormal_heartbeat', 'myocardial_infarction')", name=op.f("ck_final_read_label_known")
        ),
        sa.ForeignKeyConstraint(["ecg_id"], ["instance.id"], name=op.f("fk_final_read_ecg_id")),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name=op.f("fk_final_read_job_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_final_read")),
    )
    op.create_index(op.f("ix_final_read_ecg_id"), "final_read", ["ecg_id"], unique=False)
    op.create_index(op.f("ix_final_read_recorded_at"), "final_read", ["recorded_at"], unique=False)
    op.create_index(op.f("ix_instance_calling_ae_title_id"), "instance", ["calling_ae_title", "id"], unique=False)
    op.create_index(op.f("ix_classification_recorded_at"), "classification", ["recorded_at"], unique=False)
    op.drop_index(op.f("ix_trail_kind"), table_name="trail")
    op.create_index(op.f("ix_trail_kind_seq"), "trail", ["kind", "seq"], unique=False)
    op.create_index(op.f("ix_trail_actor_seq"), "trail", ["actor", "seq"], unique=False)


def downgrade() -> None:
    op.drop_index(op.f("ix_trail_actor_seq"), table_name="trail")
    op.drop_index(op.f("ix_trail_kind_seq"), table_name="trail")
    op.create_index(op.f("ix_trail_kind"), "trail", ["kind"], unique=False)
    op.drop_index(op.f("ix_classification_recorded_at"), table_name="classification")
    op.drop_index(op.f("ix_instance_calling_ae_title_id"), table_name="instance")
    op.drop_table("final_read")
    op.drop_table("console_session")
    op.drop_table("account")

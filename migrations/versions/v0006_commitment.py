"""Storage commitment, asked by us and asked of us"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

UTC_TIME = sa.DateTime(timezone=True)
KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.add_column("destination", sa.Column("commitment_failures", sa.Integer(), server_default="0", nullable=False))
    op.add_column("destination", sa.Column("commitment_not_before", UTC_TIME, nullable=True))
    op.create_table(
        "commitment",
        sa.Column("id", KEY, nullable=False),
        sa.Column("transaction_uid", sa.String(length=64), nullable=False),
        sa.Column("destination", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.Column("created_at", UTC_TIME, nullable=False),
        sa.Column("asked_at", UTC_TIME, nullable=True),
        sa.Column("ended_at", UTC_TIME, nullable=True),
        sa.CheckConstraint(
            "state IN ('prepared', 'asked', 'answered', 'unanswered')", name=op.f("ck_commitment_state_known")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_commitment")),
        sa.UniqueConstraint("transaction_uid", name=op.f("uq_commitment_transaction_uid")),
    )
    op.create_index(op.f("ix_commitment_destination_state"), "commitment", ["destination", "state"], unique=False)
    op.create_table(
        "commitment_item",
        sa.Column("id", KEY, nullable=False),
        sa.Column("commitment_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("delivery_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("sop_class_uid", sa.String(length=64), nullable=False),
        sa.Column("sop_instance_uid", sa.String(length=64), nullable=False),
        sa.Column("committed", sa.Boolean(), nullable=True),
        sa.Column("reason", sa.Integer(), nullable=True),
        sa.ForeignKeyConstraint(["commitment_id"], ["commitment.id"], name=op.f("fk_commitment_item_commitment_id")),
        sa.ForeignKeyConstraint(["delivery_id"], ["delivery.id"], name=op.f("fk_commitment_item_delivery_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_commitment_item")),
        sa.UniqueConstraint("commitment_id", "delivery_id", name=op.f("uq_commitment_item_commitment_id_delivery_id")),
    )
    op.create_index(op.f("ix_commitment_item_delivery_id"), "commitment_item", ["delivery_id"], unique=False)
    op.create_table(
        "commitment_request",
        sa.Column("id", KEY, nullable=False),
        sa.Column("transaction_uid", sa.String(length=64), nullable=False),
        sa.Column("items_sha256", sa.String(length=64), nullable=False),
        sa.Column("items", sa.JSON(), nullable=False),
        sa.Column("duplicate", sa.Boolean(), nullable=False),
        sa.Column("calling_ae_title", sa.String(length=16), nullable=False),
        sa.Column("called_ae_title", sa.String(length=16), nullable=False),
        sa.Column("peer_address", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("fence", sa.Integer(), nullable=False),
        sa.Column("not_before", UTC_TIME, nullable=False),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.Column("created_at", UTC_TIME, nullable=False),
        sa.Column("answered_at", UTC_TIME, nullable=True),
        sa.CheckConstraint("state IN ('prepared', 'answered')", name=op.f("ck_commitment_request_state_known")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_commitment_request")),
        sa.UniqueConstraint(
            "calling_ae_title",
            "transaction_uid",
            "items_sha256",
            name=op.f("uq_commitment_request_calling_ae_title_transaction_uid_items_sha256"),
        ),
    )
    op.create_index(
        op.f("ix_commitment_request_state_not_before"), "commitment_request", ["state", "not_before"], unique=False
    )


def downgrade() -> None:
    for table in ("commitment_request", "commitment_item", "commitment"):
        op.drop_table(table)
    for column in ("commitment_not_before", "commitment_failures"):
        op.drop_column("destination", column)

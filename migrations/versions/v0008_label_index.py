"""Whether an analysis has a label is one look in an index"""

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.drop_index(op.f("ix_classification_label"), table_name="classification")
    op.create_index(op.f("ix_classification_label_job_id"), "classification", ["label", "job_id"], unique=False)


def downgrade() -> None:
    op.drop_index(op.f("ix_classification_label_job_id"), table_name="classification")
    op.create_index(op.f("ix_classification_label"), "classification", ["label"], unique=False)

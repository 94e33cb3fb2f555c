"""Which of several homes of a database a role runs in. What was said of roles is said again at each start."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Brings a ledger of the revision before up to this one."""
    op.drop_table("role")
    op.create_table(
        "role",
        sa.Column("place", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), server_default="", nullable=False),
        sa.Column("error", sa.Text(), server_default="", nullable=False),
        sa.PrimaryKeyConstraint("place", "name", name="pk_role"),
    )

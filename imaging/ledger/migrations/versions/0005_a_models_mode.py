"""In which mode a model answered; what was answered before was live."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Brings a ledger of the revision before up to this one."""
    for table in ("job", "model"):
        op.add_column(table, sa.Column("mode", sa.Text(), server_default="live", nullable=False))

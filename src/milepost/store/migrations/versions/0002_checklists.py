"""The server makes checklists: catalogs, signals, what was done for all, and progress beside the record."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def text(name: str, *, key: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Text, primary_key=key, nullable=False)


def number(name: str, *, key: bool = False) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, primary_key=key, nullable=False, autoincrement=False)


def upgrade() -> None:
    op.add_column("properties", sa.Column("progress", sa.Text))
    op.create_table(
        "catalogs",
        text("org_id", key=True),
        number("version", key=True),
        text("body"),
        number("published"),
        text("publisher"),
    )
    op.create_table("current_catalogs", text("org_id", key=True), number("version"))
    op.create_table(
        "signals",
        text("user_id", key=True),
        text("org_id", key=True),
        text("source", key=True),
        text("id", key=True),
        text("enterprise_id"),
        text("type"),
        number("time"),
        number("received"),
    )
    op.create_index("ix_signals_user_id_org_id_type", "signals", ["user_id", "org_id", "type"])
    op.create_table(
        "shared_completions",
        text("org_id", key=True),
        text("enterprise_id", key=True),
        text("step_id", key=True),
        text("evidence"),
    )

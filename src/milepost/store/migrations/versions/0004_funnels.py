"""Funnels: sums by day, kept from the journal. They fill themselves from what is there."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def text(name: str, *, key: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Text, primary_key=key, nullable=False)


def number(name: str, *, key: bool = False) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, primary_key=key, nullable=False, autoincrement=False)


def upgrade() -> None:
    op.create_table("journal_readers", text("name", key=True), number("position"), text("event_id"))
    op.create_table("funnel_people", text("user_id", key=True), text("org_id", key=True), text("contribution"))
    op.create_index("ix_funnel_people_org_id", "funnel_people", ["org_id"])
    op.create_table(
        "funnel_days", text("org_id", key=True), number("day", key=True), text("track", key=True), text("counts")
    )

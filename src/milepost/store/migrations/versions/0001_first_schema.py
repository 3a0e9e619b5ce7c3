"""The first schema: directory, records, service keys, journal."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def text_key(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text, primary_key=True)


def upgrade() -> None:
    op.create_table("organizations", text_key("org_id"), sa.Column("name", sa.Text, nullable=False))
    op.create_table(
        "enterprises",
        text_key("enterprise_id"),
        sa.Column("org_id", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.ForeignKeyConstraint(["org_id"], ["organizations.org_id"], name="fk_enterprises_org", ondelete="CASCADE"),
    )
    op.create_index("ix_enterprises_org_id_enterprise_id", "enterprises", ["org_id", "enterprise_id"])
    op.create_table(
        "roles",
        text_key("org_id"),
        text_key("role"),
        sa.Column("title", sa.Text, nullable=False),
        sa.Column("admin", sa.Boolean, nullable=False),
        sa.ForeignKeyConstraint(["org_id"], ["organizations.org_id"], name="fk_roles_org", ondelete="CASCADE"),
    )
    op.create_table("people", text_key("user_id"), sa.Column("id", sa.Text, nullable=False))
    memberships()
    op.create_table(
        "properties",
        text_key("user_id"),
        text_key("org_id"),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("replaces", sa.BigInteger, nullable=False),
    )
    op.create_index("ix_properties_org_id_user_id", "properties", ["org_id", "user_id"])
    op.create_table(
        "service_keys",
        text_key("key_id"),
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("label", sa.Text, nullable=False),
        sa.Column("scopes", sa.Text, nullable=False),
        sa.Column("org_id", sa.Text),
        sa.Column("created", sa.BigInteger, nullable=False),
        sa.Column("revoked", sa.BigInteger),
    )
    op.create_table(
        "journal",
        text_key("user_id"),
        text_key("id"),
        sa.Column("position", sa.BigInteger, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("org_id", sa.Text, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("type", sa.Text, nullable=False),
        sa.Column("data", sa.Text, nullable=False),
    )
    op.create_index("ix_journal_position_id", "journal", ["position", "id"])
    op.create_index("ix_journal_org_id_position", "journal", ["org_id", "position"])


def memberships() -> None:
    op.create_table(
        "members",
        text_key("user_id"),
        text_key("org_id"),
        sa.Column("since", sa.BigInteger, nullable=False),
        sa.ForeignKeyConstraint(["org_id"], ["organizations.org_id"], name="fk_members_org", ondelete="CASCADE"),
    )
    op.create_index("ix_members_org_id_user_id", "members", ["org_id", "user_id"])
    op.create_table(
        "member_roles",
        text_key("user_id"),
        text_key("org_id"),
        text_key("role"),
        sa.Column("since", sa.BigInteger, nullable=False),
        sa.ForeignKeyConstraint(
            ["user_id", "org_id"],
            ["members.user_id", "members.org_id"],
            name="fk_member_roles_member",
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["org_id", "role"],
            ["roles.org_id", "roles.role"],
            name="fk_member_roles_role",
            ondelete="CASCADE",
        ),
    )
    op.create_index("ix_member_roles_org_id_role_user_id", "member_roles", ["org_id", "role", "user_id"])
    op.create_table(
        "member_enterprises",
        text_key("user_id"),
        text_key("org_id"),
        text_key("enterprise_id"),
        sa.Column("since", sa.BigInteger, primary_key=True),
        sa.Column("until", sa.BigInteger),
    )
    op.create_index(
        "ix_member_enterprises_org_id_enterprise_id_user_id",
        "member_enterprises",
        ["org_id", "enterprise_id", "user_id"],
    )

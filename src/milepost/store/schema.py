"""The tables, one schema for SQLite and PostgreSQL.

Every per-user table starts its primary key with `user_id`, so that it can be distributed by it; the directory's own
tables are small enough to be replicated everywhere. Times are microseconds since 1970-01-01T00:00Z. An `org_id` of ''
stands for the home record, or for an event that concerns no organization.
"""

from sqlalchemy import BigInteger, Boolean, Column, ForeignKeyConstraint, Index, MetaData, Table, Text
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

REVISION = "0004"
"""The schema this code works with: the newest migration."""

metadata = MetaData(naming_convention={"ix": "ix_%(table_name)s_%(column_0_N_name)s", "pk": "pk_%(table_name)s"})

organizations = Table(
    "organizations",
    metadata,
    Column("org_id", Text, primary_key=True),
    Column("name", Text, nullable=False),
)

enterprises = Table(
    "enterprises",
    metadata,
    Column("enterprise_id", Text, primary_key=True),
    Column("org_id", Text, nullable=False),
    Column("name", Text, nullable=False),
    ForeignKeyConstraint(["org_id"], ["organizations.org_id"], ondelete="CASCADE", name="fk_enterprises_org"),
    Index(None, "org_id", "enterprise_id"),
)

roles = Table(
    "roles",
    metadata,
    Column("org_id", Text, primary_key=True),
    Column("role", Text, primary_key=True),
    Column("title", Text, nullable=False),
    Column("admin", Boolean, nullable=False),
    ForeignKeyConstraint(["org_id"], ["organizations.org_id"], ondelete="CASCADE", name="fk_roles_org"),
)

people = Table(
    "people",
    metadata,
    Column("user_id", Text, primary_key=True),
    Column("id", Text, nullable=False, doc="internal uuid, what completedBy carries"),
)

members = Table(
    "members",
    metadata,
    Column("user_id", Text, primary_key=True),
    Column("org_id", Text, primary_key=True),
    Column("since", BigInteger, nullable=False),
    ForeignKeyConstraint(["org_id"], ["organizations.org_id"], ondelete="CASCADE", name="fk_members_org"),
    Index(None, "org_id", "user_id"),
)

member_roles = Table(
    "member_roles",
    metadata,
    Column("user_id", Text, primary_key=True),
    Column("org_id", Text, primary_key=True),
    Column("role", Text, primary_key=True),
    Column("since", BigInteger, nullable=False),
    ForeignKeyConstraint(
        ["user_id", "org_id"], ["members.user_id", "members.org_id"], ondelete="CASCADE", name="fk_member_roles_member"
    ),
    ForeignKeyConstraint(
        ["org_id", "role"], ["roles.org_id", "roles.role"], ondelete="CASCADE", name="fk_member_roles_role"
    ),
    Index(None, "org_id", "role", "user_id"),
)

member_enterprises = Table(
    "member_enterprises",
    metadata,
    Column("user_id", Text, primary_key=True),
    Column("org_id", Text, primary_key=True),
    Column("enterprise_id", Text, primary_key=True),
    Column("since", BigInteger, primary_key=True),
    Column("until", BigInteger, doc="when it ended; the row stays, because the track depends on the past"),
    Index(None, "org_id", "enterprise_id", "user_id"),
)

properties = Table(
    "properties",
    metadata,
    Column("user_id", Text, primary_key=True),
    Column("org_id", Text, primary_key=True),
    Column(
        "body",
        Text,
        nullable=False,
        doc="the record as JSON text, written and read by the application alone",
    ),
    Column("version", BigInteger, nullable=False, doc="modifiedDate in microseconds; grows with every write"),
    Column(
        "replaces", BigInteger, nullable=False, doc="0; while a record is written, the version that it is to replace"
    ),
    Column("progress", Text, doc="JSON: what is kept beside a checklist that the server made"),
    Index(None, "org_id", "user_id"),
)

catalogs = Table(
    "catalogs",
    metadata,
    Column("org_id", Text, primary_key=True, doc="'' for the platform's"),
    Column("version", BigInteger, primary_key=True, autoincrement=False),
    Column("body", Text, nullable=False, doc="the catalog as canonical JSON; it never changes"),
    Column("published", BigInteger, nullable=False),
    Column("publisher", Text, nullable=False),
)

current_catalogs = Table(
    "current_catalogs",
    metadata,
    Column("org_id", Text, primary_key=True),
    Column("version", BigInteger, nullable=False),
)

signals = Table(
    "signals",
    metadata,
    Column("user_id", Text, primary_key=True, doc="'' for a signal that counts for everyone"),
    Column("org_id", Text, primary_key=True),
    Column("source", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("enterprise_id", Text, nullable=False, doc="'' for the whole organization"),
    Column("type", Text, nullable=False),
    Column("time", BigInteger, nullable=False),
    Column("received", BigInteger, nullable=False),
    Index(None, "user_id", "org_id", "type"),
)

shared_completions = Table(
    "shared_completions",
    metadata,
    Column("org_id", Text, primary_key=True),
    Column("enterprise_id", Text, primary_key=True, doc="'' for the whole organization"),
    Column("step_id", Text, primary_key=True),
    Column("evidence", Text, nullable=False, doc="JSON; null: taken back"),
)

service_keys = Table(
    "service_keys",
    metadata,
    Column("key_id", Text, primary_key=True),
    Column("digest", Text, nullable=False, doc="SHA-256 of the key's text, hex"),
    Column("label", Text, nullable=False),
    Column("scopes", Text, nullable=False, doc="JSON array"),
    Column("org_id", Text, doc="the one organization the key is limited to"),
    Column("created", BigInteger, nullable=False),
    Column("revoked", BigInteger),
)

console_sessions = Table(
    "console_sessions",
    metadata,
    Column("digest", Text, primary_key=True, doc="SHA-256 of the cookie's or the link's secret, hex"),
    Column("kind", Text, nullable=False, doc="session, or link: the one that begins a session, once"),
    Column("user_id", Text, nullable=False),
    Column("platform_admin", Boolean, nullable=False),
    Column("expires", BigInteger, nullable=False),
)

journal = Table(
    "journal",
    metadata,
    Column("user_id", Text, primary_key=True),
    Column("id", Text, primary_key=True, doc="uuid v7"),
    Column("position", BigInteger, nullable=False, doc="order for readers, see next_position"),
    Column("at", BigInteger, nullable=False),
    Column("org_id", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("data", Text, nullable=False, doc="JSON object: what changed"),
    Index(None, "position", "id"),
    Index(None, "org_id", "position"),
)


journal_readers = Table(
    "journal_readers",
    metadata,
    Column("name", Text, primary_key=True),
    Column("position", BigInteger, nullable=False, doc="with event_id: the last event that the reader has worked in"),
    Column("event_id", Text, nullable=False),
)

funnel_people = Table(
    "funnel_people",
    metadata,
    Column("user_id", Text, primary_key=True),
    Column("org_id", Text, primary_key=True),
    Column("contribution", Text, nullable=False, doc="JSON: what the user's checklist adds to funnel_days"),
    Index(None, "org_id"),
)

funnel_days = Table(
    "funnel_days",
    metadata,
    Column("org_id", Text, primary_key=True),
    Column("day", BigInteger, primary_key=True, autoincrement=False, doc="days since 1970-01-01, UTC"),
    Column("track", Text, primary_key=True),
    Column("counts", Text, nullable=False, doc="JSON: the sums of what the users' checklists add"),
)


class next_position(FunctionElement[int]):  # noqa: N801 - reads as the SQL function that it is
    """Where a new event stands in the journal.

    PostgreSQL: the transaction's number. A reader takes only events below the oldest transaction still running, so
    one that commits late is never overtaken. SQLite has one writer at a time, so the next number will do.
    """

    type = BigInteger()
    inherit_cache = True


@compiles(next_position, "postgresql")
def _transaction_number(_element: next_position, _compiler: SQLCompiler, **_options: object) -> str:
    return "CAST(CAST(pg_current_xact_id() AS text) AS bigint)"


@compiles(next_position, "sqlite")
def _next_number(_element: next_position, _compiler: SQLCompiler, **_options: object) -> str:
    return "(SELECT coalesce(max(position), 0) + 1 FROM journal)"


class settled_below(FunctionElement[int]):  # noqa: N801 - reads as the SQL function that it is
    """The position below which no event can come any more.

    PostgreSQL: the number of the oldest transaction still running. SQLite: whatever is visible is settled.
    """

    type = BigInteger()
    inherit_cache = True


@compiles(settled_below, "postgresql")
def _oldest_transaction(_element: settled_below, _compiler: SQLCompiler, **_options: object) -> str:
    return "CAST(CAST(pg_snapshot_xmin(pg_current_snapshot()) AS text) AS bigint)"


@compiles(settled_below, "sqlite")
def _beyond_all(_element: settled_below, _compiler: SQLCompiler, **_options: object) -> str:
    return "9223372036854775807"


class seen_now(FunctionElement[str]):  # noqa: N801 - reads as the SQL function that it is
    """Which positions a statement sees, as PostgreSQL writes a snapshot: `xmin:xmax:running,running,...`.

    It sees all below `xmax` but the transactions that run. SQLite: `n:n:`, n being the next position.
    """

    type = Text()
    inherit_cache = True


@compiles(seen_now, "postgresql")
def _snapshot(_element: seen_now, _compiler: SQLCompiler, **_options: object) -> str:
    return "CAST(pg_current_snapshot() AS text)"


@compiles(seen_now, "sqlite")
def _all_so_far(_element: seen_now, _compiler: SQLCompiler, **_options: object) -> str:
    return "(SELECT (coalesce(max(position), 0) + 1) || ':' || (coalesce(max(position), 0) + 1) || ':' FROM journal)"


class given_below(FunctionElement[int]):  # noqa: N801 - reads as the SQL function that it is
    """The position that no transaction has been given yet: what stands there or beyond is from another server."""

    type = BigInteger()
    inherit_cache = True


@compiles(given_below, "postgresql")
def _next_transaction(_element: given_below, _compiler: SQLCompiler, **_options: object) -> str:
    return "CAST(CAST(pg_snapshot_xmax(pg_current_snapshot()) AS text) AS bigint)"


@compiles(given_below, "sqlite")
def _next_of_all(_element: given_below, _compiler: SQLCompiler, **_options: object) -> str:
    return "9223372036854775807"

"""The checklist's use-cases: initialize, refresh, explain (contract part 2).

Each runs in the caller's transaction: it reads what is known, has the pure domain decide, and stores the outcome.
"""

from collections.abc import Mapping, Sequence

import msgspec
from msgspec import UNSET
from sqlalchemy import Connection

from milepost.access.policy import Action, require_active_role
from milepost.catalogs import service as catalogs
from milepost.checklists import queries
from milepost.checklists.cases import Case, admitted, knowledge, known_now, open_case, require_enterprise, stored
from milepost.checklists.sources import Findings
from milepost.directory.service import Context
from milepost.domain import checklists
from milepost.domain.contract import Track
from milepost.domain.explanations import Explained, explained
from milepost.domain.tracks import Joining, Strategy
from milepost.domain.wording import in_language, language_for
from milepost.properties.service import Answer


class Wish(msgspec.Struct, frozen=True):
    """How a checklist shall be made: for which enterprise ('': the whole organization), with which interests (None:
    those it had), and whether what was completed or skipped stays so.
    """

    enterprise_id: str = ""
    interests: Sequence[str] | None = None
    keep_progress: bool = False


def joining(connection: Connection, context: Context, user_id: str, org_id: str, enterprise_id: str) -> Joining:
    """Who is about to get a checklist, for a decision on their track that cannot wait for the transaction."""
    admitted(connection, context, Action.WRITE_PROPERTIES, user_id, org_id)
    return _joining(connection, user_id, org_id, enterprise_id)


def _joining(connection: Connection, user_id: str, org_id: str, enterprise_id: str) -> Joining:
    require_enterprise(connection, org_id, enterprise_id)
    return Joining(user_id, org_id, enterprise_id, queries.prior_enterprises(connection, user_id, enterprise_id))


def initialize(
    connection: Connection, context: Context, user_id: str, org_id: str, wish: Wish, strategy: Strategy
) -> Answer:
    """Make the user's checklist in the organization: detect the track, build the steps, mark those already done."""
    case = open_case(connection, context, Action.WRITE_PROPERTIES, user_id, org_id)
    # What counts for every member is told to those who have a checklist: it must not miss one that is being made.
    queries.keep_directory(connection, org_id)
    decision = strategy(_joining(connection, user_id, org_id, wish.enterprise_id))
    before = case.situation.current
    old = None if before is None or before.properties.guided_checklist is UNSET else before.properties.guided_checklist
    interests = wish.interests
    if interests is None:
        interests = [] if old is None or old.product_interests is UNSET else old.product_interests
    known = knowledge(
        context.now,
        case.situation,
        catalogs.current(connection, org_id),
        queries.counts(connection, [queries.Scope(user_id, org_id, wish.enterprise_id)])[0],
        enterprise_id=wish.enterprise_id,
        track=decision.track,
        interests=interests,
    )
    kept = old if wish.keep_progress else None
    outcome = checklists.initialized(known, kept, before.progress if before and wish.keep_progress else None)
    why = {"track": decision.track, "strategy": decision.strategy, "why": decision.why}
    return stored(connection, context, case, outcome, known, ("checklist.initialized", why))


def refreshable(
    connection: Connection, context: Context, user_id: str, org_id: str, *, enterprise_id: str | None
) -> str:
    """See, before anybody is asked for signals, that the checklist is there and the caller may refresh it; answers the
    enterprise whose signals count, '' for the whole organization.
    """
    case = admitted(connection, context, Action.WRITE_PROPERTIES, user_id, org_id)
    return _refreshed_for(connection, context, case, enterprise_id)


def _refreshed_for(connection: Connection, context: Context, case: Case, enterprise_id: str | None) -> str:
    require_active_role(context.caller, case.target, user_has_role=bool(case.situation.roles))
    _ = case.checklist
    if enterprise_id is None:
        enterprise_id = case.progress.enterprise_id if case.progress else ""
    require_enterprise(connection, case.org_id, enterprise_id)
    return enterprise_id


def refresh(
    connection: Connection,
    context: Context,
    user_id: str,
    org_id: str,
    *,
    enterprise_id: str | None,
    findings: Findings | None = None,
) -> tuple[Answer, Mapping[str, str]]:
    """Bring the checklist up to what is known now and to what sources have found, and store it in one transaction;
    answers with it the sources that failed, each with its reason.
    """
    case = open_case(connection, context, Action.WRITE_PROPERTIES, user_id, org_id)
    enterprise_id = _refreshed_for(connection, context, case, enterprise_id)
    failed = findings.store(connection, context) if findings is not None else {}
    known = known_now(connection, context, case, enterprise_id)
    outcome = checklists.refreshed(case.checklist, case.progress, known)
    told = {"sourcesFailed": dict(failed)} if failed else {}
    return stored(connection, context, case, outcome, known, ("checklist.refreshed", told)), failed


class Explanation(msgspec.Struct, rename="camel", frozen=True):
    """Why the checklist is what it is: the catalog it is made from, what the user is, and every step."""

    user_id: str
    org_id: str
    catalog_org_id: str
    catalog_version: int
    track: Track
    roles: Sequence[str]
    product_interests: Sequence[str]
    steps: Sequence[Explained]


def explain(connection: Connection, context: Context, user_id: str, org_id: str) -> tuple[Explanation, str]:
    """Say of every step of the catalog whether it is shown, hidden or not there, why, and by what it was done.

    The second part of the answer is the language of the titles, one of the current catalog's.
    """
    case = open_case(connection, context, Action.READ_PROPERTIES, user_id, org_id)
    progress = case.progress
    known = known_now(connection, context, case, progress.enterprise_id if progress else "")
    published, checklist, wording = known.published, case.checklist, case.wording
    language = language_for(tuple(published.catalog.languages), context.accept_language)
    if wording is not None:
        checklist = in_language(checklist, wording, language)
    explanation = Explanation(
        user_id=user_id,
        org_id=org_id,
        catalog_org_id=published.org_id,
        catalog_version=published.version,
        track=known.track,
        roles=known.roles,
        product_interests=known.interests,
        steps=explained(checklist, progress, known, language),
    )
    return explanation, language

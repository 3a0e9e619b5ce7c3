"""What a checklist would be, where nothing is stored: somebody's with other roles, or anybody's under a catalog."""

from collections.abc import Sequence

import msgspec
from sqlalchemy import Connection

from milepost.access.policy import Action
from milepost.checklists.cases import admitted, known_now
from milepost.directory.service import Context
from milepost.domain import checklists
from milepost.domain.checklists import Knowledge, Outcome, Published
from milepost.domain.contract import GuidedChecklist
from milepost.domain.records import completed_at, visible_steps
from milepost.domain.wording import in_language, language_for, wording_of


def with_roles(
    connection: Connection, context: Context, user_id: str, org_id: str, roles: Sequence[str]
) -> tuple[GuidedChecklist, str]:
    """The user's checklist as a refresh would make it if they held exactly these roles, and its language.

    Raises:
        Problem: `forbidden` (403), `organization_not_found`, `checklist_not_found`, `catalog_not_found` (404).
    """
    case = admitted(connection, context, Action.PREVIEW_CHECKLIST, user_id, org_id)
    case = msgspec.structs.replace(case, situation=msgspec.structs.replace(case.situation, roles=list(roles)))
    checklist = case.checklist
    known = known_now(connection, context, case, case.progress.enterprise_id if case.progress else "")
    outcome = checklists.refreshed(checklist, case.progress, known)
    return _shown(outcome, known, context.accept_language)


def under(known: Knowledge, accept_language: str | None) -> tuple[GuidedChecklist, str]:
    """The checklist that somebody new would get of whom this is known, and its language."""
    return _shown(checklists.initialized(known), known, accept_language)


def _shown(outcome: Outcome, known: Knowledge, accept_language: str | None) -> tuple[GuidedChecklist, str]:
    checklist, published = outcome.checklist, known.published
    seen = visible_steps(checklists.steps_of(checklist), known.roles)
    checklist = msgspec.structs.replace(checklist, roles=list(known.roles), steps=seen)
    checklist = msgspec.structs.replace(checklist, completed_at=completed_at(checklist))
    return _worded(checklist, published, accept_language)


def _worded(
    checklist: GuidedChecklist, published: Published, accept_language: str | None
) -> tuple[GuidedChecklist, str]:
    language = language_for(tuple(published.catalog.languages), accept_language)
    return in_language(checklist, wording_of(published.catalog), language), language

"""What a role gained brings: its steps join the checklist at once, in the transaction that gives the role."""

from collections import defaultdict
from collections.abc import Sequence

from sqlalchemy import Connection

from milepost.catalogs import service as catalogs
from milepost.checklists.cases import made_checklists, stored
from milepost.directory.memberships import Holding
from milepost.directory.service import Context
from milepost.domain.checklists import refreshed
from milepost.store import people


def bring_steps(connection: Connection, context: Context, gained: Sequence[Holding]) -> None:
    """Refresh the checklists of those who gained a role, where the server made them; nothing done is lost by it."""
    roles: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for held in gained:
        roles[held.org_id][held.user_id].append(held.name)
    for org_id, users in sorted(roles.items()):
        people.hold(connection, sorted(users))
        published = catalogs.current_for(connection, [org_id])
        for case, known in made_checklists(connection, context, [(org_id, one) for one in sorted(users)], published):
            outcome = refreshed(case.checklist, case.progress, known)
            because = {"rolesGained": users[case.user_id]}
            stored(connection, context, case, outcome, known, ("checklist.refreshed", because))

"""The demo: two organizations and their people, and what to try first."""

from functools import partial
from pathlib import Path

from milepost.cli.access import signed
from milepost.cli.terminal import OPERATOR, Failure, out
from milepost.directory.service import Context
from milepost.edge import BASE_PATH, new_id, now
from milepost.settings import Settings
from milepost.store.database import Database
from milepost.transfer import service

DATA = Path(__file__).with_name("demo.ndjson")

ORG = "tarnwick"
USER = "marco.lindqvist"
ADMIN = "ingrid.solbakken"
COLLEAGUE = "tove.hallgren"

TTL = 12 * 3600


async def load(database: Database) -> bool:
    """Load the demo into an empty database; answers whether it did. One that holds anything is left alone."""
    at = now()
    good, bad = service.read(enumerate(DATA.read_bytes().splitlines(), 1), at, lambda _: None)
    refused = await database.write(partial(service.fill, numbered=good, context=Context(OPERATOR, at, new_id)))
    if refused is None:
        return False
    for each in [*bad, *refused]:
        raise Failure(f"the demo could not be loaded: line {each.line}: {each.detail} Is the clock right?")
    return True


def greet(settings: Settings, url: str, *, loaded: bool) -> None:
    """Say on standard output where to go, with tokens and calls that work when they are pasted."""
    _say(f"\nMilepost is at {url}\n")
    _say(f"  API            {url}{BASE_PATH}")
    _say(f"  Documentation  {url}/docs\n")
    try:
        tokens = [signed(settings, who, platform_admin=False, ttl=TTL) for who in (USER, ADMIN)]
    except Failure as failure:
        _say(f"There are no tokens to try it with: {failure}.")
        return
    if not loaded:
        _say("The database held data already, so the demo was not loaded. Where it is the demo's, this works:\n")
    _say(f"Marco ({USER}) dispatches lorries at Tarnwick Freight; Ingrid ({ADMIN}) is an admin there.")
    _say(f"Their tokens hold for {TTL // 3600} hours. Paste these lines into another terminal:\n")
    _say(f"API={url}{BASE_PATH}\nUSER_TOKEN={tokens[0]}\nADMIN_TOKEN={tokens[1]}\n")
    for purpose, call in _calls().items():
        _say(f"{purpose}:\n\n{call}\n")


def _calls() -> dict[str, str]:
    """What to try, and the line to paste for it: a comment in it would not do in every shell."""
    at = f"{now():%Y-%m-%dT%H:%M:%SZ}"
    checklist = f'{{"track":"A","computedAt":"{at}"}}'
    body = f'{{"userId":"{USER}","guidedChecklist":{checklist},"createdDate":"{at}","modifiedDate":"{at}"}}'
    as_user, as_admin = (f'curl -sS -w "\\n" -H "Authorization: Bearer ${name}_TOKEN"' for name in ("USER", "ADMIN"))
    sent = f"-X PUT -H \"Content-Type: application/json\" -d '{body}'"
    return {
        "Marco reads his record at Tarnwick, with the roles he holds now and the steps that they show him":
            f'{as_user} "$API/users/{USER}/properties?orgId={ORG}"',
        "Marco stores his home record, which belongs to no organization":
            f'{as_user} {sent} "$API/users/{USER}/properties"',
        "Ingrid reads the record of a member":
            f'{as_admin} "$API/users/{COLLEAGUE}/properties?orgId={ORG}"',
    }  # fmt: skip


def _say(text: str) -> None:
    # A token that is broken into lines cannot be pasted.
    out.print(text, soft_wrap=True)

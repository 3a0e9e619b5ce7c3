"""What `milepost serve --demo` says first: where to go, and a story to paste, call by call."""

from typing import NamedTuple

from milepost.cli.access import signed
from milepost.cli.terminal import Failure, out
from milepost.edge import BASE_PATH
from milepost.settings import Settings

USER = "leila"
TTL = 12 * 3600


class Chapter(NamedTuple):
    """What happens, what to see, and the call that makes it happen."""

    happens: str
    see: str
    call: str


CHAPTERS = (
    Chapter(
        "Leila joins Tarnwick Freight: she dispatches for Tarnwick Nordic.",
        "The answer is her membership, with the role.",
        r"""curl -sS -w '\n' -X PUT "$API/organizations/tarnwick/members/leila" -H "$OPERATOR" -H "$JSON" \
  -d '{"roles":["dispatcher"],"enterprises":["tarnwick-nordic"]}'""",
    ),
    Chapter(
        "She signs in, and her checklist is made.",
        "Steps for all who are new, and for dispatchers. The vehicles are connected: Tove did that for everyone.",
        r"""curl -sS -X POST -H "$LEILA" -H "$JSON" -d '{"guidedChecklist":{"productInterests":["route-planning"]}}' \
  "$API/users/leila/properties/guided-checklist/initialize?orgId=tarnwick&enterpriseId=tarnwick-nordic" \
  | steps""",
    ),
    Chapter(
        "She plans a tour, and your application reports it.",
        "The answer counts one step completed. Sent again, the event is a duplicate and counts for nothing.",
        r"""curl -sS -w '\n' "$API/signals" -H "$OPERATOR" -H "$JSON" \
  -d '{"specversion":"1.0","id":"1","source":"/tours",
  "type":"tour.planned","subject":"leila","orgid":"tarnwick"}'""",
    ),
    Chapter(
        "She chooses what she hears about, and marks that step herself.",
        "It is completed, and so is the tour, which only the event could do.",
        r"""for STATUS in IN_PROGRESS COMPLETED; do
  curl -sS -w '\n' -X PATCH -H "$LEILA" -H "$JSON" -d "{\"status\":\"$STATUS\"}" \
    "$API/users/leila/properties/guided-checklist/steps/choose-notifications?orgId=tarnwick"
done | tail -n 1 | steps""",
    ),
    Chapter(
        "Her role is taken away, and she looks again.",
        "The dispatcher's three steps are gone from the very next read. With the role they come back as they were.",
        r"""curl -sS -w '\n' -X PUT "$API/organizations/tarnwick/members/leila" -H "$OPERATOR" -H "$JSON" \
  -d '{"roles":[],"enterprises":["tarnwick-nordic"]}' &&
  curl -sS "$API/users/leila/properties?orgId=tarnwick" -H "$LEILA" | steps""",
    ),
)

SHOW_STEPS = r"""steps() {
  awk -v RS=, -F'"' '/^"title":/{t=$4} /^"status":"/{printf "  %-12s%s\n",$4,t} /^"detail":/{print $4}'
}"""
"""A shell's function that shows of a record its steps, a line each; of a problem its detail, up to a comma."""


def greet(settings: Settings, url: str, *, loaded: bool) -> None:
    """Say on standard output where to go, with tokens and calls that work when they are pasted."""
    _say(f"\nMilepost is at {url}\n")
    _say(f"  API            {url}{BASE_PATH}")
    _say(f"  Documentation  {url}/docs")
    _say(f"  Demo page      {url}/demo\n" if settings.demo_refused is None else "")
    try:
        user = signed(settings, USER, platform_admin=False, ttl=TTL)
        operator = signed(settings, "operator", platform_admin=True, ttl=TTL)
    except Failure as failure:
        _say(f"There are no tokens to try it with: {failure}.")
        return
    if not loaded:
        _say("The database held data already, so the demo was not loaded. Where it is the demo's, this works:\n")
    _say(f"A story in five calls. First paste these into another terminal; the tokens hold for {TTL // 3600} hours:\n")
    _say(f"API={url}{BASE_PATH}")
    _say(f'LEILA="Authorization: Bearer {user}"\nOPERATOR="Authorization: Bearer {operator}"')
    _say(f'JSON="Content-Type: application/json"\n{SHOW_STEPS}\n')
    # A comment in a call would not do in every shell: what there is to say stands before it.
    for number, chapter in enumerate(CHAPTERS, 1):
        _say(f"{number}. {chapter.happens}", bold=True)
        _say(f"   {chapter.see}\n\n{chapter.call}\n")


def _say(text: str, *, bold: bool = False) -> None:
    # A token that is broken into lines cannot be pasted.
    out.print(text, style="bold" if bold else None, soft_wrap=True)

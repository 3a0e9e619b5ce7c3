"""A customer's page with the widget in it, under a strict policy, and what a test does with it."""

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Dialog, Locator, Page, Request, Route, expect

from tests.arrange import BASE, Json, World
from tests.conftest import Service, wait_until_ready

AXE = Path(__file__).parent.parent / "web/node_modules/axe-core/axe.min.js"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; require-trusted-types-for 'script'"
)
HTML = """<!doctype html>
<html lang="{language}"><head><title>An application</title>
<script type="module" src="/widget/milepost-checklist.js"></script><script src="/app.js" defer></script></head>
<body><main><h1>An application</h1><milepost-checklist base-url="{base_url}" user-id="{user_id}" org-id="{org_id}"
{attributes}></milepost-checklist></main></body></html>"""
SCRIPT = """
const widget = document.querySelector("milepost-checklist");
window.told = [];
for (const name of ["navigate", "change", "complete", "refused"]) {
  widget.addEventListener("milepost:" + name, (event) => {
    if (name === "navigate") event.preventDefault();
    window.told.push([name, event.detail]);
  });
}
widget.getToken = async () => (await fetch("/app-token")).text();
"""

STEPS: list[Json] = [
    {"stepId": "read", "title": "Read the guide", "ctaRoute": "/guide", "sortOrder": 10},
    {
        "stepId": "prove",
        "title": "Create a wallet",
        "ctaRoute": "/wallets",
        "sortOrder": 20,
        "completeWhen": "signals['wallet.created'].count > 0",
    },
    {"stepId": "later", "title": "Share the wallet", "ctaRoute": "/share", "sortOrder": 30, "requires": ["read"]},
    {"stepId": "must", "title": "Accept the terms", "ctaRoute": "/terms", "sortOrder": 40, "skippable": False},
]
TEXTS = {"description": "What there is to do", "ctaLabel": "Go there"}


def publish(world: World, steps: list[Json], **members: Any) -> None:
    """Publish a catalog for the organization, and make the user's checklist from it."""
    world.put(
        f"/organizations/{world.org_id}/catalog",
        {"name": "Onboarding", "steps": [TEXTS | one for one in steps], **members},
    )
    world.make_member(world.user_id, "reader")
    made = world.user.post(f"{world.path}/guided-checklist/initialize", params={"orgId": world.org_id})
    assert made.is_success, made.text


def statuses(world: World) -> dict[str, str]:
    """What the server says of each step."""
    return {one["stepId"]: one["status"] for one in world.shown()["guidedChecklist"]["steps"]}


def report(world: World, kind: str) -> None:
    """Report a signal about the user, as the application does."""
    event = {"specversion": "1.0", "id": kind, "source": "/tests", "type": kind}
    answer = world.platform.post(f"{BASE}/signals", json=event | {"subject": world.user_id, "orgid": world.org_id})
    assert answer.is_success, answer.text


@dataclass
class Opened:
    """An open page, and what was seen of it: its errors, and the changes that it sent."""

    page: Page
    world: World
    errors: list[str] = field(default_factory=list)
    sent: list[Request] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)

    @property
    def widget(self) -> Locator:
        return self.page.locator("milepost-checklist")

    def step(self, step_id: str) -> Locator:
        return self.widget.locator(f'[data-step="{step_id}"]')

    def unfold(self, step_id: str) -> Locator:
        """The step, unfolded."""
        step = self.step(step_id)
        if step.locator(".row").get_attribute("aria-expanded") == "false":
            step.locator(".row").click()
        return step

    def press(self, step_id: str, name: str) -> None:
        """Press a button in a step."""
        self.unfold(step_id).get_by_role("button", name=name, exact=True).click()

    def expect(self, step_id: str, status: str) -> None:
        """Wait until the page shows a step in a status."""
        expect(self.step(step_id)).to_have_attribute("data-status", status)

    def another(self) -> Page:
        """The same page once more, in another tab."""
        tab = self.page.context.new_page()
        tab.goto(self.page.url)
        return tab

    def told(self, name: str) -> list[Any]:
        """The details of the events of a name that the page was told of."""
        return [detail for one, detail in self.page.evaluate("window.told") if one == name]

    def stored(self, step_id: str, status: str) -> None:
        """Wait until the server has a step in a status."""
        deadline = time.monotonic() + 15
        while statuses(self.world)[step_id] != status:
            assert time.monotonic() < deadline, f"{step_id} is {statuses(self.world)[step_id]}, not {status}"
            # Not asleep: what the page asks of the test itself is answered meanwhile.
            self.page.wait_for_timeout(50)

    def accessible(self) -> None:
        """See that axe finds nothing wrong with the page as it is now."""
        # What is about to appear has less contrast than what has.
        self.page.evaluate("Promise.all(document.getAnimations().map((one) => one.finished.catch(() => 0)))")
        self.page.evaluate(AXE.read_text())
        found = self.page.evaluate("axe.run(document, {resultTypes: ['violations']})")
        assert [(one["id"], [node["html"] for node in one["nodes"]]) for one in found["violations"]] == []


@contextmanager
def opened(
    browser: Browser,
    world: World,
    *,
    attributes: str = "",
    language: str = "en",
    token: Callable[[], str] | None = None,
    prepare: Callable[[Page], None] = lambda _: None,
    **options: Any,
) -> Iterator[Opened]:
    """A page of the world's user; at its end it must have had no error that its policy or a script caused."""
    base_url = world.service.base_url
    context = browser.new_context(reduced_motion=options.pop("reduced_motion", "reduce"), **options)
    page = context.new_page()
    seen = Opened(page, world)
    html = HTML.format(
        language=language,
        base_url=base_url,
        user_id=escape(world.user_id),
        org_id=escape(world.org_id),
        attributes=attributes,
    )

    def hand_out(route: Route) -> None:
        seen.tokens.append((token or (lambda: world.service.token(world.user_id)))())
        route.fulfill(body=seen.tokens[-1], content_type="text/plain")

    def refuse_dialog(dialog: Dialog) -> None:
        seen.errors.append(dialog.message)
        dialog.dismiss()

    headers = {"Content-Type": "text/html; charset=utf-8", "Content-Security-Policy": POLICY}
    context.route(f"{base_url}/app", lambda route: route.fulfill(body=html, headers=headers))
    context.route(f"{base_url}/app.js", lambda route: route.fulfill(body=SCRIPT, content_type="text/javascript"))
    context.route(f"{base_url}/app-token", hand_out)
    page.on("pageerror", lambda error: seen.errors.append(str(error)))
    page.on("console", lambda message: seen.errors.append(message.text) if "Policy" in message.text else None)
    page.on("dialog", refuse_dialog)
    page.on("request", lambda request: seen.sent.append(request) if request.method in {"PATCH", "POST"} else None)
    prepare(page)
    page.goto(f"{base_url}/app")
    try:
        yield seen
        assert seen.errors == []
    finally:
        context.close()


def restarted(service: Service) -> Service:
    """The service again, on the port where it was, after a stop."""
    with service.log.open("ab") as output:
        process = subprocess.Popen(
            service.process.args,
            cwd=service.log.parent,
            env=os.environ | {"MILEPOST_SIGNING_KEY_FILE": str(service.signing_key_file)},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    again = Service(service.base_url, service.database_url, process, service.signing_key_file, service.log)
    wait_until_ready(again)
    return again

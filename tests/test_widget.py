"""The widget in a customer's page, in a real browser against the real service."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Page, Route, expect

from tests.arrange import BASE, World, fresh
from tests.browser import running
from tests.conftest import Service, start_service
from tests.pages import STEPS, opened, publish, report, restarted, statuses

# One process of a run has the browser, and all tests that need it.
pytestmark = pytest.mark.xdist_group("browser")

EVENTS = "**/properties/events*"
EXPLAIN = "**/guided-checklist/explain*"
MOVES = "**/guided-checklist/steps/*"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    # Not for the whole run: where the browser is driven, no other event loop can be run.
    with running() as browser:
        yield browser


@pytest.fixture
def world(service: Service) -> World:
    """A user with the checklist of STEPS."""
    world = World(service)
    publish(world, STEPS)
    return world


def only_polling(page: Page) -> None:
    """Have the page do without the stream of events, and move its clock by hand."""
    page.route(EVENTS, lambda route: route.fulfill(status=404))
    page.clock.install()


def answering(pattern: str, answer: Callable[[Route], None], times: int | None = None) -> Callable[[Page], None]:
    """Have requests of a pattern answered by the test instead of the service."""

    def prepare(page: Page) -> None:
        page.route(pattern, answer, times=times)

    return prepare


def test_the_steps_are_shown_in_order_with_the_progress(browser: Browser, world: World) -> None:
    with opened(browser, world) as app:
        expect(app.widget.locator(".title")).to_have_text([one["title"] for one in STEPS])
        expect(app.widget.get_by_role("progressbar", name="0 of 4 done")).to_be_visible()
        expect(app.step("read").locator(".row")).to_have_attribute("aria-expanded", "true")


def test_following_the_call_to_action_starts_the_step_and_tells_the_page(browser: Browser, world: World) -> None:
    with opened(browser, world) as app:
        app.unfold("read").get_by_role("link", name="Go there").click()

        app.expect("read", "IN_PROGRESS")
        app.stored("read", "IN_PROGRESS")
        (navigated,) = app.told("navigate")
        assert navigated["route"] == "/guide"
        assert navigated["step"]["stepId"] == "read"
        assert app.page.url.endswith("/app"), "the page cancelled the event, so the link led nowhere"


def test_a_step_is_marked_as_done(browser: Browser, world: World) -> None:
    with opened(browser, world) as app:
        app.press("read", "Mark as done")

        app.expect("read", "COMPLETED")
        app.stored("read", "COMPLETED")
        expect(app.widget.get_by_role("progressbar", name="1 of 4 done")).to_be_visible()
        expect(app.step("prove").locator(".row")).to_be_focused()


def test_a_step_is_skipped_and_the_skip_undone(browser: Browser, world: World) -> None:
    with opened(browser, world) as app:
        app.press("read", "Skip")
        app.stored("read", "SKIPPED")

        app.press("read", "Undo skip")
        app.stored("read", "UP_NEXT")
        app.expect("read", "UP_NEXT")


def test_only_what_the_catalog_allows_is_offered(browser: Browser, world: World) -> None:
    with opened(browser, world) as app:
        expect(app.step("later")).to_have_attribute("data-locked", "")

        expect(app.unfold("prove").get_by_text("checked off by itself")).to_be_visible()
        expect(app.step("prove").get_by_role("button", name="Mark as done")).to_have_count(0)
        expect(app.unfold("must").get_by_role("button", name="Mark as done")).to_be_visible()
        expect(app.step("must").get_by_role("button", name="Skip")).to_have_count(0)
        expect(app.unfold("later").get_by_role("button", name="Read the guide")).to_be_visible()
        expect(app.step("later").get_by_role("button", name="Mark as done")).to_have_count(0)


def test_the_checklist_is_put_away_and_brought_back(browser: Browser, world: World) -> None:
    with opened(browser, world) as app:
        app.widget.get_by_role("button", name="Hide the checklist").click()
        bring_back = app.widget.get_by_role("button", name="Show the checklist")
        expect(bring_back).to_be_focused()
        expect(app.step("read")).to_have_count(0)

        with app.page.expect_response(lambda answer: "/guided-checklist/restore" in answer.url and answer.ok):
            bring_back.click()
        expect(app.step("read")).to_be_visible()
        app.page.reload()
        expect(app.step("read")).to_be_visible()


def test_the_last_step_is_celebrated(browser: Browser, world: World) -> None:
    report(world, "wallet.created")
    with opened(browser, world, reduced_motion="no-preference") as app:
        for step_id in ("read", "later", "must"):
            app.press(step_id, "Mark as done")

        expect(app.widget.get_by_text("You are all set!")).to_be_visible()
        expect(app.widget.locator("[data-celebrating]")).to_be_visible()
        assert app.told("complete") == [{}]
        app.widget.get_by_role("button", name="Show the steps").click()
        expect(app.step("must")).to_be_visible()


def test_who_wants_less_motion_sees_none(browser: Browser, world: World) -> None:
    with opened(browser, world, reduced_motion="reduce") as app:
        app.press("read", "Mark as done")
        app.expect("read", "COMPLETED")

        assert app.page.evaluate("document.getAnimations().length") == 0


def test_two_pages_agree(browser: Browser, world: World) -> None:
    with opened(browser, world, prepare=only_polling) as one, opened(browser, world, prepare=only_polling) as other:
        one.press("read", "Mark as done")
        other.press("must", "Mark as done")
        one.stored("read", "COMPLETED")
        one.stored("must", "COMPLETED")

        for page in (one, other):
            page.page.clock.fast_forward(15_000)
            page.expect("read", "COMPLETED")
            page.expect("must", "COMPLETED")


def test_another_tab_of_the_same_browser_is_told_at_once(browser: Browser, world: World) -> None:
    with opened(browser, world, prepare=only_polling) as app:
        tab = app.another()
        expect(tab.locator('[data-step="read"]')).to_have_attribute("data-status", "UP_NEXT")

        app.press("read", "Mark as done")

        expect(tab.locator('[data-step="read"]')).to_have_attribute("data-status", "COMPLETED")


def test_what_signals_complete_appears_by_itself(browser: Browser, world: World) -> None:
    with opened(browser, world, prepare=only_polling) as app:
        app.expect("prove", "UP_NEXT")
        report(world, "wallet.created")

        app.page.clock.fast_forward(15_000)

        app.expect("prove", "COMPLETED")
        expect(app.widget.get_by_role("status").filter(has_text="Create a wallet: Done. 1 of 4 done")).to_have_count(1)


def test_a_stream_of_events_says_when_to_look(browser: Browser, world: World) -> None:
    def stream(page: Page) -> None:
        only_polling(page)
        events = "id: 7\nevent: ready\ndata: {}\n\nevent: changed\ndata: {}\n\n"
        page.route(EVENTS, lambda route: route.fulfill(body=events, content_type="text/event-stream"))

    with opened(browser, world, prepare=stream) as app:
        app.expect("prove", "UP_NEXT")
        report(world, "wallet.created")
        with app.page.expect_request(lambda request: request.headers.get("last-event-id") == "7"):
            app.page.clock.fast_forward(5_000)

        app.expect("prove", "COMPLETED")


def test_a_change_that_is_refused_is_taken_back_with_a_message(browser: Browser, world: World) -> None:
    # Without an explanation nothing is known of the rules, so that everything is offered.
    with opened(browser, world, prepare=answering(EXPLAIN, lambda route: route.abort())) as app:
        app.press("prove", "Mark as done")

        expect(app.step("prove").get_by_role("alert")).to_contain_text("cannot be marked by hand")
        app.expect("prove", "IN_PROGRESS")
        app.press("must", "Skip")
        expect(app.step("must").get_by_role("alert")).to_contain_text("cannot be skipped")
        app.expect("must", "UP_NEXT")
        app.press("later", "Mark as done")
        expect(app.step("later").get_by_role("alert")).to_contain_text("First: Read the guide")
        assert [one["name"] for one in app.told("refused")] == ["proof_required", "not_skippable", "prerequisites_open"]


def test_a_problem_that_the_widget_does_not_know_is_told_in_the_servers_words(browser: Browser, world: World) -> None:
    problem = {"name": "too_early", "detail": "Come back on Monday.", "status": 409, "title": "", "requestId": "1"}

    def refuse(route: Route) -> None:
        route.fulfill(status=409, json=problem, content_type="application/problem+json")

    with opened(browser, world, prepare=answering(MOVES, refuse)) as app:
        app.press("read", "Skip")

        expect(app.step("read").get_by_role("alert")).to_have_text("Come back on Monday.")
        app.expect("read", "UP_NEXT")


def test_what_changed_meanwhile_is_read_before_the_change_is_made(browser: Browser, world: World) -> None:
    with opened(browser, world, prepare=only_polling) as app:
        app.expect("read", "UP_NEXT")
        moved = world.user.patch(
            f"{world.path}/guided-checklist/steps/must", params={"orgId": world.org_id}, json={"status": "IN_PROGRESS"}
        )
        assert moved.is_success

        app.press("read", "Skip")

        app.stored("read", "SKIPPED")
        app.expect("must", "IN_PROGRESS")
        assert all(request.headers["if-match"] for request in app.sent)


def test_offline_the_checklist_stays_and_sends_what_was_asked_for_later(browser: Browser, world: World) -> None:
    with opened(browser, world) as app:
        app.expect("read", "UP_NEXT")
        app.page.context.set_offline(True)
        app.press("read", "Skip")

        app.expect("read", "SKIPPED")
        expect(app.widget.get_by_text("You are offline.")).to_be_visible()
        assert statuses(world)["read"] == "UP_NEXT"

        app.page.context.set_offline(False)
        app.stored("read", "SKIPPED")
        expect(app.widget.get_by_text("You are offline.")).to_have_count(0)


def test_a_change_whose_answer_was_lost_is_not_sent_again(browser: Browser, world: World) -> None:
    def lose(route: Route) -> None:
        route.fetch()
        route.abort()

    with opened(browser, world, prepare=answering(MOVES, lose, times=1)) as app:
        app.press("read", "Skip")
        expect(app.widget.get_by_text("cannot be reached")).to_be_visible()
        expect(app.widget.get_by_text("cannot be reached")).to_have_count(0)

        app.expect("read", "SKIPPED")
        assert len([request for request in app.sent if request.method == "PATCH"]) == 1


def test_a_page_outlives_a_restart_of_the_service(browser: Browser, database_url: str, tmp_path: Path) -> None:
    service = start_service(database_url, tmp=tmp_path)
    world = World(service)
    publish(world, STEPS)
    with opened(browser, world) as app:
        app.expect("read", "UP_NEXT")
        service.stop()
        app.press("read", "Skip")
        expect(app.widget.get_by_text("cannot be reached")).to_be_visible()

        with restarted(service) as again:
            app.world = World(again, world.org_id, world.user_id)
            app.stored("read", "SKIPPED")
            expect(app.widget.get_by_text("cannot be reached")).to_have_count(0)


def test_a_token_is_renewed_before_it_expires(browser: Browser, world: World) -> None:
    hours = iter([1, 5])

    def token() -> str:
        return world.service.token(world.user_id, ttl=timedelta(hours=next(hours)))

    with opened(browser, world, token=token, prepare=only_polling) as app:
        app.expect("read", "UP_NEXT")
        assert len(app.tokens) == 1

        app.page.clock.fast_forward("59:40")
        app.press("read", "Skip")

        app.stored("read", "SKIPPED")
        assert len(app.tokens) == 2


def test_a_token_that_is_refused_is_renewed_and_the_call_made_again(browser: Browser, world: World) -> None:
    tokens = iter(["refused.by.server"])

    with opened(browser, world, token=lambda: next(tokens, "") or world.service.token(world.user_id)) as app:
        app.expect("read", "UP_NEXT")
        assert len(app.tokens) == 2


def test_a_session_that_has_ended_is_told(browser: Browser, world: World) -> None:
    with opened(browser, world, token=lambda: "refused.by.server") as app:
        expect(app.widget.get_by_text("Your session has ended.")).to_be_visible()
        expect(app.widget.get_by_role("button", name="Try again")).to_be_visible()
        app.accessible()


HOSTILE = (
    """</script><img src=x onerror="alert('x')"><script>alert('x')</script>"><svg/onload=alert('x')>{{alert('x')}}"""
)


def test_nothing_that_is_stored_runs(browser: Browser, service: Service) -> None:
    world = World(service, user_id=f"user'\"<b>{fresh('x')}")
    hostile = {
        "stepId": f"hostile {HOSTILE}"[:200],
        "title": f"title {HOSTILE}",
        "description": f"description {HOSTILE}",
        "ctaLabel": f"label {HOSTILE}",
        "ctaRoute": "javascript:alert('x')",
        "status": "UP_NEXT",
        "sortOrder": 1,
        "sourceRoles": [],
    }
    stored = world.store(
        org_id=world.org_id,
        guidedChecklist={
            "track": "A",
            "computedAt": "2026-03-01T10:00:00Z",
            "productInterests": [HOSTILE],
            "steps": [hostile],
        },
    )
    assert stored.is_success
    with opened(browser, world, attributes=f'heading="{HOSTILE.replace(chr(34), "&quot;")}"') as app:
        expect(app.widget.locator(".title")).to_have_text(f"title {HOSTILE}")
        expect(app.widget.locator(".description")).to_have_text(f"description {HOSTILE}")
        expect(app.widget.locator("h2")).to_have_text(HOSTILE)
        expect(app.widget.locator("img, script, a")).to_have_count(0)

        app.widget.get_by_role("button", name="Start").click()
        expect(app.widget.locator("li")).to_have_attribute("data-status", "IN_PROGRESS")


def test_the_page_around_it_reads_right_to_left_where_the_language_does(browser: Browser, world: World) -> None:
    with opened(browser, world, language="ar") as app:
        expect(app.widget.get_by_role("heading", name="ابدأ من هنا")).to_be_visible()
        root = app.widget.locator(".root")
        assert root.evaluate("(one) => getComputedStyle(one).direction") == "rtl"
        ring, title = (app.step("must").locator(one).bounding_box() for one in (".icon", ".chevron"))
        assert ring is not None
        assert title is not None
        assert ring["x"] > title["x"]
        app.accessible()


@pytest.mark.parametrize(
    ("language", "title"),
    [
        ("de", "Erste Schritte"),
        ("fr-CA", "Premiers pas"),
        ("es", "Primeros pasos"),
        ("sv", "Kom igång"),
        ("fi", "Get started"),
    ],
)
def test_the_widget_speaks_the_language_of_the_page(browser: Browser, world: World, language: str, title: str) -> None:
    with opened(browser, world, language=language) as app:
        expect(app.widget.get_by_role("heading", name=title)).to_be_visible()


def test_the_steps_are_in_the_language_asked_for(browser: Browser, service: Service) -> None:
    world = World(service)
    translated = STEPS[0] | {"translations": {"sv": {"title": "Läs guiden"}}}
    publish(world, [translated], languages=["en", "sv"])
    with opened(browser, world) as app:
        expect(app.step("read").locator(".title")).to_have_text("Read the guide")

        app.widget.evaluate("(one) => { one.lang = 'sv'; }")

        expect(app.step("read").locator(".title")).to_have_text("Läs guiden")
        expect(app.widget.locator("ol")).to_have_attribute("lang", "sv")


def test_everything_is_done_by_keyboard_alone(browser: Browser, world: World) -> None:
    with opened(browser, world) as app:
        app.expect("read", "UP_NEXT")
        expect(app.step("later")).to_have_attribute("data-locked", "")
        press = app.page.keyboard.press
        press("Tab")
        expect(app.widget.get_by_role("button", name="Fold up")).to_be_focused()
        press("Tab")
        press("Tab")
        press("Tab")
        expect(app.step("read").get_by_role("button", name="Mark as done")).to_be_focused()
        press("Enter")

        app.stored("read", "COMPLETED")
        expect(app.step("prove").locator(".row")).to_be_focused()
        outline = "(one) => getComputedStyle(one.shadowRoot.activeElement).outlineStyle"
        assert app.widget.evaluate(outline) == "solid"
        press("Enter")
        expect(app.step("prove").locator(".row")).to_have_attribute("aria-expanded", "false")
        press("Tab")
        expect(app.step("later").locator(".row")).to_be_focused()


def test_the_launcher_opens_and_closes_and_keeps_the_focus(browser: Browser, world: World) -> None:
    with opened(browser, world, attributes='mode="launcher"') as app:
        launcher = app.widget.get_by_role("button", name="Get started")
        expect(launcher).to_have_attribute("aria-expanded", "false")
        app.accessible()
        launcher.click()
        panel = app.widget.get_by_role("dialog", name="Get started")
        expect(panel).to_be_focused()
        app.accessible()

        app.page.keyboard.press("Escape")

        expect(panel).to_have_count(0)
        expect(launcher).to_be_focused()
        launcher.click()
        app.press("read", "Mark as done")
        app.stored("read", "COMPLETED")
        app.widget.get_by_role("button", name="Hide the checklist").click()
        expect(app.widget.get_by_role("button", name="Show the checklist")).to_be_focused()
        app.accessible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_in_any_state(browser: Browser, world: World, scheme: str) -> None:
    with opened(browser, world, color_scheme=scheme) as app:
        app.expect("read", "UP_NEXT")
        app.accessible()
        app.unfold("prove")
        app.accessible()
        app.unfold("later")
        app.accessible()
        app.press("must", "Mark as done")
        app.press("read", "Skip")
        app.unfold("read")
        app.accessible()
        app.page.context.set_offline(True)
        app.widget.evaluate("(one) => one.refresh()")
        expect(app.widget.get_by_text("You are offline.")).to_be_visible()
        app.accessible()
        app.page.context.set_offline(False)
        expect(app.widget.get_by_text("You are offline.")).to_have_count(0)
        app.widget.get_by_role("button", name="Fold up").click()
        app.accessible()
        app.widget.get_by_role("button", name="Unfold").click()
        report(world, "wallet.created")
        app.press("later", "Mark as done")
        app.widget.evaluate("(one) => one.refresh()")
        expect(app.widget.get_by_text("You are all set!")).to_be_visible()
        app.accessible()
        app.widget.get_by_role("button", name="Close").click()
        expect(app.widget.get_by_role("button", name="Show the checklist")).to_be_visible()
        app.accessible()


def test_who_has_no_checklist_yet_sees_that_there_is_nothing_to_do(browser: Browser, service: Service) -> None:
    world = World(service)
    with opened(browser, world) as app:
        expect(app.widget.get_by_text("Nothing to do right now")).to_be_visible()
        app.accessible()


def test_while_the_checklist_loads_its_shape_is_shown(browser: Browser, world: World) -> None:
    waiting: list[Callable[[], None]] = []

    def hold(page: Page) -> None:
        page.route("**/properties?orgId=*", lambda route: waiting.append(route.continue_))

    with opened(browser, world, prepare=hold) as app:
        expect(app.widget.get_by_role("status", name="Loading your checklist")).to_be_visible()
        app.accessible()
        app.page.wait_for_timeout(0)
        for go_on in waiting:
            go_on()


def test_the_page_of_another_user_sees_that_it_may_not(browser: Browser, world: World) -> None:
    with opened(browser, world, token=lambda: world.service.token("somebody-else")) as app:
        expect(app.widget.get_by_text("You may not see this checklist.")).to_be_visible()
        app.accessible()


def test_the_themes_tokens_reach_the_widget(browser: Browser, world: World) -> None:
    with opened(browser, world) as app:
        app.widget.evaluate("(one) => one.style.setProperty('--milepost-accent', 'rgb(1, 2, 3)')")
        cta = app.unfold("read").get_by_role("link", name="Go there")

        expect(cta).to_have_css("background-color", "rgb(1, 2, 3)")
        assert cta.get_attribute("part") == "cta"


class TestTheFile:
    @pytest.fixture
    def answer(self, service: Service) -> httpx.Response:
        with service.client() as client:
            return client.get("/widget/milepost-checklist.js", headers={"Origin": "https://app.example"})

    def test_may_be_loaded_by_a_page_of_any_origin(self, answer: httpx.Response) -> None:
        assert answer.status_code == 200
        assert answer.headers["access-control-allow-origin"] == "*"
        assert answer.headers["cross-origin-resource-policy"] == "cross-origin"
        assert answer.headers["content-type"].startswith("text/javascript")
        assert answer.headers["x-content-type-options"] == "nosniff"

    def test_is_asked_for_again_and_not_sent_again(self, service: Service, answer: httpx.Response) -> None:
        assert "max-age=300" in answer.headers["cache-control"]
        with service.client() as client:
            again = client.get("/widget/milepost-checklist.js", headers={"If-None-Match": answer.headers["etag"]})
        assert again.status_code == 304
        assert again.headers["etag"] == answer.headers["etag"]

    def test_is_small(self, service: Service) -> None:
        with (
            service.client() as client,
            client.stream("GET", "/widget/milepost-checklist.js", headers={"Accept-Encoding": "gzip"}) as answer,
        ):
            assert answer.headers["content-encoding"] == "gzip"
            assert sum(map(len, answer.iter_raw())) <= 15_000

    @pytest.mark.parametrize("name", ["other.js", "..%2Fbuild.json", "%2E%2E%2Fdemo%2Findex.html"])
    def test_is_the_only_one_there(self, service: Service, name: str) -> None:
        with service.client() as client:
            assert client.get(f"/widget/{name}").status_code == 404


def test_the_api_is_called_under_its_base_path_alone(browser: Browser, world: World) -> None:
    with opened(browser, world) as app:
        requested: list[str] = []
        app.page.on("request", lambda request: requested.append(request.url))
        app.press("read", "Mark as done")
        app.stored("read", "COMPLETED")

        # The browser asks for a page's icon by itself, some time after the page was loaded.
        asked = [url for url in requested if not url.endswith("/favicon.ico")]
        assert asked
        assert [url for url in asked if not url.startswith(world.service.base_url + BASE)] == []

"""The page /demo: a pretend application with the widget in it, and the calls that only it may make."""

import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.arrange import BASE, Json
from tests.browser import running
from tests.conftest import Service, start_service
from tests.pages import AXE

pytestmark = pytest.mark.xdist_group("browser")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with running() as browser:
        yield browser


@pytest.fixture
def demo(database_url: str, tmp_path: Path) -> Iterator[Service]:
    """`milepost serve --demo` on an empty database."""
    with start_service(database_url, tmp=tmp_path, extra_env={"MILEPOST_DEMO": "true"}) as service:
        yield service


@pytest.fixture
def page(browser: Browser, demo: Service) -> Iterator[Page]:
    """The open page, on which nothing may go wrong."""
    context = browser.new_context(reduced_motion="reduce", viewport={"width": 1280, "height": 1000})
    page = context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text) if "Policy" in message.text else None)
    page.goto(f"{demo.base_url}/demo")
    yield page
    context.close()
    assert errors == []


def step(page: Page, step_id: str, status: str) -> None:
    expect(page.locator(f'milepost-checklist [data-step="{step_id}"]')).to_have_attribute("data-status", status)


def test_the_page_shows_a_checklist_that_follows_signals_and_roles(page: Page) -> None:
    step(page, "plan-first-tour", "UP_NEXT")
    step(page, "connect-vehicles", "COMPLETED")

    page.get_by_role("button", name="Plan a tour").click()
    step(page, "plan-first-tour", "COMPLETED")
    page.get_by_label("Fleet manager").check()
    step(page, "review-driving-hours", "UP_NEXT")
    page.get_by_label("Dispatcher").uncheck()
    expect(page.locator('[data-step="plan-first-tour"]')).to_have_count(0)


def test_a_call_to_action_leads_within_the_page(page: Page) -> None:
    page.get_by_role("link", name="Open profile").click()

    expect(page.get_by_role("heading", name="Complete your profile", level=1)).to_be_visible()
    step(page, "complete-profile", "IN_PROGRESS")
    page.locator("#page-do").click()
    step(page, "complete-profile", "COMPLETED")


def test_the_page_speaks_other_languages_and_wears_other_colours(page: Page) -> None:
    page.get_by_label("Language").select_option("sv")
    expect(page.locator("milepost-checklist").get_by_text("Fyll i din profil")).to_be_visible()
    page.get_by_label("Colours").select_option("dark")
    expect(page.locator("body")).to_have_css("background-color", "rgb(14, 16, 20)")
    page.get_by_label("Placed").select_option("as a launcher")
    expect(page.locator("milepost-checklist").get_by_role("button", name="Kom igång")).to_be_visible()


def test_starting_over_is_being_somebody_new(page: Page) -> None:
    page.get_by_role("button", name="Plan a tour").click()
    step(page, "plan-first-tour", "COMPLETED")

    page.get_by_role("button", name="Start over").click()

    page.wait_for_url(re.compile("user=leila-[0-9a-f]{8}$"))
    step(page, "plan-first-tour", "UP_NEXT")


def test_axe_finds_nothing_on_the_page(page: Page) -> None:
    step(page, "plan-first-tour", "UP_NEXT")
    page.evaluate(AXE.read_text())
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    assert [(one["id"], [node["html"] for node in one["nodes"]]) for one in found["violations"]] == []


def session(service: Service, **headers: str) -> httpx.Response:
    with service.client() as client:
        return client.post("/demo/session", json={"user": "leila"}, headers=headers)


class TestWithTheDemo:
    def test_a_token_is_for_the_demos_user_and_for_minutes(self, demo: Service) -> None:
        opened: Json = session(demo).json()
        with demo.client(opened["token"]) as client:
            own = client.get(f"{BASE}/users/leila/properties", params={"orgId": "tarnwick"})
            other = client.get(f"{BASE}/users/nora.castelly/properties", params={"orgId": "tarnwick"})
            directory = client.get(f"{BASE}/organizations/tarnwick/members")

        assert own.status_code == 200
        assert (other.status_code, directory.status_code) == (403, 403)

    @pytest.mark.parametrize(
        "body",
        [
            {"user": "nora.castelly"},
            {"user": "operator"},
            {"user": "leila", "scope": "platform_admin"},
            {"user": "leila\n"},
        ],
    )
    def test_nobody_else_is_let_in(self, demo: Service, body: Json) -> None:
        with demo.client() as client:
            assert client.post("/demo/session", json=body).status_code == 400

    @pytest.mark.parametrize(
        "headers",
        [{"Origin": "https://elsewhere.example"}, {"Origin": "null"}, {"Host": "elsewhere.example"}],
        ids=["another origin", "no origin", "a name that leads here"],
    )
    def test_no_other_page_may_call(self, demo: Service, headers: dict[str, str]) -> None:
        assert session(demo, **headers).status_code == 403

    def test_no_role_that_administers_can_be_had(self, demo: Service) -> None:
        with demo.client() as client:
            asked = client.post("/demo/roles", json={"user": "leila", "roles": ["org-admin"]})
        assert asked.status_code == 400

    def test_the_page_is_closed_against_other_sites(self, demo: Service) -> None:
        with demo.client() as client:
            page = client.get("/demo")
            policy = page.headers["content-security-policy"]
            assets = re.findall(r"/demo/assets/[\w.-]+", page.text)
            found = [client.get(path) for path in assets]

        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert page.headers["x-content-type-options"] == "nosniff"
        assert page.headers["referrer-policy"] == "no-referrer"
        assert assets
        assert all("immutable" in one.headers["cache-control"] for one in found)


class TestWithoutTheDemo:
    def test_there_is_no_page_and_no_token(self, service: Service) -> None:
        with service.client() as client:
            page = client.get("/demo")
        assert page.status_code == 404
        assert "milepost serve --demo" in page.json()["detail"]
        assert session(service).status_code == 404

    def test_nor_where_others_could_reach_it(self, tmp_path: Path) -> None:
        database_url = f"sqlite:///{tmp_path / 'milepost.db'}"
        with start_service(database_url, tmp=tmp_path, extra_env={"MILEPOST_DEMO": "true"}, host="::") as service:
            with service.client() as client:
                assert "only on this machine" in client.get("/demo").json()["detail"]
            assert session(service).status_code == 404

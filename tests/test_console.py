"""Signing in to the console: with a token or a link, for whom and how long, and on whose requests the cookie counts."""

from datetime import UTC, datetime, timedelta
from http.cookies import SimpleCookie
from pathlib import Path

import httpx
import pytest

from milepost.access.policy import Caller, Scope
from milepost.access.sessions import make_link
from milepost.cli.terminal import OPERATOR
from milepost.edge import new_id
from milepost.journal.queries import of_user
from tests.arrange import BASE, World, fresh, refused
from tests.calls import directly, service_key
from tests.conftest import Service, start_service

SESSION = "/console/session"
OWN = {"X-Milepost-Console": "1", "Sec-Fetch-Site": "same-origin"}


@pytest.fixture
def world(service: Service) -> World:
    return World(service)


def sign_in(service: Service, token: str, **headers: str) -> httpx.Response:
    return service.client().post(SESSION, json={"token": token}, headers=OWN | headers)


def secret_in(answer: httpx.Response) -> str:
    (secret,) = {SimpleCookie(line)["milepost_console"].value for line in answer.headers.get_list("set-cookie")}
    return secret


def browser(service: Service, secret: str, **headers: str) -> httpx.Client:
    """A page of the console, which sends the cookie."""
    client = service.client()
    client.headers.update({"Cookie": f"theme=dark; milepost_console={secret}", **OWN, **headers})
    return client


def admin(world: World) -> str:
    """An admin of the world's organization."""
    user_id = fresh("admin")
    world.make_admin(user_id)
    return user_id


def signed_in(world: World, user_id: str, *, platform_admin: bool = False) -> httpx.Client:
    answer = sign_in(world.service, world.service.token(user_id, platform_admin=platform_admin))
    assert answer.status_code == 200, answer.text
    return browser(world.service, secret_in(answer))


def link(world: World, caller: Caller = OPERATOR, *, made: timedelta = timedelta()) -> str:
    """The address of a link that was made some time ago."""
    now = datetime.now(UTC) - made
    code = directly(
        world.service.database_url, lambda connection: make_link(connection, caller, now=now, event_id=new_id())
    )
    return f"/console/sign-in?code={code}"


class TestSigningInWithAToken:
    def test_an_admin_is_told_who_they_are_and_what_they_administer(self, world: World) -> None:
        user_id = admin(world)

        answer = sign_in(world.service, world.service.token(user_id))

        told = answer.json()
        assert told.pop("expiresAt").endswith("Z")
        assert told == {
            "userId": user_id,
            "platformAdmin": False,
            "organizations": [{"orgId": world.org_id, "name": "An organization"}],
        }
        assert browser(world.service, secret_in(answer)).get(SESSION).json() == answer.json()

    def test_a_platform_admin_administers_all(self, world: World) -> None:
        answer = sign_in(world.service, world.service.token("operator", platform_admin=True))

        assert answer.json()["platformAdmin"] is True
        assert "organizations" not in answer.json()

    def test_whoever_is_no_admin_is_refused_and_told_why(self, world: World) -> None:
        world.make_member(None, "dispatcher")

        answer = sign_in(world.service, world.service.token(world.user_id))

        assert "Only admins" in refused(answer, 403, "not_an_admin")["detail"]
        assert "set-cookie" not in answer.headers

    def test_a_token_that_the_api_refuses_is_refused(self, world: World) -> None:
        expired = world.service.token("operator", platform_admin=True, ttl=timedelta(minutes=-5))

        for token in (expired, "nonsense", "", service_key(world, Scope.DIRECTORY_READ)):
            refused(sign_in(world.service, token), 401, "invalid_token")

    def test_the_cookie_goes_to_the_service_alone_and_to_no_script(self, world: World) -> None:
        answer = sign_in(world.service, world.service.token("operator", platform_admin=True))

        cookies = [SimpleCookie(line)["milepost_console"] for line in answer.headers.get_list("set-cookie")]
        assert {cookie["path"] for cookie in cookies} == {SESSION, BASE}
        assert all(cookie["httponly"] and cookie["samesite"] == "Strict" for cookie in cookies)
        assert not any(cookie["secure"] or cookie["domain"] for cookie in cookies)

    @pytest.mark.parametrize(("hours", "lasts"), [(1, 1), (100, 12)])
    def test_it_lasts_as_long_as_the_token_and_twelve_hours_at_most(self, world: World, hours: int, lasts: int) -> None:
        token = world.service.token("operator", platform_admin=True, ttl=timedelta(hours=hours))

        answer = sign_in(world.service, token)

        expires = datetime.fromisoformat(answer.json()["expiresAt"])
        assert abs(expires - datetime.now(UTC) - timedelta(hours=lasts)) < timedelta(minutes=5)

    def test_signing_in_and_out_is_in_the_journal(self, world: World) -> None:
        user_id = admin(world)

        assert signed_in(world, user_id).delete(SESSION).status_code == 204

        events = directly(world.service.database_url, lambda connection: of_user(connection, user_id))
        assert [(event.type, event.actor) for event in events[1:]] == [
            ("console.signed_in", f"user:{user_id}"),
            ("console.signed_out", f"user:{user_id}"),
        ]


class TestASession:
    def test_may_do_what_its_user_may(self, world: World) -> None:
        page = signed_in(world, admin(world))

        assert page.get(f"{BASE}/organizations/{world.org_id}/members").status_code == 200
        made = page.put(f"{BASE}/organizations/{world.org_id}/roles/driver", json={"title": "Driver"})
        assert made.status_code == 201

    def test_of_an_organizations_admin_reaches_no_other_organization(self, world: World) -> None:
        elsewhere = fresh("org")
        world.create_organization(elsewhere)

        page = signed_in(world, admin(world))

        refused(page.get(f"{BASE}/organizations/{elsewhere}/members"), 403, "forbidden")
        refused(page.put(f"{BASE}/organizations/{elsewhere}", json={"name": "Mine"}), 403, "forbidden")

    def test_ends_with_the_last_admin_role(self, world: World) -> None:
        user_id = admin(world)
        page = signed_in(world, user_id)

        world.put(f"/organizations/{world.org_id}/members/{user_id}", {"roles": []})

        refused(page.get(SESSION), 403, "not_an_admin")
        refused(page.get(f"{BASE}/organizations"), 403, "not_an_admin")

    def test_is_over_for_every_copy_of_its_cookie_after_the_sign_out(self, world: World) -> None:
        page = signed_in(world, admin(world))

        answer = page.delete(SESSION)

        assert answer.status_code == 204
        assert all("Max-Age=0" in line for line in answer.headers.get_list("set-cookie"))
        refused(page.get(SESSION), 401, "unauthenticated")
        refused(page.get(f"{BASE}/organizations"), 401, "unauthenticated")

    def test_gives_way_to_a_token_in_the_header(self, world: World) -> None:
        page = signed_in(world, admin(world))
        page.headers["Authorization"] = f"Bearer {world.service.token(world.user_id)}"

        refused(page.get(f"{BASE}/organizations/{world.org_id}/members"), 403, "forbidden")

    def test_is_nothing_that_can_be_sent_as_a_token(self, world: World) -> None:
        answer = sign_in(world.service, world.service.token("operator", platform_admin=True))

        refused(world.service.client(secret_in(answer)).get(f"{BASE}/organizations"), 401, "invalid_token")

    def test_holds_for_every_process_on_the_same_database(self, world: World, tmp_path: Path) -> None:
        answer = sign_in(world.service, world.service.token("operator", platform_admin=True))

        with start_service(world.service.database_url, tmp=tmp_path) as other:
            assert browser(other, secret_in(answer)).get(SESSION).json() == answer.json()


LIST = f"{BASE}/organizations"
FOREIGN: dict[str, dict[str, str]] = {
    "another site's page": {"Sec-Fetch-Site": "cross-site"},
    "a page of the same site on another host": {"Sec-Fetch-Site": "same-site"},
    "another origin, by its own word": {"Origin": "https://elsewhere.example"},
    "a page without an origin": {"Origin": "null"},
}


class TestTheCookieCounts:
    @pytest.mark.parametrize("headers", FOREIGN.values(), ids=FOREIGN.keys())
    def test_for_no_page_but_the_consoles_own(self, world: World, headers: dict[str, str]) -> None:
        page = signed_in(world, admin(world))

        for answer in (
            page.get(LIST, headers=headers),
            page.get(SESSION, headers=headers),
            page.put(f"{LIST}/{world.org_id}/roles/driver", json={"title": "Driver"}, headers=headers),
            page.delete(SESSION, headers=headers),
        ):
            refused(answer, 403, "cross_origin")
        assert page.get(SESSION).status_code == 200

    def test_for_a_change_only_with_the_consoles_header(self, world: World) -> None:
        page = signed_in(world, admin(world))
        del page.headers["X-Milepost-Console"]

        refused(page.put(f"{LIST}/{world.org_id}/roles/driver", json={"title": "Driver"}), 403, "cross_origin")
        refused(page.delete(SESSION), 403, "cross_origin")
        assert page.get(LIST).status_code == 200

    def test_for_a_change_only_where_the_browser_says_whose_page_asks(self, world: World) -> None:
        page = signed_in(world, admin(world))
        del page.headers["Sec-Fetch-Site"]
        role = f"{LIST}/{world.org_id}/roles/driver"

        refused(page.put(role, json={"title": "Driver"}), 403, "cross_origin")
        made = page.put(role, json={"title": "Driver"}, headers={"Origin": world.service.base_url})
        assert made.status_code == 201

    def test_for_nobody_who_is_signed_in_by_a_foreign_page(self, world: World) -> None:
        token = world.service.token("operator", platform_admin=True)

        refused(sign_in(world.service, token, **{"Sec-Fetch-Site": "cross-site"}), 403, "cross_origin")


class TestALink:
    def test_signs_in_once(self, world: World) -> None:
        address = link(world)

        first, second = (world.service.client().get(address) for _ in range(2))

        assert (first.status_code, first.headers["location"]) == (303, "/console")
        assert browser(world.service, secret_in(first)).get(SESSION).json()["platformAdmin"] is True
        assert (second.status_code, second.headers["location"]) == (303, "/console?refused=link_expired")
        assert "set-cookie" not in second.headers

    def test_holds_for_ten_minutes(self, world: World) -> None:
        answer = world.service.client().get(link(world, made=timedelta(minutes=10)))

        assert answer.headers["location"] == "/console?refused=link_expired"

    def test_for_a_user_signs_in_only_an_admin(self, world: World) -> None:
        user_id = admin(world)

        in_time = world.service.client().get(link(world, Caller(user_id=user_id)))
        nobody = world.service.client().get(link(world, Caller(user_id=world.user_id)))

        assert browser(world.service, secret_in(in_time)).get(SESSION).json()["userId"] == user_id
        assert nobody.headers["location"] == "/console?refused=not_an_admin"

    def test_is_no_session_itself(self, world: World) -> None:
        code = link(world).partition("=")[2]

        refused(browser(world.service, code).get(SESSION), 401, "unauthenticated")


def test_the_cookie_is_secure_where_browsers_come_by_https(world: World, tmp_path: Path) -> None:
    environment = {"MILEPOST_PUBLIC_URL": "https://milepost.example"}
    with start_service(world.service.database_url, tmp=tmp_path, extra_env=environment) as service:
        token = service.token("operator", platform_admin=True)

        answer = sign_in(service, token, Origin="https://milepost.example")

        assert answer.status_code == 200
        assert all("; Secure" in line for line in answer.headers.get_list("set-cookie"))

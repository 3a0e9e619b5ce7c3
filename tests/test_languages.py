"""Texts by Accept-Language (RFC 4647, lookup), over HTTP: read, cached, and written back."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import Connection, text

from tests.arrange import BASE, Json, World, checklist, refused, step
from tests.calls import directly
from tests.conftest import Service, start_service
from tests.test_checklists import Onboarding, accepted, definition

JSON_PATCH = "application/json-patch+json"

SWEDISH = {"title": "Fyll i din profil", "description": "Så hittar kollegor dig.", "ctaLabel": "Öppna"}
DANISH = {"title": "Udfyld din profil"}
STEPS = [
    definition("profile", 10, title="Complete your profile", translations={"sv": SWEDISH, "da": DANISH}),
    definition("route", 20, title="Plan a route", roles=["dispatcher"], translations={"sv": {"title": "Planera"}}),
    definition("terms", 30, title="Accept the terms"),
]
CATALOG = {"name": "In three languages", "languages": ["en", "sv", "da"], "steps": STEPS}


class Spoken(Onboarding):
    """A user whose checklist the server made from a catalog in three languages."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.publish(CATALOG)
        self.initialize()

    def get(self, *languages: str, if_none_match: str | None = None, origin: str | None = None) -> httpx.Response:
        """Read the record, with one Accept-Language header for each of the languages."""
        headers = [("Accept-Language", language) for language in languages]
        headers += [] if if_none_match is None else [("If-None-Match", if_none_match)]
        headers += [] if origin is None else [("Origin", origin)]
        return self.user.get(self.path, params={"orgId": self.org_id}, headers=headers)

    def write(self, method: str, path: str, body: Any, **headers: str) -> httpx.Response:
        return self.user.request(method, self.path + path, params={"orgId": self.org_id}, json=body, headers=headers)

    def titles(self, *languages: str) -> list[str]:
        return titles(accepted(self.get(*languages)))

    def stored(self) -> str:
        """The record's body as the database has it."""

        def body(connection: Connection) -> str:
            query = text("SELECT body FROM properties WHERE user_id = :user AND org_id = :org")
            found: str = connection.execute(query, {"user": self.user_id, "org": self.org_id}).scalar_one()
            return found

        return directly(self.service.database_url, body)


def titles(body: Json) -> list[str]:
    return [one["title"] for one in body["guidedChecklist"]["steps"]]


def profile(body: Json) -> Json:
    """The texts of the step `profile`."""
    one = next(each for each in body["guidedChecklist"]["steps"] if each["stepId"] == "profile")
    return {name: one[name] for name in SWEDISH}


ENGLISH_TITLES = ["Complete your profile", "Plan a route", "Accept the terms"]
SWEDISH_TITLES = ["Fyll i din profil", "Planera", "Accept the terms"]


@pytest.fixture
def world(service: Service) -> Spoken:
    return Spoken(service)


class TestReading:
    @pytest.mark.parametrize(
        ("asked", "language"),
        [
            ([], "en"),
            (["sv"], "sv"),
            (["sv-SE"], "sv"),
            (["SV-fi"], "sv"),
            (["fr"], "en"),
            (["*"], "en"),
            (["fr, sv;q=0.5, da;q=0.7"], "da"),
            (["en;q=0, *"], "sv"),
            (["fr", "sv"], "sv"),
            (["sv_SE;q=x"], "en"),
            ([", ".join(["sv"] * 1000)], "en"),
        ],
    )
    def test_the_language_is_the_first_that_is_asked_for_and_there_is_else_the_catalogs_own(
        self, world: Spoken, asked: list[str], language: str
    ) -> None:
        answer = world.get(*asked)

        assert answer.headers["content-language"] == language
        assert profile(accepted(answer))["title"] == {
            "en": STEPS[0]["title"], "sv": SWEDISH["title"], "da": DANISH["title"],
        }[language]  # fmt: skip

    def test_all_texts_are_translated_and_nothing_else_is_changed(self, world: Spoken) -> None:
        english, swedish = accepted(world.get()), accepted(world.get("sv"))

        assert profile(swedish) == SWEDISH
        for one in (english, swedish):
            for each in one["guidedChecklist"]["steps"]:
                del each["title"], each["description"], each["ctaLabel"]
        assert swedish == english

    def test_a_text_without_translation_is_in_the_catalogs_own_language(self, world: Spoken) -> None:
        shown = accepted(world.get("da"))

        assert profile(shown) == {"title": DANISH["title"], "description": "What to do", "ctaLabel": "Go"}
        assert titles(shown)[2] == "Accept the terms"

    @pytest.mark.parametrize("call", ["initialize", "refresh", "dismiss", "restore", "move", "move back"])
    def test_every_call_on_the_checklist_answers_in_the_language_too(self, world: Spoken, call: str) -> None:
        if call.startswith("move"):
            status = "IN_PROGRESS" if call == "move" else "UP_NEXT"
            answer = world.write(
                "PATCH", "/guided-checklist/steps/terms", {"status": status}, **{"Accept-Language": "sv"}
            )
        else:
            answer = world.write("POST", f"/guided-checklist/{call}", {}, **{"Accept-Language": "sv"})

        assert titles(accepted(answer)) == SWEDISH_TITLES
        assert answer.headers["content-language"] == "sv"
        assert answer.headers["vary"] == "Accept-Language"
        assert answer.headers["etag"] == world.get("sv").headers["etag"]

    def test_the_stored_checklist_holds_no_translation(self, world: Spoken) -> None:
        for call in ("initialize", "refresh", "dismiss"):
            accepted(world.write("POST", f"/guided-checklist/{call}", {}, **{"Accept-Language": "sv"}))
        accepted(world.write("PATCH", "", {"attributes": {"theme": "dark"}}, **{"Accept-Language": "sv"}))

        stored = world.stored()

        assert "Fyll i" not in stored
        assert "Planera" not in stored
        assert stored.count("Complete your profile") == 1

    def test_a_new_version_changes_no_text_until_the_next_refresh(self, world: Spoken) -> None:
        before = world.get("sv")
        changed = definition("profile", 10, title="New", translations={"de": {"title": "Neu"}})
        world.publish({"name": "Next", "languages": ["en", "de"], "steps": [changed]})

        published = world.get("sv", if_none_match=before.headers["etag"])
        german = world.get("de")
        world.refresh()

        assert published.status_code == 304
        assert german.headers["content-language"] == "en"
        assert world.titles("de") == ["Neu"]
        assert world.get("sv").headers["content-language"] == "en"

    def test_an_organization_made_anew_has_its_own_texts_under_the_same_number(self, world: Spoken) -> None:
        path = f"{BASE}/organizations/{world.org_id}"
        before = world.titles("sv")
        assert world.platform.delete(path).status_code == 204
        world.create_organization(world.org_id)
        world.make_member(None, "dispatcher")
        again = {**CATALOG, "steps": [{**STEPS[0], "translations": {"sv": {"title": "Ny profil"}}}]}
        for catalog in ({"name": "First", "steps": []}, again):
            world.publish(catalog)

        made = world.write("POST", "/guided-checklist/initialize", {}, **{"Accept-Language": "sv"})

        assert before == SWEDISH_TITLES
        assert titles(accepted(made)) == world.titles("sv") == ["Ny profil"]

    def test_the_platforms_catalog_is_translated_too(self, tmp_path: Path) -> None:
        with start_service(f"sqlite:///{tmp_path / 'milepost.db'}", tmp=tmp_path) as service:
            world = World(service)
            world.make_member()
            world.put("/catalog", CATALOG)
            path = f"{world.path}/guided-checklist/initialize"

            made = world.user.post(path, params={"orgId": world.org_id}, headers={"Accept-Language": "sv"})

            assert titles(accepted(made)) == ["Fyll i din profil", "Accept the terms"]


class TestHandWritten:
    def test_a_checklist_that_a_client_wrote_has_no_known_language(self, world: Spoken) -> None:
        other = world.another("dispatcher")
        other.store(org_id=other.org_id, guidedChecklist=checklist(step("profile", title=ENGLISH_TITLES[0])))

        answer = other.read(**{"Accept-Language": "sv"})

        assert titles(accepted(answer)) == ["Complete your profile"]
        assert "content-language" not in answer.headers
        assert answer.headers["vary"] == "Accept-Language"
        assert answer.headers["etag"] == other.read().headers["etag"]

    def test_the_home_record_that_a_read_falls_back_to_has_none_either(self, world: Spoken) -> None:
        other = world.another("dispatcher")
        put = other.store(guidedChecklist=checklist(step("profile", title=ENGLISH_TITLES[0])))

        answer = other.read(**{"Accept-Language": "sv"})

        assert titles(accepted(answer)) == ["Complete your profile"]
        assert "content-language" not in answer.headers
        assert put.headers["vary"] == "Accept-Language"

    def test_a_record_without_a_checklist_has_none(self, world: Spoken) -> None:
        other = world.another("dispatcher")
        other.store(org_id=other.org_id)

        assert "content-language" not in other.read(**{"Accept-Language": "sv"}).headers


class TestCaching:
    def test_answers_in_another_language_have_another_etag(self, world: Spoken) -> None:
        tags = {language: world.get(language).headers["etag"] for language in ("en", "sv", "da")}

        assert len(set(tags.values())) == 3
        assert tags["en"] == world.get().headers["etag"] == world.get("fr").headers["etag"]
        assert tags["sv"] == world.get("sv-SE, en;q=0.1").headers["etag"]

    def test_304_is_answered_for_the_same_language_only(self, world: Spoken) -> None:
        swedish = world.get("sv").headers["etag"]

        same = world.get("sv-FI", if_none_match=swedish)
        other = world.get("da", if_none_match=swedish)
        own = world.get(if_none_match=swedish)

        assert (same.status_code, other.status_code, own.status_code) == (304, 200, 200)
        assert same.headers["etag"] == swedish

    def test_every_answer_says_that_it_varies_by_language(self, world: Spoken) -> None:
        found = world.get("sv")
        unchanged = world.get("sv", if_none_match=found.headers["etag"])
        put = world.write("PUT", "", found.json())
        patched = world.write("PATCH", "", {"attributes": {}})
        checklist_patched = world.write("PATCH", "/guided-checklist", found.json()["guidedChecklist"])
        explained = world.user.get(f"{world.path}/guided-checklist/explain", params={"orgId": world.org_id})

        answers = [found, unchanged, put, patched, checklist_patched, explained]
        assert [answer.status_code for answer in answers] == [200, 304, 200, 200, 200, 200]
        assert {answer.headers["vary"] for answer in answers} == {"Accept-Language"}
        assert "content-language" not in unchanged.headers

    def test_if_match_takes_the_tag_of_an_answer_in_another_language(self, world: Spoken) -> None:
        swedish = world.get("sv").headers["etag"]

        moved = world.move("terms", "IN_PROGRESS", headers={"If-Match": swedish, "Accept-Language": "da"})
        stale = world.write("PATCH", "", {"attributes": {}}, **{"If-Match": swedish, "Accept-Language": "sv"})

        assert moved.status_code == 200
        refused(stale, 412, "precondition_failed")

    def test_a_step_done_for_all_changes_the_tag_in_every_language(self, world: Spoken) -> None:
        world.publish({**CATALOG, "steps": [*STEPS, definition("bank", 40, scope="organization")]})
        other = world.another("dispatcher")
        world.refresh()
        other.initialize()
        before = world.get("sv").headers["etag"]

        other.complete("bank")

        after = world.get("sv", if_none_match=before)
        assert titles(accepted(after))[:3] == SWEDISH_TITLES


class TestWritingBack:
    @pytest.mark.parametrize("written", ["en", "sv", "da", None])
    @pytest.mark.parametrize("read", ["sv", "da"])
    def test_what_was_read_in_a_language_and_is_put_back_in_any_changes_no_text(
        self, world: Spoken, read: str, written: str | None
    ) -> None:
        before, stored = world.titles(), texts_of(world.stored())
        found = accepted(world.get(read))
        headers = {} if written is None else {"Accept-Language": written}

        accepted(world.write("PUT", "", found, **headers))
        accepted(world.write("PATCH", "", {"guidedChecklist": found["guidedChecklist"]}, **headers))
        accepted(world.write("PATCH", "/guided-checklist", found["guidedChecklist"], **headers))

        assert texts_of(world.stored()) == stored
        assert world.titles() == before
        assert world.titles("sv") == SWEDISH_TITLES

    def test_a_json_patch_is_applied_to_the_checklist_in_its_callers_language(self, world: Spoken) -> None:
        operations = [
            {"op": "test", "path": "/guidedChecklist/steps/0/title", "value": SWEDISH["title"]},
            {"op": "replace", "path": "/guidedChecklist/steps/0/status", "value": "IN_PROGRESS"},
        ]
        swedish = {"Content-Type": JSON_PATCH, "Accept-Language": "sv"}
        english = {"Content-Type": JSON_PATCH}

        refused(world.write("PATCH", "", operations, **english), 409, "patch_test_failed")
        patched = world.write("PATCH", "", operations, **swedish)
        on_checklist = [{"op": "test", "path": "/steps/0/title", "value": SWEDISH["title"]}]
        accepted(world.write("PATCH", "/guided-checklist", on_checklist, **swedish))

        assert profile(accepted(patched)) == SWEDISH
        assert patched.headers["content-language"] == "sv"
        assert "Fyll i" not in world.stored()
        assert world.statuses()["profile"] == "IN_PROGRESS"

    def test_a_text_changed_by_hand_stays_in_every_language_and_the_others_are_translated(self, world: Spoken) -> None:
        found = accepted(world.get("sv"))
        found["guidedChecklist"]["steps"][0]["title"] = "Min egen rubrik"

        put = world.write("PUT", "", found, **{"Accept-Language": "sv"})

        mine = {**SWEDISH, "title": "Min egen rubrik"}
        assert profile(accepted(put)) == profile(accepted(world.get("sv"))) == mine
        assert profile(accepted(world.get())) == {
            "title": "Min egen rubrik", "description": "What to do", "ctaLabel": "Go",
        }  # fmt: skip

    def test_the_catalogs_own_text_put_back_by_hand_is_translated_again(self, world: Spoken) -> None:
        for title in ("Mine", "Complete your profile"):
            change = [{"op": "replace", "path": "/guidedChecklist/steps/0/title", "value": title}]
            accepted(world.write("PATCH", "", change, **{"Content-Type": JSON_PATCH, "Accept-Language": "sv"}))

        assert world.titles("sv") == SWEDISH_TITLES

    def test_a_step_that_its_writer_could_not_see_keeps_its_translations(self, world: Spoken) -> None:
        world.make_member(None)
        found = accepted(world.get("sv"))

        accepted(world.write("PATCH", "", {"guidedChecklist": found["guidedChecklist"]}, **{"Accept-Language": "sv"}))

        assert titles(found) == ["Fyll i din profil", "Accept the terms"]
        world.make_member(None, "dispatcher")
        assert world.titles("sv") == SWEDISH_TITLES
        assert world.titles() == ENGLISH_TITLES


def texts_of(stored: str) -> list[str]:
    """The texts of a stored record's steps."""
    steps = httpx.Response(200, content=stored).json()["guidedChecklist"]["steps"]
    return [one[name] for one in steps for name in SWEDISH]


class TestExplain:
    def test_it_tells_the_titles_in_the_language_too(self, world: Spoken) -> None:
        answer = world.user.get(
            f"{world.path}/guided-checklist/explain",
            params={"orgId": world.org_id},
            headers={"Accept-Language": "sv-SE"},
        )

        assert [one["title"] for one in accepted(answer)["steps"]] == SWEDISH_TITLES
        assert answer.headers["content-language"] == "sv"

    def test_a_step_that_the_catalog_no_longer_has_is_told_in_the_language_of_its_own(self, world: Spoken) -> None:
        world.publish({**CATALOG, "languages": ["da", "sv"], "steps": [definition("new")]})

        answer = world.user.get(
            f"{world.path}/guided-checklist/explain", params={"orgId": world.org_id}, headers={"Accept-Language": "sv"}
        )

        assert [one["title"] for one in accepted(answer)["steps"]] == ["Title of new", *SWEDISH_TITLES]


class TestCors:
    @pytest.fixture
    def service(self, tmp_path: Path) -> Iterator[Service]:
        settings = {"MILEPOST_CORS_ORIGINS": "https://app.example"}
        url = f"sqlite:///{tmp_path / 'milepost.db'}"
        with start_service(url, tmp=tmp_path, extra_env=settings) as running:
            yield running

    def test_a_page_of_another_origin_sees_the_language_and_caches_know_of_both(self, world: Spoken) -> None:
        answer = world.get("sv", origin="https://app.example")

        exposed = answer.headers["access-control-expose-headers"].split(", ")
        assert {"Content-Language", "ETag"} <= set(exposed)
        assert set(answer.headers["vary"].split(", ")) == {"Origin", "Accept-Language"}


def test_each_organization_is_answered_from_its_own_catalog(service: Service) -> None:
    worlds = [Spoken(service) for _ in range(3)]
    for n, world in enumerate(worlds):
        world.publish({**CATALOG, "steps": [{**STEPS[0], "translations": {"sv": {"title": f"Nummer {n}"}}}]})
        world.refresh()

    assert [world.titles("sv") for world in worlds] == [[f"Nummer {n}"] for n in range(3)]

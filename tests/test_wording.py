"""A checklist's texts in the reader's language and back, as pure functions; and how much of them a process keeps."""

from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET
from sqlalchemy import Connection, insert

from milepost.domain.catalog import Catalog, StepDefinition, Translation
from milepost.domain.contract import GuidedChecklist, Status, Step, Track
from milepost.domain.preconditions import opaque_tag
from milepost.domain.progress import Progress
from milepost.domain.wording import in_language, in_own_language, language_for, wording_of
from milepost.store import versions
from milepost.store.schema import catalogs
from milepost.store.wordings import Edition, Wordings, edition
from tests.calls import directly

LANGUAGES = ["en", "sv", "da", "nb"]

# Few words, so that a text is now and then the same as another's translation.
words = st.sampled_from(["one", "two", "three", "four"])
maybe = words | st.just(UNSET)
translations = st.dictionaries(
    st.sampled_from(LANGUAGES[1:]),
    st.builds(Translation, title=maybe, description=maybe | st.just(""), cta_label=maybe),
)


@st.composite
def definitions(draw: st.DrawFn, step_id: str) -> StepDefinition:
    return StepDefinition(
        step_id=step_id,
        title=draw(words),
        description=draw(words),
        cta_label=draw(words),
        cta_route="/",
        sort_order=1,
        translations=draw(translations),
    )


@st.composite
def made(draw: st.DrawFn) -> tuple[Catalog, GuidedChecklist]:
    """A catalog and a checklist made from it, some of whose texts are changed by hand."""
    steps = [draw(definitions(step_id)) for step_id in "abc"]
    catalog = Catalog(name="Any", languages=LANGUAGES, steps=steps)
    changed = st.sampled_from(["mine", "yours"]) | st.none()
    shown = [
        Step(
            step_id=one.step_id,
            title=draw(changed) or one.title,
            description=draw(changed) or one.description,
            cta_label=draw(changed) or one.cta_label,
            cta_route="/",
            status=Status.UP_NEXT,
            sort_order=1,
        )
        for one in steps
    ]
    by_hand = msgspec.structs.replace(shown[0], step_id="by-hand")
    moment = datetime(2026, 3, 1, tzinfo=UTC)
    return catalog, GuidedChecklist(track=Track.A, computed_at=moment, steps=[*shown, by_hand])


@given(made(), st.sampled_from(LANGUAGES))
def test_reading_in_any_language_and_writing_it_back_changes_nothing(
    given_: tuple[Catalog, GuidedChecklist], language: str
) -> None:
    catalog, checklist = given_
    wording = wording_of(catalog)

    assert in_own_language(in_language(checklist, wording, language), wording) == checklist


@given(made(), st.sampled_from(LANGUAGES), st.sampled_from(["mine", "something new"]), st.integers(0, 3))
def test_a_text_really_changed_is_stored_and_shown_in_every_language(
    given_: tuple[Catalog, GuidedChecklist], language: str, title: str, index: int
) -> None:
    catalog, checklist = given_
    wording = wording_of(catalog)
    read = in_language(checklist, wording, language)
    assert read.steps is not UNSET
    assert checklist.steps is not UNSET
    steps = [msgspec.structs.replace(one, title=title) if n == index else one for n, one in enumerate(read.steps)]

    stored = in_own_language(msgspec.structs.replace(read, steps=steps), wording)

    expected = [
        msgspec.structs.replace(one, title=title) if n == index else one for n, one in enumerate(checklist.steps)
    ]
    assert stored.steps == expected
    again = in_language(stored, wording, language).steps
    assert again is not UNSET
    assert again[index].title == title


@given(made(), st.sampled_from(LANGUAGES), st.sampled_from(LANGUAGES))
def test_what_is_stored_is_the_same_in_whichever_language_it_was_read(
    given_: tuple[Catalog, GuidedChecklist], one: str, other: str
) -> None:
    catalog, checklist = given_
    wording = wording_of(catalog)

    stored = [in_own_language(in_language(checklist, wording, language), wording) for language in (one, other)]

    assert stored[0] == stored[1]


@given(made(), st.sampled_from(LANGUAGES))
def test_a_language_changes_nothing_but_texts(given_: tuple[Catalog, GuidedChecklist], language: str) -> None:
    catalog, checklist = given_
    assert checklist.steps is not UNSET

    read = in_language(checklist, wording_of(catalog), language)

    assert read.steps is not UNSET
    for before, after in zip(checklist.steps, read.steps, strict=True):
        texts = {"title": before.title, "description": before.description, "cta_label": before.cta_label}
        assert msgspec.structs.replace(after, **texts) == before


@pytest.mark.parametrize("header", [None, "sv", "*"])
def test_a_catalog_of_one_language_is_read_in_that(header: str | None) -> None:
    assert language_for(("de",), header) == "de"


@given(st.lists(st.sampled_from(LANGUAGES), min_size=2, max_size=2, unique=True), st.none() | st.just(["owner"]))
def test_the_tag_changes_with_the_language(languages: list[str], roles: list[str] | None) -> None:
    tags = {opaque_tag(7, roles, None, language) for language in (*languages, None)}

    assert len(tags) == 3
    assert {tag.partition(".")[0] for tag in tags} == {"7"}


@pytest.fixture
def migrated_url(database_url: str) -> str:
    directly(database_url, versions.upgrade)
    return database_url


def publish(connection: Connection, one: Edition, title: str) -> None:
    org_id, version, published = one
    step = StepDefinition(
        step_id="a",
        title="A",
        description="",
        cta_label="Go",
        cta_route="/",
        sort_order=1,
        translations={"sv": Translation(title=title)},
    )
    body = msgspec.json.encode(Catalog(name="Any", languages=["en", "sv"], steps=[step])).decode()
    row = {"org_id": org_id, "version": version, "body": body, "published": published, "publisher": "a test"}
    connection.execute(insert(catalogs), row)


class TestKept:
    def test_what_is_kept_is_bounded_and_what_had_to_go_is_read_again(self, migrated_url: str) -> None:
        editions: list[Edition] = [("globex", number, 1_000 + number) for number in (1, 2, 3)]
        few = Wordings(most_bytes=1)

        def titles(connection: Connection) -> list[object]:
            for one in editions:
                publish(connection, one, f"Version {one[1]}")
            found = [few.of(connection, [one])[one] for one in (*editions, editions[0])]
            return [wording.steps["a"].translations["sv"].title for wording in found]

        assert directly(migrated_url, titles) == ["Version 1", "Version 2", "Version 3", "Version 1"]

    def test_what_is_kept_needs_no_database(self, migrated_url: str) -> None:
        kept, one = Wordings(), ("", 1, 1_000)

        def read_twice(connection: Connection) -> bool:
            publish(connection, one, "Ett")
            first = kept.of(connection, [one])
            connection.execute(catalogs.delete())
            return kept.of(connection, [one]) == first

        assert directly(migrated_url, read_twice)

    def test_a_version_that_there_is_no_more_is_left_out(self, migrated_url: str) -> None:
        gone = edition(Progress("globex", 9, published=5))

        assert directly(migrated_url, lambda connection: Wordings().of(connection, [gone])) == {}

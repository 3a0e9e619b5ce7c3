"""What a catalog says: what completes a step, and in which language it is read."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from milepost.domain.catalog import (
    Completion,
    Scope,
    StepDefinition,
    Texts,
    Translation,
    completion_of,
    localized,
    negotiate,
)
from milepost.domain.contract import Track

PAIRED = "signals['tracker.paired'].count > 0"

STEP = StepDefinition(
    step_id="connect-vehicles",
    title="Connect your vehicles",
    description="Pair the first tracker, so that the map fills by itself.",
    cta_label="Pair a tracker",
    cta_route="/fleet/trackers/new",
    sort_order=10,
    translations={
        "sv": Translation(title="Anslut era fordon", description="Para ihop den första.", cta_label="Para ihop"),
        "da": Translation(title="Tilslut jeres køretøjer"),
        "nb": Translation(description=""),
    },
)


def step(*, when: str | None = None, completion: Completion | None = None) -> StepDefinition:
    return StepDefinition(
        step_id="a",
        title="A",
        description="",
        cta_label="Go",
        cta_route="/",
        sort_order=1,
        complete_when=UNSET if when is None else when,
        completion=UNSET if completion is None else completion,
    )


class TestStepDefinition:
    def test_a_step_that_says_no_more_is_for_everyone_and_may_be_skipped(self) -> None:
        assert STEP.tracks == [Track.A, Track.B]
        assert STEP.roles == STEP.interests == STEP.requires == []
        assert STEP.scope is Scope.USER
        assert STEP.skippable

    @pytest.mark.parametrize(
        ("when", "says", "completed_by"),
        [
            (PAIRED, None, Completion.SIGNAL),
            (None, None, Completion.MANUAL),
            (PAIRED, Completion.EITHER, Completion.EITHER),
            (PAIRED, Completion.MANUAL, Completion.MANUAL),
            (PAIRED, Completion.SIGNAL, Completion.SIGNAL),
            (None, Completion.EITHER, Completion.EITHER),
            (None, Completion.MANUAL, Completion.MANUAL),
        ],
    )
    def test_proof_completes_a_step_that_has_a_condition_unless_it_says_otherwise(
        self, when: str | None, says: Completion | None, completed_by: Completion
    ) -> None:
        assert completion_of(step(when=when, completion=says)) is completed_by


class TestLocalized:
    def test_a_translated_step_reads_in_its_translation(self) -> None:
        assert localized(STEP, "sv") == Texts("Anslut era fordon", "Para ihop den första.", "Para ihop")

    def test_a_text_without_translation_reads_in_the_language_of_the_step(self) -> None:
        assert localized(STEP, "da") == Texts("Tilslut jeres køretøjer", STEP.description, STEP.cta_label)

    def test_a_description_may_be_left_empty_in_a_language(self) -> None:
        assert localized(STEP, "nb") == Texts(STEP.title, "", STEP.cta_label)

    @pytest.mark.parametrize("language", ["en", "fi", ""])
    def test_any_other_language_reads_as_the_step_itself(self, language: str) -> None:
        assert localized(STEP, language) == Texts(STEP.title, STEP.description, STEP.cta_label)


class TestNegotiate:
    @pytest.mark.parametrize(
        ("languages", "header", "answer"),
        [
            # Nothing is asked for: the language of the steps' own texts.
            (["en", "sv"], None, "en"),
            (["en", "sv"], "", "en"),
            (["en", "sv"], "*", "en"),
            # What is asked for, by weight, then by order.
            (["en", "sv"], "sv", "sv"),
            (["en", "sv"], "sv, en", "sv"),
            (["en", "sv", "da"], "da;q=0.8, sv;q=0.9", "sv"),
            (["en", "sv", "da"], "da;q=0.9, sv;q=0.9", "da"),
            (["en", "sv"], "fi, de;q=0.9, sv;q=0.1", "sv"),
            (["en", "sv"], "fi, de", "en"),
            # Tags are the same in small and capital letters; the answer is written as the catalog writes it.
            (["en", "pt-BR"], "PT-br", "pt-BR"),
            (["EN", "sv"], "sv-SE;Q=0.5, en", "EN"),
            # A range is shortened from its end (RFC 4647, section 3.4), and never made longer.
            (["en", "sv"], "sv-FI", "sv"),
            (["en", "zh-Hant"], "zh-Hant-CN-x-private1-private2", "zh-Hant"),
            (["en", "zh"], "zh-Hant-CN-x-private1", "zh"),
            (["en", "pt-BR"], "pt", "en"),
            (["en", "sv", "sv-FI"], "sv-FI, sv", "sv-FI"),
            # Any language: only what is asked for beside it matters.
            (["en", "sv"], "*, sv;q=0.5", "sv"),
            (["en", "sv"], "fi, *;q=0.5", "en"),
            # What is refused is not answered, while there is something else.
            (["en", "sv"], "en;q=0", "sv"),
            (["en", "sv"], "en;q=0, *", "sv"),
            (["en-GB", "sv"], "en;q=0", "sv"),
            (["en", "sv"], "sv-SE, sv;q=0", "en"),
            (["en", "sv"], "en;q=0, sv;q=0", "en"),
            (["en", "sv"], "*;q=0", "en"),
            # What is malformed is ignored, and the rest of the header is not.
            (["en", "sv"], "sv;q=2", "en"),
            (["en", "sv"], "sv;q=0.1234", "en"),
            (["en", "sv"], "sv;q=", "en"),
            (["en", "sv"], "sv_SE", "en"),
            (["en", "sv"], "en;q=high, , ;q=1, sv", "sv"),
            (["en", "sv"], "\x00\U0001f600, sv", "sv"),
            (["en", "sv"], "  sv ; q=1.000  ,\ten;q=0.9", "sv"),
        ],
    )
    def test_the_language_asked_for_is_answered(self, languages: list[str], header: str | None, answer: str) -> None:
        assert negotiate(languages, header) == answer

    @given(st.lists(st.from_regex("[a-z]{2}(-[A-Z]{2})?", fullmatch=True), min_size=1), st.text())
    def test_whatever_is_asked_for_the_answer_is_a_language_there_is(self, languages: list[str], header: str) -> None:
        assert negotiate(languages, header) in languages

    @given(st.lists(st.sampled_from(["en", "sv", "pt-BR"]), min_size=1, unique=True), st.data())
    def test_a_language_there_is_and_asked_for_alone_is_answered(
        self, languages: list[str], data: st.DataObject
    ) -> None:
        wanted = data.draw(st.sampled_from(languages))

        assert negotiate(languages, wanted) == wanted

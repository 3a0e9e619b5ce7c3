"""In which language a checklist is read, and how what was read is written back (contract part 5, languages).

A checklist is stored in the language of its catalog's own texts, and in no other: a translation is put in on the way
out and taken out again on the way in.
"""

from collections.abc import Callable, Mapping
from functools import lru_cache

import msgspec
from msgspec import UNSET

from milepost.domain.catalog import Catalog, StepDefinition, localized, negotiate
from milepost.domain.contract import GuidedChecklist, Step

TEXTS = ("title", "description", "cta_label")


class Wording(msgspec.Struct, frozen=True):
    """The texts of one version of a catalog: its languages, the first of them that of the steps' own texts, and by
    their ids the steps that have translations.
    """

    languages: tuple[str, ...]
    steps: Mapping[str, StepDefinition]

    @property
    def own_language(self) -> str:
        return self.languages[0]


def wording_of(catalog: Catalog) -> Wording:
    steps = {definition.step_id: definition for definition in catalog.steps if definition.translations}
    return Wording(tuple(catalog.languages), steps)


def language_for(languages: tuple[str, ...], accept_language: str | None) -> str:
    """The language to answer in, as `catalog.negotiate` finds it."""
    if accept_language is None or len(languages) == 1:
        return languages[0]
    return _negotiated(languages, accept_language)


@lru_cache(maxsize=1024)
def _negotiated(languages: tuple[str, ...], accept_language: str) -> str:
    """Browsers of one make and language all send the same header."""
    return negotiate(languages, accept_language)


def in_language(checklist: GuidedChecklist, wording: Wording, language: str) -> GuidedChecklist:
    """The checklist as it is read in one of the catalog's languages. A text changed by hand stays as it is."""

    def spoken(step: Step, definition: StepDefinition) -> Step:
        if language not in definition.translations:
            return step
        texts = localized(definition, language)
        return _changed(
            step, {name: getattr(texts, name) for name in TEXTS if getattr(step, name) == getattr(definition, name)}
        )

    return checklist if language == wording.own_language else _each(checklist, wording, spoken)


def in_own_language(checklist: GuidedChecklist, wording: Wording) -> GuidedChecklist:
    """The checklist as it is stored: a text that is one of the catalog's translations becomes the catalog's own again.

    It asks for no language: whoever reads in one and writes back with a request that names another, or none, has
    changed nothing either.
    """

    def stored(step: Step, definition: StepDefinition) -> Step:
        return _changed(
            step, {name: getattr(definition, name) for name in TEXTS if _is_translation(step, definition, name)}
        )

    return _each(checklist, wording, stored)


def _is_translation(step: Step, definition: StepDefinition, name: str) -> bool:
    text = getattr(step, name)
    return text != getattr(definition, name) and any(
        getattr(translation, name) == text for translation in definition.translations.values()
    )


def _changed(step: Step, texts: Mapping[str, str]) -> Step:
    return msgspec.structs.replace(step, **texts) if texts else step


def _each(
    checklist: GuidedChecklist, wording: Wording, change: Callable[[Step, StepDefinition], Step]
) -> GuidedChecklist:
    """The checklist with each step changed that the catalog has translations of."""
    if checklist.steps is UNSET or not wording.steps:
        return checklist
    known = wording.steps
    steps = [change(step, known[step.step_id]) if step.step_id in known else step for step in checklist.steps]
    return msgspec.structs.replace(checklist, steps=steps)

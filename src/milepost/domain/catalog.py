"""What a catalog is: the steps that an onboarding can have, for whom, after what, and when each is complete."""

import re
from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

from milepost.domain.contract import MAX_ITEMS, MAX_TEXT, Identifier, Line, Track

MAX_STEPS = MAX_ITEMS
MAX_REQUIRED = 50
MAX_LANGUAGES = 50


class Completion(StrEnum):
    """What completes a step: only proof, only a person's own mark, or either."""

    SIGNAL = "signal"
    MANUAL = "manual"
    EITHER = "either"


class Scope(StrEnum):
    """Whose doing counts: each user's own, or that of any member of the enterprise or organization."""

    USER = "user"
    ENTERPRISE = "enterprise"
    ORGANIZATION = "organization"


Language = Annotated[
    str,
    Meta(
        pattern="^[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*$",
        max_length=35,
        description="a language tag (BCP 47)",
        examples=["en", "sv", "pt-BR"],
    ),
]
Text = Annotated[str, Meta(min_length=1, max_length=MAX_TEXT)]
Names = Annotated[list[Identifier], Meta(max_length=MAX_ITEMS)]


class Translation(msgspec.Struct, rename="camel", forbid_unknown_fields=True, kw_only=True, frozen=True):
    """A step's texts in another language; a text left out is shown in the language of the step itself."""

    title: Text | UnsetType = UNSET
    description: Line | UnsetType = UNSET
    cta_label: Text | UnsetType = UNSET


class StepDefinition(
    msgspec.Struct, rename="camel", forbid_unknown_fields=True, kw_only=True, frozen=True, omit_defaults=True
):
    """One step: its texts, who gets it, what comes first, and what completes it."""

    step_id: Annotated[
        Identifier,
        Meta(
            description="unique within the catalog; progress is kept under it, so it never changes once published",
            examples=["connect-vehicles"],
        ),
    ]
    title: Annotated[Text, Meta(description="what there is to do", examples=["Connect your vehicles"])]
    description: Annotated[Line, Meta(description="why, or how, in a sentence")]
    cta_label: Annotated[
        Text, Meta(description="the label of the button that leads there", examples=["Pair a tracker"])
    ]
    cta_route: Annotated[Text, Meta(description="the route that the button leads to", examples=["/fleet/trackers/new"])]
    sort_order: Annotated[
        int,
        Meta(
            ge=-(2**53) + 1, le=2**53 - 1, description="steps are shown from the lowest to the highest", examples=[10]
        ),
    ]
    tracks: Annotated[
        list[Track],
        Meta(
            min_length=1,
            max_length=MAX_ITEMS,
            description="who gets it: A is new to the platform, B joins another enterprise",
            extra_json_schema={"default": ["A", "B"]},
        ),
    ] = msgspec.field(default_factory=lambda: list(Track))
    roles: Annotated[
        Names, Meta(description="who gets it: holders of one of these roles; none: everyone", examples=[["dispatcher"]])
    ] = []
    interests: Annotated[
        Names,
        Meta(
            description="who gets it: users with one of these product interests; none: everyone", examples=[["routing"]]
        ),
    ] = []
    requires: Annotated[
        list[Identifier],
        Meta(
            max_length=MAX_REQUIRED,
            description="the stepId of each step that comes first",
            examples=[["connect-vehicles"]],
        ),
    ] = []
    complete_when: (
        Annotated[
            str,
            Meta(
                description="the condition (CEL) that completes the step, over `signals`, `attributes`, `roles` and "
                "`interests`; a signal never seen has count 0",
                examples=["signals['tracker.paired'].count >= 3", "has(attributes.plan) && attributes.plan == 'pro'"],
            ),
        ]
        | UnsetType
    ) = UNSET
    completion: (
        Annotated[
            Completion,
            Meta(
                description="what completes it: `signal` only the condition, `manual` only the user's own mark, or "
                "`either`; left out, it is `signal` where there is a condition and `manual` where there is none"
            ),
        ]
        | UnsetType
    ) = UNSET
    scope: Annotated[
        Scope,
        Meta(
            description="whose doing counts: `user` each one's own; with `enterprise` or `organization`, what any "
            "member has done is done for all"
        ),
    ] = Scope.USER
    skippable: Annotated[bool, Meta(description="whether the user may skip it")] = True
    translations: Annotated[
        dict[str, Translation],
        Meta(
            max_length=MAX_LANGUAGES,
            description="the texts in the catalog's other languages, by language tag",
            examples=[{"sv": {"title": "Anslut era fordon"}}],
        ),
    ] = {}


class Catalog(msgspec.Struct, rename="camel", forbid_unknown_fields=True, kw_only=True, frozen=True):
    """The steps of an onboarding."""

    name: Annotated[
        str, Meta(min_length=1, max_length=255, description="what the catalog is called", examples=["Fleet onboarding"])
    ]
    languages: Annotated[
        list[Language],
        Meta(
            min_length=1,
            max_length=MAX_LANGUAGES,
            description="the languages there are texts in; the first is that of the steps' own texts",
            examples=[["en", "sv"]],
            extra_json_schema={"default": ["en"]},
        ),
    ] = msgspec.field(default_factory=lambda: ["en"])
    steps: Annotated[list[StepDefinition], Meta(max_length=MAX_STEPS)]


def completion_of(step: StepDefinition) -> Completion:
    """What completes the step: as it says, else proof where a condition tells what that is."""
    if step.completion is not UNSET:
        return step.completion
    return Completion.MANUAL if step.complete_when is UNSET else Completion.SIGNAL


class Texts(msgspec.Struct, frozen=True):
    """What a user reads of a step."""

    title: str
    description: str
    cta_label: str


def localized(step: StepDefinition, language: str) -> Texts:
    """The step's texts in one of the catalog's languages, each text that is not translated in the step's own."""
    translation = step.translations.get(language, Translation())
    return Texts(
        title=translation.title or step.title,
        description=step.description if translation.description is UNSET else translation.description,
        cta_label=translation.cta_label or step.cta_label,
    )


LANGUAGE_RANGE = re.compile(
    r"\s*(?P<range>\*|[a-z]{1,8}(?:-[a-z0-9]{1,8})*)\s*(?:;\s*q=(?P<weight>0(?:\.\d{0,3})?|1(?:\.0{0,3})?)\s*)?",
    re.IGNORECASE,
)
"""One member of Accept-Language (RFC 9110, section 12.5.4)."""


def negotiate(languages: Sequence[str], accept_language: str | None) -> str:
    """The language to answer in: the one of `languages` that the header asks for, else the first that it allows.

    By lookup (RFC 4647, section 3.4): the ranges in the order of their weights, each shortened from its end until it
    is one of the languages. What is malformed in the header is ignored, and so is a refusal of every language.
    """
    ranges = list(_ranges(accept_language or ""))
    refused = [name for name, weight in ranges if weight == 0 and name != "*"]
    allowed = {tag.lower(): tag for tag in languages if not any(_within(tag.lower(), name) for name in refused)}
    default = next(iter(allowed.values()), languages[0])
    # Sorting is stable: of two ranges with one weight, the one that was written first is asked for first.
    for name, weight in sorted(ranges, key=lambda each: -each[1]):
        if weight == 0 or name == "*":
            continue
        for tag in _shortened(name):
            if tag in allowed:
                return allowed[tag]
    return default


def _ranges(header: str) -> Iterable[tuple[str, float]]:
    for member in header.split(","):
        match = LANGUAGE_RANGE.fullmatch(member)
        if match:
            yield match["range"].lower(), float(match["weight"] or 1)


def _within(tag: str, language_range: str) -> bool:
    """Whether the range takes in the tag (RFC 4647, section 3.3.1)."""
    return tag == language_range or tag.startswith(f"{language_range}-")


def _shortened(language_range: str) -> Iterable[str]:
    """The range, then without its last part, and so on; a part of one letter goes with the one that follows it."""
    parts = language_range.split("-")
    while parts:
        yield "-".join(parts)
        parts.pop()
        if parts and len(parts[-1]) == 1:
            parts.pop()

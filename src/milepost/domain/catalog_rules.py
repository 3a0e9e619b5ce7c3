"""What must hold across the steps of a catalog, and what is allowed but hardly meant."""

from collections.abc import Container, Iterator, Mapping, Sequence
from difflib import get_close_matches

from msgspec import UNSET

from milepost.domain.catalog import Catalog, Completion, StepDefinition
from milepost.domain.json_text import MAX_NAME, json_pointer, shortened
from milepost.problems import Fault

MAX_NAMED = 10
"""Steps that a sentence names."""

MAX_HINTS = 50
"""Unknown steps for which a known one with a similar name is looked for, which takes long."""


def broken_rules(catalog: Catalog) -> Iterator[Fault]:
    """Every rule that the catalog breaks. A step without a stepId is judged as far as that is possible."""
    yield from _duplicates(catalog)
    for index, step in enumerate(catalog.steps):
        yield from _repetitions(index, step)
        yield from _completion_faults(index, step)
        yield from _translation_faults(index, step, catalog.languages)
    yield from _requires_faults(catalog.steps)


def doubts(catalog: Catalog) -> Iterator[Fault]:
    """What is allowed, but hardly meant. The catalog breaks no rule."""
    steps = {step.step_id: step for step in catalog.steps}
    for index, step in enumerate(catalog.steps):
        if step.completion is Completion.MANUAL and step.complete_when is not UNSET:
            yield _fault(
                index, "completeWhen", detail="is never asked, since completion is manual; leave one of them out"
            )
        if step.completion is Completion.EITHER and step.complete_when is UNSET:
            yield _fault(index, "completion", detail="is the same as manual without a completeWhen; add one")
        for language in catalog.languages[1:]:
            yield from _missing_texts(index, step, language)
        for number, step_id in enumerate(step.requires):
            apart = _apart(step, steps[step_id])
            if apart:
                detail = f"nobody who gets this step gets {_named(step_id)} too: {apart}"
                yield _fault(index, "requires", number, detail=detail)


def _fault(index: int, *path: str | int, detail: str) -> Fault:
    return Fault(detail, pointer=json_pointer(("steps", index, *path)))


def _named(step_id: str) -> str:
    return shortened(step_id, MAX_NAME)


def _duplicates(catalog: Catalog) -> Iterator[Fault]:
    first: dict[str, int] = {}
    for index, step in enumerate(catalog.steps):
        if step.step_id in first:
            detail = f"{_named(step.step_id)} is already the stepId of step {first[step.step_id] + 1}; choose another"
            yield _fault(index, "stepId", detail=detail)
        elif step.step_id:
            first[step.step_id] = index
    seen: set[str] = set()
    for index, language in enumerate(catalog.languages):
        if language.lower() in seen:
            yield Fault(f"{_named(language)} is listed twice; keep one", pointer=f"/languages/{index}")
        seen.add(language.lower())


def _repetitions(index: int, step: StepDefinition) -> Iterator[Fault]:
    lists: Mapping[str, Sequence[str]] = {
        "tracks": step.tracks,
        "roles": step.roles,
        "interests": step.interests,
        "requires": step.requires,
    }
    for field, names in lists.items():
        for number, name in enumerate(names):
            if name in names[:number]:
                yield _fault(index, field, number, detail=f"{_named(name)} is listed twice; keep one")


def _completion_faults(index: int, step: StepDefinition) -> Iterator[Fault]:
    if step.completion is Completion.SIGNAL and step.complete_when is UNSET:
        detail = (
            "is signal, but there is no completeWhen, so nobody could ever complete the step; add one, or say manual"
        )
        yield _fault(index, "completion", detail=detail)


def _translation_faults(index: int, step: StepDefinition, languages: Sequence[str]) -> Iterator[Fault]:
    for language in step.translations if languages else ():
        if language == languages[0]:
            detail = (
                f"{language} is the first of languages: its texts are the step's own title, description and ctaLabel"
            )
            yield _fault(index, "translations", language, detail=detail)
        elif language not in languages:
            detail = f"{_named(language)} is not one of the languages ({', '.join(languages)}); add it there"
            yield _fault(index, "translations", language, detail=detail)


def _missing_texts(index: int, step: StepDefinition, language: str) -> Iterator[Fault]:
    translation = step.translations.get(language)
    if translation is None:
        missing = ["title", "description", "ctaLabel"]
    else:
        texts = {
            "title": translation.title,
            "description": translation.description,
            "ctaLabel": translation.cta_label,
        }
        missing = [name for name, text in texts.items() if text is UNSET]
    if missing:
        yield _fault(index, "translations", language, detail=f"there is no {', '.join(missing)} in {language}")


def _requires_faults(steps: Sequence[StepDefinition]) -> Iterator[Fault]:
    short = [step.step_id for step in steps if 0 < len(step.step_id) <= MAX_NAME]
    hints = iter(range(MAX_HINTS))
    indexes = {step_id: index for index, step_id in reversed([*enumerate(step.step_id for step in steps)])}
    for index, step in enumerate(steps):
        for number, step_id in enumerate(step.requires):
            if step_id == step.step_id:
                yield _fault(index, "requires", number, detail="a step cannot require itself; leave it out")
            elif step_id not in indexes:
                close = get_close_matches(step_id[:MAX_NAME], short, n=1) if next(hints, None) is not None else []
                hint = f"did you mean {close[0]}?" if close else "correct it, or leave it out"
                yield _fault(index, "requires", number, detail=f"there is no step {_named(step_id)}; {hint}")
    for cycle in _cycles(steps):
        way = [*cycle, cycle[0]]
        told = way if len(way) <= MAX_NAMED else [*way[: MAX_NAMED - 2], "…", way[-1]]
        detail = f"no step of this circle can ever begin: {' -> '.join(_named(step_id) for step_id in told)}; break it"
        yield _fault(indexes[cycle[0]], "requires", detail=detail)


def _cycles(steps: Sequence[StepDefinition]) -> Iterator[list[str]]:
    """The circles of requirements; no step is in two of them. A search in depth, without recursion."""
    # Of two steps with one stepId, the first one counts.
    named: dict[str, StepDefinition] = {}
    for step in steps:
        if step.step_id:
            named.setdefault(step.step_id, step)
    finished: set[str] = set()
    for start, step in named.items():
        way = {} if start in finished else {start: _required(step, named)}
        while way:
            step_id, rest = next(reversed(way.items()))
            following = next((each for each in rest if each not in finished), None)
            if following is None:
                finished.add(step_id)
                del way[step_id]
            elif following in way:
                circle = [*way][[*way].index(following) :]
                yield circle
                finished.update(circle)
                for each in circle:
                    del way[each]
            else:
                way[following] = _required(named[following], named)


def _required(step: StepDefinition, known: Container[str]) -> Iterator[str]:
    return (step_id for step_id in step.requires if step_id in known and step_id != step.step_id)


def _apart(step: StepDefinition, other: StepDefinition) -> str:
    """Why no user gets both steps; '' where there may be one."""
    if set(step.tracks).isdisjoint(other.tracks):
        return f"they are on track {' and '.join(step.tracks)}, and {' and '.join(other.tracks)}"
    for name in ("roles", "interests"):
        mine, theirs = getattr(step, name), getattr(other, name)
        if mine and theirs and set(mine).isdisjoint(theirs):
            return f"they have no common {name}"
    return ""

"""What differs between two versions of a catalog."""

from typing import Any

import msgspec

from milepost.domain.catalog import Catalog, StepDefinition


class StepDifference(msgspec.Struct, rename="camel"):
    """A step that both versions have, and by name each of its members that differs: as it was, and as it is."""

    step_id: str
    before: dict[str, Any]
    after: dict[str, Any]


class CatalogDifference(msgspec.Struct, rename="camel"):
    """What the later version has that the earlier has not, the other way round, and what both have differently."""

    from_version: int
    to_version: int
    added: list[StepDefinition]
    removed: list[StepDefinition]
    changed: list[StepDifference]
    before: dict[str, Any]
    after: dict[str, Any]


def differences(before: Catalog, after: Catalog, from_version: int, to_version: int) -> CatalogDifference:
    """What differs between two versions of a catalog; `before` and `after` of the answer are of the catalog itself."""
    then = {step.step_id: step for step in before.steps}
    now = {step.step_id: step for step in after.steps}
    changed = [
        StepDifference(step_id, *_differing(then[step_id], step)) for step_id, step in now.items() if step_id in then
    ]
    old, new = _differing(msgspec.structs.replace(before, steps=[]), msgspec.structs.replace(after, steps=[]))
    return CatalogDifference(
        from_version=from_version,
        to_version=to_version,
        added=[step for step_id, step in now.items() if step_id not in then],
        removed=[step for step_id, step in then.items() if step_id not in now],
        changed=[one for one in changed if one.before or one.after],
        before=old,
        after=new,
    )


def _differing(before: object, after: object) -> tuple[dict[str, Any], dict[str, Any]]:
    """The members that differ, as each side has them."""
    old: dict[str, Any] = msgspec.to_builtins(before)
    new: dict[str, Any] = msgspec.to_builtins(after)
    names = [name for name in {**old, **new} if old.get(name) != new.get(name)]
    return {name: old[name] for name in names if name in old}, {name: new[name] for name in names if name in new}

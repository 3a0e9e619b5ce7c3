"""The record's rules as pure functions: what holds for every record, whoever looks at it."""

from datetime import UTC, datetime, timedelta, timezone

import msgspec
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from msgspec import UNSET

from milepost.domain import records
from milepost.domain.contract import GuidedChecklist, Status, Step, Track, UserProperties
from milepost.domain.records import Record
from milepost.problems import Problem

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
ROLES = ["analyst", "dispatcher", "owner"]

roles = st.lists(st.sampled_from(ROLES), unique=True).map(sorted)
offsets = st.timedeltas(timedelta(hours=-23, minutes=-59), timedelta(hours=23, minutes=59)).map(
    lambda delta: timezone(timedelta(minutes=delta // timedelta(minutes=1)))
)
times = st.datetimes(datetime(1, 1, 3), datetime(9999, 12, 29), timezones=offsets)  # noqa: DTZ001 - the strategy adds the zone
past = st.datetimes(datetime(1970, 1, 2), datetime(2026, 2, 1), timezones=offsets)  # noqa: DTZ001


@st.composite
def step_lists(draw: st.DrawFn, prefix: str = "step") -> list[Step]:
    return [
        Step(
            step_id=f"{prefix}-{n}",
            title=draw(st.text(max_size=5)),
            description="",
            cta_label="",
            cta_route="",
            status=draw(st.sampled_from(Status)),
            sort_order=draw(st.integers(-100, 100)),
            source_roles=draw(st.just(UNSET) | roles),
        )
        for n in range(draw(st.integers(0, 6)))
    ]


@st.composite
def all_properties(draw: st.DrawFn, prefix: str = "step") -> UserProperties:
    checklist = GuidedChecklist(
        track=draw(st.sampled_from(Track)),
        computed_at=draw(times),
        roles=draw(st.just(UNSET) | roles),
        product_interests=draw(st.just(UNSET) | st.lists(st.text(max_size=3), max_size=3)),
        steps=draw(st.just(UNSET) | step_lists(prefix)),
        dismissed_at=draw(st.just(UNSET) | times),
    )
    return UserProperties(
        user_id="ann",
        created_date=draw(past),
        modified_date=draw(past),
        guided_checklist=draw(st.just(UNSET) | st.just(checklist)),
    )


def steps_of(properties: UserProperties) -> list[Step]:
    checklist = properties.guided_checklist
    return [] if checklist is UNSET or checklist.steps is UNSET else checklist.steps


class TestVisibleSteps:
    @given(step_lists(), roles)
    def test_a_step_is_visible_when_it_is_for_everyone_or_for_a_role_that_is_held(
        self, steps: list[Step], held: list[str]
    ) -> None:
        visible = records.visible_steps(steps, held)

        assert visible == [step for step in steps if not step.source_roles or set(step.source_roles) & set(held)]

    @given(step_lists(), roles, st.sampled_from(ROLES))
    def test_one_role_more_never_hides_a_step(self, steps: list[Step], held: list[str], more: str) -> None:
        before = records.visible_steps(steps, held)

        after = records.visible_steps(steps, [*held, more])

        assert [step for step in after if step in before] == before


class TestSeen:
    @given(all_properties(), roles)
    def test_the_roles_shown_are_those_held_and_nothing_else_changes(
        self, properties: UserProperties, held: list[str]
    ) -> None:
        shown = records.seen(Record(properties, 1), held)

        if properties.guided_checklist is UNSET or shown.guided_checklist is UNSET:
            assert shown == properties
        else:
            assert shown.guided_checklist.roles == held
            assert shown.guided_checklist.computed_at == properties.guided_checklist.computed_at
            assert steps_of(shown) == records.visible_steps(steps_of(properties), held)

    @given(all_properties())
    def test_where_no_organization_is_asked_for_it_is_shown_as_it_is_stored(self, properties: UserProperties) -> None:
        assert records.seen(Record(properties, 1), None) == properties


class TestPatched:
    @given(all_properties(), all_properties("new"), roles)
    def test_a_patch_never_drops_a_step_its_caller_could_not_see(
        self, stored: UserProperties, patched: UserProperties, held: list[str]
    ) -> None:
        hidden = [step for step in steps_of(stored) if not records.is_visible(step, set(held))]

        result = records.with_what_was_hidden(Record(stored, 1), patched, held)

        assert [step for step in steps_of(result) if step in hidden] == hidden

    @given(all_properties(), all_properties("new"), roles)
    def test_what_the_caller_sees_afterwards_is_what_the_patch_made(
        self, stored: UserProperties, patched: UserProperties, held: list[str]
    ) -> None:
        result = records.with_what_was_hidden(Record(stored, 1), patched, held)

        shown = steps_of(records.seen(Record(result, 2), held))
        assert shown == records.visible_steps(steps_of(patched), held)

    @given(all_properties(), roles)
    def test_a_patch_that_changes_nothing_leaves_the_record_as_it_is_stored(
        self, stored: UserProperties, held: list[str]
    ) -> None:
        record = Record(stored, 1)

        result = records.with_what_was_hidden(record, records.seen(record, held), held)

        assert steps_of(result) == steps_of(stored)
        if result.guided_checklist is not UNSET and stored.guided_checklist is not UNSET:
            assert result.guided_checklist.roles == stored.guided_checklist.roles


class TestReplaced:
    @given(st.lists(st.datetimes(datetime(1990, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)), min_size=2))  # noqa: DTZ001
    def test_modified_date_never_goes_back_whatever_the_clock_does(self, clock: list[datetime]) -> None:
        properties = UserProperties(user_id="ann", created_date=NOW, modified_date=NOW)
        history: list[Record] = []

        for now in clock:
            history.append(records.replaced(history[-1] if history else None, properties, now))

        versions = [record.version for record in history]
        assert versions == sorted(set(versions))
        assert [records.microseconds(record.properties.modified_date) for record in history] == versions

    @given(all_properties(), all_properties())
    def test_the_first_created_date_stays(self, first: UserProperties, second: UserProperties) -> None:
        stored = records.replaced(None, first, NOW)

        again = records.replaced(stored, second, NOW)

        assert again.properties.created_date == first.created_date


class TestChecked:
    @given(all_properties())
    def test_times_are_the_same_instants_in_utc_and_come_back_exactly(self, properties: UserProperties) -> None:
        kept = records.checked(properties, "ann", NOW)

        assert kept == properties
        text = msgspec.json.encode(kept)
        assert kept.created_date.tzinfo is UTC
        assert msgspec.json.decode(text, type=UserProperties) == kept

    def test_a_created_date_ahead_of_the_clock_is_accepted_within_the_skew_only(self) -> None:
        def created(at: datetime) -> UserProperties:
            return UserProperties(user_id="ann", created_date=at, modified_date=NOW)

        records.checked(created(NOW + records.CLOCK_SKEW), "ann", NOW)
        with pytest.raises(Problem, match="future"):
            records.checked(created(NOW + records.CLOCK_SKEW + timedelta(microseconds=1)), "ann", NOW)

    @pytest.mark.parametrize("attributes", [b"[]", b"1", b'"{}"', b"null"])
    def test_attributes_are_an_object(self, attributes: bytes) -> None:
        properties = UserProperties(
            user_id="ann", created_date=NOW, modified_date=NOW, attributes=msgspec.Raw(attributes)
        )

        with pytest.raises(Problem, match="object"):
            records.checked(properties, "ann", NOW)


class TestChanges:
    @given(all_properties(), all_properties())
    def test_the_journal_is_told_of_each_step_whose_status_differs(
        self, before: UserProperties, after: UserProperties
    ) -> None:
        then = {step.step_id: step.status for step in steps_of(before)}
        now = {step.step_id: step.status for step in steps_of(after)}
        assume(then or now)

        told = records.changes(Record(before, 1), Record(after, 2))

        assert told.get("steps", {}) == {name: status for name, status in now.items() if then.get(name) != status}
        assert told.get("stepsRemoved", []) == [name for name in then if name not in now]

    def test_only_the_names_of_members_are_told(self) -> None:
        before = UserProperties(user_id="ann", created_date=NOW, modified_date=NOW)
        after = msgspec.structs.replace(before, attributes=msgspec.Raw(b'{"secret":1}'))

        assert records.changes(Record(before, 1), Record(after, 2)) == {"version": 2, "members": ["attributes"]}

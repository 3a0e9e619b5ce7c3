"""What holds of the guided checklist whatever the catalog, the user and the sequence of events."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from milepost.domain.catalog import Scope, StepDefinition
from milepost.domain.catalog_files import read
from milepost.domain.checklists import Knowledge, Outcome, Published, arrived, initialized, refreshed, steps_of
from milepost.domain.checklists import with_completed_at as completion_told
from milepost.domain.conditions import Facts
from milepost.domain.contract import GuidedChecklist, Status, Step, Track, UserProperties
from milepost.domain.progress import Evidence, Progress, Sharing, done_for_all
from milepost.domain.records import Record, visible_steps, with_shared
from milepost.domain.transitions import Move, moved
from milepost.problems import Problem
from tests.checklists import (
    COMPLETED,
    IN_PROGRESS,
    NOON,
    PERSON,
    SKIPPED,
    UP_NEXT,
    counted,
    define,
    known,
    minute,
    plain_step,
    publish,
    statuses,
    with_statuses,
)

ROLES, INTERESTS, SIGNALS = ["clerk", "driver", "owner"], ["maps", "routing"], ["a", "b", "c"]
NAMES = ["s0", "s1", "s2", "s3", "s4", "s5"]

some = st.sampled_from
subsets = {kind: st.lists(some(kind), unique=True) for kind in (tuple(ROLES), tuple(INTERESTS), tuple(SIGNALS))}
roles, interests = subsets[tuple(ROLES)], subsets[tuple(INTERESTS)]

atoms = st.builds("signals['{}'].count >= {}".format, some(SIGNALS), st.integers(1, 3))
growing = st.recursive(
    atoms, lambda inner: st.builds("({} {} {})".format, inner, some(["&&", "||"]), inner), max_leaves=3
)
"""Conditions that more signals never undo."""
others = some(
    [
        "signals['a'].count == 0",
        "signals['a'].count == 2 || 'owner' in roles",
        "size(interests) > 1",
        "attributes.plan == 'pro'",
        "signals['b'].count > 0 && !('driver' in roles)",
    ]
)
"""Conditions on other things, some of which cease to hold, or fail."""


@st.composite
def catalogs(draw: st.DrawFn) -> Published:
    """A catalog as it may be published: steps in any order, each requiring some of those before it."""
    steps: list[StepDefinition] = []
    for step_id in draw(st.lists(some(NAMES), unique=True, max_size=6)):
        condition = draw(st.none() | growing | others)
        members: dict[str, Any] = {
            "tracks": draw(some([["A"], ["B"], ["A", "B"]])),
            "roles": draw(roles),
            "interests": draw(interests),
            "requires": draw(st.lists(some([step.step_id for step in steps]), unique=True)) if steps else [],
            "scope": draw(some(list(Scope))),
            "skippable": draw(st.booleans()),
            "complete_when": UNSET if condition is None else condition,
        }
        members["tracks"] = [Track(track) for track in members["tracks"]]
        steps.append(define(step_id, draw(st.integers(-2, 2)), **members))
    return publish(steps, draw(st.integers(1, 3)))


proven = st.lists(growing, min_size=1, max_size=4).map(
    lambda conditions: publish(define(f"s{n}", complete_when=each) for n, each in enumerate(conditions))
)
"""Catalogs whose every step is for everyone, and done once signals say so."""

signals = st.lists(st.tuples(some(SIGNALS), st.integers(0, 60)), max_size=6)
shares = st.dictionaries(
    some(NAMES), st.integers(0, 60).map(lambda number: Evidence("signal", minute(number), shared=True))
)


@st.composite
def knowledges(draw: st.DrawFn, published: st.SearchStrategy[Published] | None = None) -> Knowledge:
    """A catalog, and anything that might be known of a user."""
    held, liked = draw(roles), draw(interests)
    return known(
        draw(catalogs() if published is None else published),
        track=draw(some(list(Track))),
        roles=held,
        interests=liked,
        facts=Facts(counted(draw(signals)), draw(some([{}, {"plan": "pro"}])), held, liked),
        shared=draw(shares),
    )


def later(knowledge: Knowledge, **changes: Any) -> Knowledge:
    """The same, an hour later, but for some changes."""
    if "roles" in changes or "interests" in changes:
        both = {"roles": knowledge.roles, "interests": knowledge.interests} | changes
        facts = changes.get("facts", knowledge.facts)
        changes["facts"] = msgspec.structs.replace(facts, roles=both["roles"], interests=both["interests"])
    return msgspec.structs.replace(knowledge, **({"now": knowledge.now + timedelta(hours=1)} | changes))


def but_for_the_look(checklist: GuidedChecklist, *moments: datetime) -> GuidedChecklist:
    """The checklist without the times at which it was looked at: `computedAt`, and times that no signal gives."""
    steps = [
        msgspec.structs.replace(step, completed_at=NOON) if step.completed_at in moments else step
        for step in steps_of(checklist)
    ]
    at = NOON if checklist.completed_at in moments else checklist.completed_at
    return msgspec.structs.replace(checklist, steps=steps, computed_at=NOON, completed_at=at)


some_statuses = st.dictionaries(some(NAMES), some(list(Status)))


@st.composite
def lives(draw: st.DrawFn) -> tuple[Outcome, Knowledge]:
    """A checklist that its user and an admin have moved steps in, with what was known when it was made."""
    knowledge = draw(knowledges())
    made = initialized(knowledge)
    return msgspec.structs.replace(made, checklist=with_statuses(made.checklist, draw(some_statuses))), knowledge


events = st.one_of(
    st.builds(lambda held: {"roles": held}, roles),
    st.builds(lambda published: {"published": published}, catalogs()),
    st.builds(lambda found, plan: {"facts": Facts(counted(found), plan)}, signals, some([{}, {"plan": "pro"}])),
    st.builds(lambda shared: {"shared": shared}, shares),
)
"""What may change between two refreshes: roles, the catalog, what happened, what others did for all."""


class TestTheStrategies:
    @given(catalogs())
    def test_a_catalog_they_make_could_be_published(self, published: Published) -> None:
        assert read(msgspec.json.encode(published.catalog), "catalog") == published.catalog


class TestInitialize:
    @given(knowledges())
    def test_it_makes_exactly_the_steps_that_the_rule_says(self, knowledge: Knowledge) -> None:
        expected = set()
        for step in knowledge.published.catalog.steps:
            for_the_role = step.roles == [] or any(role in knowledge.roles for role in step.roles)
            for_the_interest = step.interests == [] or any(one in knowledge.interests for one in step.interests)
            if knowledge.track in step.tracks and for_the_role and for_the_interest:
                expected.add(step.step_id)

        made = steps_of(initialized(knowledge).checklist)

        assert {step.step_id for step in made} == expected
        assert len(made) == len(expected)
        assert [step.sort_order for step in made] == sorted(step.sort_order for step in made)
        assert visible_steps(made, knowledge.roles) == made

    @given(knowledges())
    def test_it_is_idempotent(self, knowledge: Knowledge) -> None:
        again = later(knowledge)
        first, second = initialized(knowledge), initialized(again)

        assert but_for_the_look(second.checklist, again.now) == but_for_the_look(first.checklist, knowledge.now)

    @given(knowledges(), some_statuses)
    def test_keeping_progress_it_is_idempotent_and_loses_nothing_done(
        self, knowledge: Knowledge, wanted: Mapping[str, Status]
    ) -> None:
        made = initialized(knowledge)
        before = with_statuses(made.checklist, wanted)

        once = initialized(later(knowledge), before, made.progress)
        twice = initialized(later(later(knowledge)), once.checklist, once.progress)

        done = {step.step_id: step.status for step in steps_of(before) if step.status in {COMPLETED, SKIPPED}}
        kept = statuses(once.checklist)
        assert all(kept[step_id] in {status, COMPLETED} for step_id, status in done.items())
        assert steps_of(twice.checklist) == steps_of(once.checklist)
        assert twice.checklist.completed_at == once.checklist.completed_at
        assert twice.progress == once.progress

    @given(lives(), knowledges())
    def test_keeping_progress_it_loses_no_step_that_was_done_whatever_has_become_of_catalog_and_user(
        self, life: tuple[Outcome, Knowledge], now_known: Knowledge
    ) -> None:
        outcome, _ = life
        before = {step.step_id: step for step in steps_of(outcome.checklist)}
        in_catalog = {step.step_id for step in now_known.published.catalog.steps}

        made = initialized(now_known, outcome.checklist, outcome.progress)

        after = {step.step_id: step for step in steps_of(made.checklist)}
        for step_id, step in before.items():
            if step.status is COMPLETED:
                assert after[step_id].status is COMPLETED
                assert after[step_id].completed_at == step.completed_at
                assert made.progress.evidence.get(step_id) == outcome.progress.evidence.get(step_id)
            elif step.status is SKIPPED and step_id in in_catalog:
                assert after[step_id].status in {SKIPPED, COMPLETED}
        fresh = statuses(initialized(now_known).checklist).keys()
        done = {step_id for step_id, step in before.items() if step.status in {COMPLETED, SKIPPED}}
        assert fresh <= after.keys() <= fresh | done
        assert [step.sort_order for step in after.values()] == sorted(step.sort_order for step in after.values())

    @given(lives(), roles)
    def test_keeping_progress_a_role_given_back_brings_its_steps_back_as_they_were(
        self, life: tuple[Outcome, Knowledge], meanwhile: list[str]
    ) -> None:
        outcome, knowledge = life
        without = later(knowledge, roles=meanwhile)

        made = initialized(without, outcome.checklist, outcome.progress)
        back = refreshed(made.checklist, made.progress, later(without, roles=knowledge.roles))

        seen = {step.step_id: step for step in visible_steps(steps_of(back.checklist), knowledge.roles)}
        for step in steps_of(outcome.checklist):
            if step.status in {COMPLETED, SKIPPED}:
                assert seen[step.step_id].status in {step.status, COMPLETED}

    @given(knowledges())
    def test_a_refresh_right_after_it_changes_nothing(self, knowledge: Knowledge) -> None:
        made = initialized(knowledge)

        again = refreshed(made.checklist, made.progress, knowledge)

        assert (again.checklist, again.progress, again.proofs) == (made.checklist, made.progress, {})


class TestNothingIsLost:
    @given(lives(), st.lists(events, max_size=5))
    def test_what_is_completed_stays_so_with_its_time_and_evidence(
        self, life: tuple[Outcome, Knowledge], changes: Sequence[dict[str, Any]]
    ) -> None:
        outcome, knowledge = life
        for change in changes:
            knowledge = later(knowledge, **change)
            before, evidence = outcome.checklist, outcome.progress.evidence

            outcome = refreshed(before, outcome.progress, knowledge)

            after = {step.step_id: step for step in steps_of(outcome.checklist)}
            for step in steps_of(before):
                if step.status is COMPLETED:
                    assert after[step.step_id].status is COMPLETED
                    assert after[step.step_id].completed_by == step.completed_by
                    assert after[step.step_id].completed_at == step.completed_at
            assert evidence.keys() <= outcome.progress.evidence.keys()

    @given(lives(), catalogs(), roles)
    def test_a_step_goes_only_when_it_is_open_or_skipped_and_left_the_catalog(
        self, life: tuple[Outcome, Knowledge], published: Published, held: list[str]
    ) -> None:
        outcome, knowledge = life
        in_catalog = {step.step_id for step in published.catalog.steps}

        after = refreshed(outcome.checklist, outcome.progress, later(knowledge, published=published, roles=held))

        before = statuses(outcome.checklist)
        stay = {step_id for step_id, status in before.items() if step_id in in_catalog or status is COMPLETED}
        assert before.keys() & statuses(after.checklist).keys() == stay
        assert all(statuses(after.checklist)[step_id] in {before[step_id], COMPLETED} for step_id in stay)

    @given(lives(), catalogs(), roles)
    def test_a_checklist_that_a_client_wrote_keeps_every_step(
        self, life: tuple[Outcome, Knowledge], published: Published, held: list[str]
    ) -> None:
        outcome, knowledge = life

        after = refreshed(outcome.checklist, None, later(knowledge, published=published, roles=held))

        assert statuses(outcome.checklist).keys() <= statuses(after.checklist).keys()

    @given(lives(), st.lists(roles, max_size=4))
    def test_roles_taken_and_given_back_bring_back_every_step_with_its_progress(
        self, life: tuple[Outcome, Knowledge], meanwhile: Sequence[list[str]]
    ) -> None:
        outcome, knowledge = life
        held, before = knowledge.roles, visible_steps(steps_of(outcome.checklist), knowledge.roles)

        for changed in [*meanwhile, held]:
            knowledge = later(knowledge, roles=changed)
            outcome = refreshed(outcome.checklist, outcome.progress, knowledge)

        seen = {step.step_id: step for step in visible_steps(steps_of(outcome.checklist), held)}
        for step in before:
            assert seen[step.step_id].status in {step.status, COMPLETED}
            if step.status is COMPLETED:
                assert seen[step.step_id].completed_at == step.completed_at

    @given(lives(), roles)
    def test_a_role_brings_its_steps_and_takes_none(self, life: tuple[Outcome, Knowledge], gained: list[str]) -> None:
        outcome, knowledge = life
        held = sorted({*knowledge.roles, *gained})

        after = refreshed(outcome.checklist, outcome.progress, later(knowledge, roles=held))

        fresh = statuses(initialized(later(knowledge, roles=held)).checklist)
        seen = [step.step_id for step in visible_steps(steps_of(after.checklist), held)]
        assert set(seen) == fresh.keys()
        assert statuses(outcome.checklist).keys() <= fresh.keys()

    @given(lives(), events)
    def test_a_second_refresh_changes_nothing(self, life: tuple[Outcome, Knowledge], change: dict[str, Any]) -> None:
        outcome, knowledge = life
        knowledge = later(knowledge, **change)
        once = refreshed(outcome.checklist, outcome.progress, knowledge)

        twice = refreshed(once.checklist, once.progress, later(knowledge))

        assert twice.checklist == msgspec.structs.replace(once.checklist, computed_at=twice.checklist.computed_at)
        assert (twice.progress, twice.proofs) == (once.progress, {})


class TestVisibleSteps:
    @given(st.lists(st.none() | roles), roles)
    def test_they_are_those_without_source_roles_and_those_with_one_that_is_held(
        self, sources: list[list[str] | None], held: list[str]
    ) -> None:
        steps = [
            plain_step(f"s{n}", source_roles=UNSET if source is None else source) for n, source in enumerate(sources)
        ]

        seen = [step.step_id for step in visible_steps(steps, held)]

        expected = []
        for n, source in enumerate(sources):
            if not source or [role for role in source if role in held]:
                expected.append(f"s{n}")
        assert seen == expected


class TestSignals:
    @given(
        knowledges(proven),
        st.lists(st.tuples(some(SIGNALS), st.integers(0, 60)), min_size=2, max_size=6),
        st.data(),
    )
    def test_their_order_and_grouping_do_not_matter(
        self, knowledge: Knowledge, happened: list[tuple[str, int]], data: st.DataObject
    ) -> None:
        knowledge = later(knowledge, facts=Facts(), shared={})
        one_by_one = reported(knowledge, [[signal] for signal in happened])

        shuffled = data.draw(st.permutations(happened))
        cuts = sorted(data.draw(st.sets(st.integers(1, len(happened) - 1))))
        groups = [shuffled[start:end] for start, end in zip([0, *cuts], [*cuts, len(happened)], strict=True)]
        in_groups = reported(knowledge, groups)

        assert in_groups == one_by_one
        assert same_as_if_known_before(one_by_one, knowledge, happened)

    @given(lives(), signals)
    def test_a_step_that_no_arriving_signal_concerns_stays_as_it_is(
        self, life: tuple[Outcome, Knowledge], happened: list[tuple[str, int]]
    ) -> None:
        outcome, knowledge = life
        knowledge = later(knowledge, facts=Facts(counted(happened)))

        after = arrived(outcome.checklist, outcome.progress, knowledge, [])

        assert statuses(after.checklist) == statuses(outcome.checklist)
        assert (after.progress, after.checklist.computed_at) == (outcome.progress, outcome.checklist.computed_at)


def reported(knowledge: Knowledge, groups: Sequence[Sequence[tuple[str, int]]]) -> tuple[Any, ...]:
    """A checklist made before anything happened, after signals came in these groups: its steps, and the evidence."""
    outcome = initialized(knowledge)
    seen: list[tuple[str, int]] = []
    for group in groups:
        seen += group
        knowledge = later(knowledge, facts=Facts(counted(seen)))
        names = {name for name, _ in group}
        concerned = {step for step, condition in knowledge.published.conditions.items() if condition.signals & names}
        outcome = arrived(outcome.checklist, outcome.progress, knowledge, concerned)
    checklist = outcome.checklist
    return steps_of(checklist), checklist.completed_at is not UNSET, outcome.progress.evidence


def same_as_if_known_before(came: tuple[Any, ...], knowledge: Knowledge, happened: Sequence[tuple[str, int]]) -> bool:
    made = initialized(later(knowledge, facts=Facts(counted(happened))))
    checklist = made.checklist
    return came == (steps_of(checklist), checklist.completed_at is not UNSET, made.progress.evidence)


PLACES = ["", "north", "south"]

evidences = st.builds(
    lambda number, by: Evidence("signal", minute(number), by, ("a",)), st.integers(0, 3), some([str(PERSON), None])
)


@st.composite
def sharings(draw: st.DrawFn) -> Sharing:
    """What has been done for all, and what of it was taken back."""
    drawn = draw(st.dictionaries(some(PLACES), st.dictionaries(some(NAMES), st.none() | evidences)))
    return {
        place: {
            step_id: why and msgspec.structs.replace(why, shared=True, enterprise_id=place)
            for step_id, why in done.items()
        }
        for place, done in drawn.items()
    }


@st.composite
def records(draw: st.DrawFn) -> Record:
    """A checklist of an enterprise with steps that are open or done: alone, for all of a place, or nobody knows why."""
    steps, evidence = [], {}
    for step_id in draw(st.lists(some(NAMES), unique=True)):
        step = plain_step(step_id, status=draw(some(list(Status))))
        if step.status is COMPLETED:
            why, place = draw(evidences), draw(some([*PLACES, None, "unknown"]))
            step = msgspec.structs.replace(step, completed_at=why.at, completed_by=PERSON if why.by else UNSET)
            if place is not None:
                at = None if place == "unknown" else place
                why = msgspec.structs.replace(why, shared=True, enterprise_id=at)
            if draw(st.booleans()) or place is not None:
                evidence[step_id] = why
        steps.append(step)
    checklist = GuidedChecklist(
        track=Track.A, computed_at=NOON, steps=steps, completed_at=NOON if draw(st.booleans()) else UNSET
    )
    properties = UserProperties(user_id="ada", created_date=NOON, modified_date=NOON, guided_checklist=checklist)
    return Record(properties, 1, Progress("acme", 1, draw(some(PLACES)), evidence))


def steps_in(record: Record) -> dict[str, Step]:
    assert record.properties.guided_checklist is not UNSET
    return {step.step_id: step for step in steps_of(record.properties.guided_checklist)}


class TestDoneForAll:
    @given(records(), sharings())
    def test_every_step_is_shown_as_what_is_true_of_it_now(self, record: Record, sharing: Sharing) -> None:
        assert record.progress is not None
        shown = with_shared(record, sharing)

        for step_id, step in steps_in(record).items():
            now, copy = steps_in(shown)[step_id], record.progress.evidence.get(step_id)
            rows = [sharing[place][step_id] for place in PLACES if step_id in sharing.get(place, {})]
            told = {row.enterprise_id: row for row in rows if row is not None}
            here = [told[place] for place in (record.progress.enterprise_id, "") if place in told]
            if step.status is COMPLETED:
                place = copy.enterprise_id if copy is not None else None
                if place is None or step_id not in sharing.get(place, {}):
                    assert now == step
                    continue
                here = [told[place]] if place in told else here
            if here:
                assert (now.status, now.completed_at) == (COMPLETED, here[0].at)
                assert now.completed_by == (UNSET if here[0].by is None else PERSON)
            elif step.status is COMPLETED:
                assert (now.status, now.completed_at, now.completed_by) == (UP_NEXT, UNSET, UNSET)
            else:
                assert now == step

    @given(records(), sharings())
    def test_evidence_is_told_of_completed_steps_alone(self, record: Record, sharing: Sharing) -> None:
        shown = with_shared(record, sharing)

        assert shown.progress is not None
        done = {step_id for step_id, step in steps_in(shown).items() if step.status is COMPLETED}
        assert shown.progress.evidence.keys() <= done

    @given(records(), sharings())
    def test_once_it_is_stored_nothing_is_laid_over_it_any_more(self, record: Record, sharing: Sharing) -> None:
        stored = msgspec.structs.replace(with_shared(record, sharing), shared={})

        assert with_shared(stored, sharing) == stored

    @given(records(), sharings(), sharings())
    def test_what_is_shown_differently_has_another_mark_in_the_etag(
        self, record: Record, sharing: Sharing, other: Sharing
    ) -> None:
        shown, otherwise = with_shared(record, sharing), with_shared(record, other)

        assert (shown.shared == otherwise.shared) == (
            (shown.properties, shown.progress) == (otherwise.properties, otherwise.progress)
        )

    @given(knowledges(), records(), sharings())
    def test_a_refresh_completes_nothing_that_was_taken_back_unless_signals_say_so(
        self, knowledge: Knowledge, record: Record, sharing: Sharing
    ) -> None:
        shown = with_shared(record, sharing)
        assert shown.progress is not None
        assert shown.properties.guided_checklist is not UNSET
        done = done_for_all(sharing, shown.progress.enterprise_id)
        knowledge = msgspec.structs.replace(knowledge, shared=done, enterprise_id=shown.progress.enterprise_id)

        after = refreshed(shown.properties.guided_checklist, shown.progress, knowledge)

        taken_back = {step_id for step_id, why in shown.shared.items() if why is None}
        assert not [why for step_id, why in after.proofs.items() if step_id in taken_back and why.shared]

    @given(st.lists(evidences, min_size=1), st.data())
    def test_of_what_several_did_the_earliest_counts_in_whatever_order_it_comes(
        self, several: list[Evidence], data: st.DataObject
    ) -> None:
        known, *others = (msgspec.structs.replace(why, shared=True) for why in data.draw(st.permutations(several)))
        for why in others:
            known = why if known.gives_way_to(why) else known

        assert known.at == min(why.at for why in several)


TABLE = {
    UP_NEXT: {IN_PROGRESS, SKIPPED},
    IN_PROGRESS: {COMPLETED, SKIPPED},
    SKIPPED: {UP_NEXT, IN_PROGRESS},
    COMPLETED: set(),
}


class TestMoves:
    @given(st.lists(st.tuples(some(list(Status)), st.booleans()), max_size=12))
    def test_whatever_is_tried_the_step_goes_only_where_the_table_leads(
        self, attempts: list[tuple[Status, bool]]
    ) -> None:
        step = plain_step("x")
        for n, (wanted, is_admin) in enumerate(attempts):
            before = step
            may = TABLE[before.status] | ({UP_NEXT} if is_admin and before.status is COMPLETED else set())

            try:
                step = moved(before, Move(wanted, minute(n), PERSON, may_reset=is_admin), None, [before])
            except Problem:
                assert wanted not in may | {before.status}
                continue

            assert step.status is wanted
            if wanted is before.status:
                assert step is before
            else:
                assert wanted in may
                when = (minute(n), PERSON) if wanted is COMPLETED else (UNSET, UNSET)
                assert (step.completed_at, step.completed_by) == when

    @given(lives(), some(list(Status)), st.data())
    def test_nobody_starts_or_completes_a_visible_step_before_those_it_requires(
        self, life: tuple[Outcome, Knowledge], wanted: Status, data: st.DataObject
    ) -> None:
        outcome, knowledge = life
        visible = visible_steps(steps_of(outcome.checklist), knowledge.roles)
        if not visible:
            return
        step = data.draw(some(visible))
        definition = next(one for one in knowledge.published.catalog.steps if one.step_id == step.step_id)
        seen = {one.step_id: one.status for one in visible}
        in_the_way = [name for name in definition.requires if seen.get(name) in {UP_NEXT, IN_PROGRESS}]

        answer, detail = attempted(step, Move(wanted, NOON, PERSON, may_reset=True), definition, visible)

        if answer == "prerequisites_open":
            assert in_the_way
            assert all(name in detail for name in in_the_way)
        elif answer == "moved":
            assert wanted in {step.status, UP_NEXT, SKIPPED} or not in_the_way


def attempted(step: Step, move: Move, definition: StepDefinition, visible: Sequence[Step]) -> tuple[str, str]:
    """Whether the step moves, or the name and the sentence of the refusal."""
    try:
        moved(step, move, definition, visible)
    except Problem as problem:
        return problem.kind.name, problem.detail
    return "moved", ""


class TestCompletion:
    @given(
        st.lists(st.tuples(some(list(Status)), st.none() | roles), max_size=5), roles, st.none() | st.just(minute(3))
    )
    def test_it_is_told_exactly_while_every_visible_step_is_done(
        self, made: list[tuple[Status, list[str] | None]], held: list[str], already: datetime | None
    ) -> None:
        steps: list[Step] = [
            plain_step(f"s{n}", status=status, source_roles=UNSET if source is None else source)
            for n, (status, source) in enumerate(made)
        ]
        at = UNSET if already is None else already
        checklist = GuidedChecklist(track=Track.A, computed_at=NOON, steps=steps, completed_at=at)

        told = completion_told(checklist, held, NOON)

        seen = [status for status, source in made if not source or set(source) & set(held)]
        complete = len(seen) > 0 and UP_NEXT not in seen and IN_PROGRESS not in seen
        assert told.completed_at == ((already or NOON) if complete else UNSET)
        assert steps_of(told) == steps

    @given(lives(), st.lists(signals, max_size=4))
    def test_signals_only_ever_bring_it_nearer(
        self, life: tuple[Outcome, Knowledge], batches: list[list[tuple[str, int]]]
    ) -> None:
        outcome, knowledge = life
        seen: list[tuple[str, int]] = []
        for batch in batches:
            seen += batch
            before = completion_told(outcome.checklist, knowledge.roles, NOON)
            knowledge = later(knowledge, facts=Facts(counted(seen)))

            outcome = arrived(outcome.checklist, outcome.progress, knowledge, knowledge.published.conditions.keys())

            after = statuses(outcome.checklist)
            assert all(after[name] in {status, COMPLETED} for name, status in statuses(before).items())
            assert before.completed_at is UNSET or outcome.checklist.completed_at is not UNSET

"""Conditions: what they mean, what they refuse and how that is told, and that nothing else ever comes out of them."""

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from threading import Thread
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from milepost.domain.conditions import (
    MAX_LENGTH,
    Condition,
    ConditionError,
    ConditionFailure,
    Facts,
    SignalCount,
    SignalSeen,
    compile_condition,
    which_signal_satisfied,
)
from milepost.domain.json_text import parse

MAY = datetime(2026, 5, 1, 12, tzinfo=UTC)
JUNE = datetime(2026, 6, 1, 12, tzinfo=UTC)


def known(
    signals: Mapping[str, int | SignalCount] | None = None,
    attributes: str = "{}",
    roles: Sequence[str] = (),
    interests: Sequence[str] = (),
) -> Facts:
    """Facts, with counts for signals and JSON for attributes."""
    counts = {
        name: signal if isinstance(signal, SignalCount) else SignalCount(signal, MAY, JUNE)
        for name, signal in (signals or {}).items()
    }
    return Facts(counts, parse(attributes.encode()), roles, interests)


def refusal(text: str) -> ConditionError:
    with pytest.raises(ConditionError) as caught:
        compile_condition(text)
    return caught.value


def failure(text: str, facts: Facts | None = None) -> str:
    with pytest.raises(ConditionFailure) as caught:
        compile_condition(text).evaluate(facts or known())
    return caught.value.reason


class TestMeaning:
    @pytest.mark.parametrize(
        ("condition", "facts", "met"),
        [
            # Signals: how often, and since when.
            ("signals['wallet.created'].count > 0", known({"wallet.created": 1}), True),
            ("signals['wallet.created'].count > 0", known({"wallet.created": 0}), False),
            ("signals['wallet.created'].count > 0", known({"order.placed": 5}), False),
            ('signals["order.placed"].count >= 3', known({"order.placed": 3}), True),
            ("signals.signup.count == 1", known({"signup": 1}), True),
            ("signals['never'].count == 0", known(), True),
            ("signals['never'].last == null", known(), True),
            ("signals.login.last > timestamp('2026-05-31T00:00:00Z')", known({"login": 2}), True),
            ("signals.login.first > timestamp('2026-05-31T00:00:00Z')", known({"login": 2}), False),
            ("signals.login.last - signals.login.first >= duration('720h')", known({"login": 2}), True),
            ("signals.login.count > 0 && signals.login.last.getFullYear() == 2026", known({"login": 2}), True),
            ("signals.login.count > 0 && signals.login.last.getFullYear() == 2026", known(), False),
            ("signals['a'].count + signals['b'].count >= 3", known({"a": 1, "b": 2}), True),
            # Roles and interests.
            ("'owner' in roles", known(roles=["owner", "finance"]), True),
            ("'owner' in roles", known(roles=["finance"]), False),
            ("roles.exists(role, role.startsWith('fleet-'))", known(roles=["fleet-manager"]), True),
            ("roles.all(role, role in ['owner', 'finance'])", known(roles=["owner", "dispatcher"]), False),
            ("size(roles.filter(role, role != 'guest')) >= 2", known(roles=["guest", "owner", "finance"]), True),
            ("(roles + interests).exists(each, each == 'billing')", known(interests=["billing"]), True),
            ("interests == []", known(), True),
            # Attributes, as JSON has them.
            ("attributes.plan == 'pro'", known(attributes='{"plan": "pro"}'), True),
            ("has(attributes.plan) && attributes.plan == 'pro'", known(), False),
            ("attributes['seat count'] > 10", known(attributes='{"seat count": 10.5}'), True),
            ("attributes.seats == 12", known(attributes='{"seats": 12.0}'), True),
            ("attributes.balance > 1000000", known(attributes='{"balance": 123456789012345678901234567890}'), True),
            ("attributes.rate < 1.0", known(attributes='{"rate": 1E-400}'), True),
            ("attributes.rate > 1.0", known(attributes='{"rate": 1E+400}'), True),
            ("attributes.address.country in ['SE', 'FI']", known(attributes='{"address": {"country": "FI"}}'), True),
            ("attributes.tags.exists(tag, tag == 'vip')", known(attributes='{"tags": ["new", "vip"]}'), True),
            ("attributes.exists(name, name == 'plan')", known(attributes='{"plan": null}'), True),
            ("attributes[roles[0]] == 1", known(attributes='{"owner": 1}', roles=["owner"]), True),
            ("attributes.mail.matches('^[^@]+@example[.]com$')", known(attributes='{"mail": "a@example.com"}'), True),
            # An answer that is certain is given, whatever else fails (CEL, logical operators).
            ("attributes.nothing == 1 || true", known(), True),
            ("1 / 0 == 1 && false", known(), False),
            ("true // whoever is shown the step has done it", known(), True),
        ],
    )
    def test_a_condition_is_met_or_not(self, condition: str, facts: Facts, met: bool) -> None:  # noqa: FBT001
        assert compile_condition(condition).evaluate(facts) is met

    @pytest.mark.parametrize(
        ("text", "names"),
        [
            ("signals['wallet.created'].count > 0", {"wallet.created"}),
            ('signals["a"].count > 0 || signals.b.last != null', {"a", "b"}),
            (r"signals['\u0061'].count + signals[r'\d'].count + signals['''c'''].count > 0", {"a", r"\d", "c"}),
            ("signals . a\n . count > 0 // signals.b.count", {"a"}),
            ("'signals.a.count' == attributes.signals", set()),
            ("true", set()),
        ],
    )
    def test_it_tells_the_signals_that_its_answer_can_depend_on(self, text: str, names: set[str]) -> None:
        assert compile_condition(text).signals == names

    @pytest.mark.parametrize(
        ("text", "is_all"),
        [
            ("signals['a'].count > 0", True),
            ('signals["a.b"].count>=1', True),
            ("signals['a'].count > 0 &&\n  signals['b'].count >= 1\n", True),
            ("signals['a'].count > 1", False),
            ("signals['a'].count >= 10", False),
            ("signals['a'].count > 0 || signals['b'].count > 0", False),
            ("!(signals['a'].count > 0)", False),
            ("signals['a'].count > 0 && 'x' in roles", False),
            ("signals['a'].count > 0 && signals['b'].count < 1", False),
        ],
    )
    def test_it_tells_whether_it_asks_for_signals_that_were_seen_and_for_nothing_else(
        self, text: str, *, is_all: bool
    ) -> None:
        assert compile_condition(text).asks_whether_seen is is_all

    def test_it_can_be_asked_in_any_thread(self) -> None:
        condition = compile_condition("'owner' in roles")
        answers: list[bool] = []
        thread = Thread(target=lambda: answers.append(condition.evaluate(known(roles=["owner"]))))
        thread.start()
        thread.join()

        assert answers == [True]


class TestWhichSignalSatisfied:
    def test_evidence_is_every_named_signal_that_was_seen_and_when_last(self) -> None:
        condition = compile_condition("signals.b.count > 0 && (signals.a.count > 0 || signals.c.count > 0)")
        facts = known({"a": 2, "b": SignalCount(1, MAY, MAY), "c": 0, "d": 3})

        assert which_signal_satisfied(condition, facts) == [SignalSeen("a", JUNE), SignalSeen("b", MAY)]

    def test_a_condition_without_signals_has_no_evidence_of_them(self) -> None:
        assert which_signal_satisfied(compile_condition("'owner' in roles"), known({"a": 1}, roles=["owner"])) == []


class TestRefused:
    @pytest.mark.parametrize(
        ("text", "place", "says"),
        [
            # What is not written as CEL is.
            ("", (1, 1), "it is empty; write an expression such as"),
            (" \n ", (1, 1), "it is empty"),
            ("signals['a'].count >", (1, 21), "it ends too early"),
            ("roles.exists(r, r == 'a'", (1, 25), "it ends too early"),
            ("'owner' in roles)", (1, 17), ") does not fit here"),
            ("attributes.plan = 'pro'", (1, 17), "= is not known here; write =="),
            ("attributes.seats => 3", (1, 18), "=> is not known here; write >="),
            ("true & false", (1, 6), "& is not known here; write &&"),
            ("true and false", (1, 6), "and is not known here; write &&"),
            ("true or false", (1, 6), "or is not known here; write ||"),
            ("not true", (1, 5), "not is not known here; write !"),
            ("'owner in roles", (1, 1), "a text in quotes is not closed"),
            ("'å' == \n 'ä' ö", (2, 6), "ö does not fit here"),
            ("true\n&& roles ? 1", (2, 13), "it ends too early"),
            ("9223372036854775808 > 0", (1, 1), "9223372036854775808 does not fit here"),
            ("\ud800", (1, 1), "does not fit here"),
            # What there is not.
            ("'owner' in rolez", (1, 12), "there is no variable rolez; did you mean roles?"),
            ("user == 'me'", (1, 1), "there is no variable user; known here: signals, attributes, roles, interests"),
            ("roles.exists(r, true) && r == 'a'", (1, 26), "there is no variable r"),
            (".roles == []", (1, 1), "begin no name with a dot"),
            ("roles.exits(r, r == 'a')", (1, 7), "there is no function exits; did you mean exists?"),
            ("now() > timestamp('2026-01-01T00:00:00Z')", (1, 1), "there is no function now; known here: "),
            ("roles.contains('owner')", (1, 7), "for a list write 'name' in roles"),
            ("Role{name: 'a'} == 1", (1, 1), "Role{...} makes a message"),
            ("roles.exists('a')", (1, 7), "exists needs a name and an expression, such as roles.exists(each, "),
            ("roles.all(r, true, true, true)", (1, 1), "give each macro a name and one expression"),
            ("roles.all(signals, signals == 'a')", (1, 11), "signals already has a meaning"),
            # Signals that nobody could know the condition asks about.
            (
                "signals[roles[0]].count > 0",
                (1, 1),
                "name the signal as a text, such as signals['wallet.created'].count",
            ),
            ("'a' in signals", (1, 8), "name the signal as a text"),
            ("signals.exists(name, true)", (1, 1), "name the signal as a text"),
            ("roles.exists(r, signals['a' + r].count > 0)", (1, 17), "name the signal as a text"),
            ("signals[''].count > 0", (1, 1), "name the signal as a text"),
            ("signals[b'a'].count > 0", (1, 1), "name the signal as a text"),
            ("signals.wallet.created.count > 0", (1, 1), "write signals['wallet.created'].count"),
            ("signals.user.first.login.last > 0", (1, 1), "write signals['user.first.login'].last"),
            ("signals['a'] > 0", (1, 1), "of a signal there are count, first, last; write signals['a'].count"),
            ("has(signals.a)", (1, 5), "write signals['a'].count"),
            # What could take too long.
            (f"'{'a' * MAX_LENGTH}' == ''", (1, 1), "it has 1,008 characters; at most 1,000 are allowed"),
            ("(" * 21 + "true" + ")" * 21, (1, 21), "more than 20 brackets lie in each other"),
            (
                "roles.exists(r, interests.exists(i, i == r))",
                (1, 27),
                "macros (all, exists, filter, map) cannot run within",
            ),
            ("roles.filter(r, true).exists(r, true)", (1, 23), "or over each other"),
            ("[roles.map(r, r)].exists(r, true)", (1, 19), "or over each other"),
            ("attributes.name.matches(attributes.pattern)", (1, 25), "matches needs its pattern as a text in quotes"),
            ("'a'.matches('a{1000}')", (1, 13), "the pattern may not use {...}"),
            (r"'a'.matches('\\w+')", (1, 13), "the pattern may not use"),
            (f"'a'.matches('{'a' * 101}')", (1, 13), "the pattern has 101 characters; at most 100"),
            ("'a'.matches('[')", (1, 13), "'[' is no valid pattern"),
            ("roles.exists(r, r.matches('a'))", (1, 19), "exists cannot use matches; use startsWith"),
        ],
    )
    def test_a_condition_that_cannot_be_used_says_where_and_what_to_do(
        self, text: str, place: tuple[int, int], says: str
    ) -> None:
        error = refusal(text)

        assert says in error.detail
        assert (error.line, error.column) == place
        assert len(error.detail) < 300


class TestFailures:
    @pytest.mark.parametrize(
        ("condition", "reason"),
        [
            ("attributes.plan == 'pro'", "there is no member plan; test for it first, as in has("),
            ("attributes[roles[0]] == 1", "a member that is looked up does not exist"),
            ("roles[7] == 'owner'", "an index lies outside of its list"),
            ("signals.a.count / 0 > 1", "a number is divided by zero"),
            ("9223372036854775807 + signals.b.count > 0", "a number or time becomes too large or too small"),
            (
                "signals['never'].last > timestamp('2026-01-01T00:00:00Z')",
                "of a signal that was never seen first and last",
            ),
            ("roles > 1", "an operation does not take values of these types"),
            ("timestamp(roles[0]) > timestamp('2026-01-01T00:00:00Z')", "a function does not take the value"),
            ("size(roles)", "the result is a number, and must be true or false"),
            ("roles", "the result is a list, and must be true or false"),
            ("signals.a.last", "the result is a time, and must be true or false"),
            ("null", "the result is null, and must be true or false"),
            ("1u", "the result is a number"),
        ],
    )
    def test_a_condition_that_gives_no_answer_says_why(self, condition: str, reason: str) -> None:
        assert reason in failure(condition, known({"a": 1, "b": 1}, roles=["private@example.com"]))

    @pytest.mark.parametrize(
        "condition",
        ["attributes[roles[0]] == 1", "timestamp(roles[0]) == null", "roles[0] + 1 == 2", "roles[0]", "-roles[0] == 1"],
    )
    def test_the_reason_repeats_nothing_of_the_facts(self, condition: str) -> None:
        assert "private" not in failure(condition, known(roles=["private@example.com"]))

    def test_what_is_no_json_is_told(self) -> None:
        assert (
            failure("attributes.a == 1", Facts(attributes={"a": object()}))
            == "attributes have a value that is not JSON"
        )
        assert failure("attributes.a == 1", Facts(attributes={"a": Decimal("sNaN")}))

    def test_facts_of_any_depth_do_not_end_the_process(self) -> None:
        deep: Any = {}
        for _ in range(100_000):
            deep = {"a": deep}

        assert "more than 50 deep" in failure("attributes.a == 1", Facts(attributes=deep))
        while deep:
            deep = deep.pop("a")

    def test_attributes_that_it_does_not_name_cost_nothing(self) -> None:
        facts = Facts(attributes={"plan": "pro", "large": list(range(100_000)), "odd": object()})

        assert compile_condition("attributes.plan == 'pro'").evaluate(facts)

    def test_a_time_of_a_signal_may_be_in_any_zone(self) -> None:
        moment = datetime(2026, 5, 1, 1, tzinfo=ZoneInfo("Europe/Stockholm"))
        beyond = datetime.min.replace(tzinfo=ZoneInfo("Asia/Tokyo"))

        assert compile_condition("signals.a.first.getMonth() == 3").evaluate(known({"a": SignalCount(1, moment)}))
        assert "years 1 to 9999" in failure("signals.a.count > 0", known({"a": SignalCount(1, beyond)}))

    def test_a_panic_of_the_library_is_a_failure_and_an_interrupt_is_not(self, monkeypatch: pytest.MonkeyPatch) -> None:
        condition = compile_condition("true")

        class PanicException(BaseException):
            pass

        for raised, expected in ((PanicException, ConditionFailure), (KeyboardInterrupt, KeyboardInterrupt)):
            monkeypatch.setattr(condition, "_program", Raising(raised))
            with pytest.raises(expected):
                condition.evaluate(known())


class Raising:
    def __init__(self, raised: type[BaseException]) -> None:
        self._raised = raised

    def execute(self, _facts: object) -> bool:
        raise self._raised


MANY = [f"role-number-{number:04}" for number in range(500)]


def repeated(part: str, between: str, around: str = "{}") -> str:
    """As much of a part as a condition has room for."""
    room = MAX_LENGTH - len(around) + 2
    return around.format(between.join([part] * (room // (len(part) + len(between)))))


class TestCost:
    @pytest.mark.parametrize(
        "text",
        [
            repeated("roles", "+", "{} == []"),
            repeated("x in roles", " && ", "roles.all(x, {})"),
            repeated("roles", ",", "roles.all(x, [{}] == [])"),
            repeated("roles", "+", "roles.all(x, {} != [])"),
            repeated("roles", "+", "({}).all(x, x in roles)"),
            repeated("roles", ",", "roles.map(x, [{}]) == []"),
            repeated("roles.filter(x, true) == []", " || "),
            repeated("roles.map(x, roles) == []", " || "),
            repeated("1", ",", "[{}].map(x, roles) == []"),
            repeated("1", ",", "[{}].map(x, [roles, roles, roles]) == []"),
            "roles.map(x, roles)",
        ],
    )
    @pytest.mark.parametrize("number", [10, 30, 100, 500])
    def test_the_worst_condition_is_answered_or_refused_soon(self, text: str, number: int) -> None:
        condition = compile_condition(text)
        started = time.perf_counter()
        try:
            condition.evaluate(known(roles=MANY[:number], interests=MANY[:number]))
        except ConditionFailure as caught:
            assert caught.reason  # noqa: PT017

        assert time.perf_counter() - started < 3

    @pytest.mark.parametrize(
        "text",
        [
            "'role-number-0499' in roles",
            "roles.exists(r, r == 'role-number-0499')",
            "roles.exists(r, r in interests)",
            "size(roles.filter(r, r.endsWith('9'))) == 50",
        ],
    )
    def test_a_plain_one_is_answered_for_as_many_roles_as_a_user_can_hold(self, text: str) -> None:
        assert compile_condition(text).evaluate(known(roles=MANY, interests=MANY[-10:]))


NUMBERS = (
    st.integers()
    | st.integers(-(10**400), 10**400)
    | st.floats()
    | st.decimals(allow_nan=False, allow_infinity=False)
    | st.builds(lambda digits, power: Decimal(digits).scaleb(power), st.integers(-9, 9), st.integers(-9999, 9999))
)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3) | st.just("a"), inner, max_size=4),
    max_leaves=10,
)
COUNTS = st.builds(
    SignalCount,
    st.integers(0, 2**70),
    st.none() | st.datetimes(datetime(1, 1, 3), datetime(9999, 12, 29), timezones=st.timezones()),  # noqa: DTZ001
    st.none() | st.datetimes(),
)
FACTS = st.builds(
    Facts,
    st.dictionaries(st.sampled_from(["a", "b"]), COUNTS),
    st.dictionaries(st.sampled_from(["a", "b"]), JSON),
    st.lists(st.text(max_size=3), max_size=3),
    st.lists(st.text(max_size=3), max_size=3),
)

PARTS = (  # noqa: SIM905
    "signals attributes roles interests signals.a.count signals['b'].last attributes.a attributes['b'] .x ['a'] [0] "
    "[ ] ( ) { } , : ? + - * / % == != < > <= >= in && || ! true false null 0 1 1u 1.5 0x1f 1e400 'a' "
    "\"b\" b'c' r'\\d' "
    ".all(x, .exists(x, .map(x, .filter(x, .exists_one(x, x size( int( double( string( uint( bytes( timestamp( type( "
    "duration( dyn( has( .matches( .contains( .startsWith( .getHours() '2026-01-01T00:00:00Z' '1h' 9223372036854775807 "
    "-9223372036854775808 . // \n \\ '\\u00e9' ''' ` @ é \t \0 \ud800 .?a optional.none() Foo{a:1} int list and not"
).split(" ")
TEXTS = (
    st.text()
    | st.builds("".join, st.lists(st.sampled_from(PARTS)))
    | st.builds(" ".join, st.lists(st.sampled_from(PARTS)))
)
TAKING_ANYTHING = [
    "attributes.a == attributes.b",
    "attributes.a < attributes.b",
    "attributes.a + attributes.b == attributes.a",
    "attributes.a - 1 < 0 || attributes.a % 2 == 0 || -attributes.a > 0",
    "attributes.a in attributes.b",
    "attributes.a[attributes.b] == null",
    "attributes.exists(k, attributes[k] == attributes.a)",
    "attributes.a.all(x, x == x) && size(attributes.b) > 0",
    "int(attributes.a) > 0 || uint(attributes.a) > 0u || double(attributes.a) > 0.0 || string(attributes.a) == ''",
    "timestamp(attributes.a) > timestamp('2026-01-01T00:00:00Z') || duration(attributes.a) > duration('1h')",
    "timestamp('9999-12-31T23:59:59Z') + duration(attributes.a) > signals.a.first",
    "signals.a.last - signals.b.first > duration('1h') || signals.a.count + signals.b.count > 0",
    "signals.a.first + (signals.a.last - signals.b.first) > signals.b.last",
    "signals.a.first.getFullYear() > 2000 || signals.a.last.getHours() > 0",
    "attributes.a ? attributes.b : true",
    "attributes.a",
    "roles[0] == interests[0] && roles[0] in attributes",
    "type(attributes.a) == type(attributes.b)",
    "attributes.a.contains(attributes.b) || attributes.a.startsWith('a') || attributes.b.matches('a')",
]


def ask(condition: Condition, facts: Facts) -> bool | str:
    """An answer or the reason of a ConditionFailure; anything else raised fails the test."""
    try:
        answer = condition.evaluate(facts)
    except ConditionFailure as caught:
        assert caught.reason  # noqa: PT017
        return caught.reason
    assert answer in {True, False}
    return answer


class TestNothingElse:
    @settings(max_examples=500)
    @given(TEXTS, FACTS)
    @example("has(.", Facts())
    @example("\\" * 1000, Facts())
    @example("'" * 999, Facts())
    @example("!" * 999 + "1", Facts())
    @example("?." * 500, Facts())
    def test_any_text_is_a_condition_or_refused(self, text: str, facts: Facts) -> None:
        try:
            condition = compile_condition(text)
        except ConditionError as error:
            assert 1 <= error.line <= text.count("\n") + 1  # noqa: PT017
            assert error.column >= 1  # noqa: PT017
        else:
            ask(condition, facts)

    @settings(max_examples=500)
    @given(st.sampled_from(TAKING_ANYTHING), FACTS)
    def test_any_facts_give_an_answer_or_a_failure(self, text: str, facts: Facts) -> None:
        ask(compile_condition(text), facts)

    @given(FACTS)
    def test_a_signal_and_a_role_can_be_asked_about_whatever_else_is_known(self, facts: Facts) -> None:
        met = facts.signals.get("a", SignalCount()).count > 0 or "a" in facts.roles

        assert compile_condition("signals.a.count > 0 || 'a' in roles").evaluate(facts) is met

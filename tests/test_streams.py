"""One stream, by itself: the id of each event, and what waits for a client that does not read."""

from datetime import UTC, datetime
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from milepost.access.policy import Caller
from milepost.journal.queries import Event, Mark, Position
from milepost.live.matters import EVERYWHERE, concerned, doubted, told
from milepost.live.streams import MOST_RUNNING, MOST_WAITING, Message, Step, Stream, Watch, from_text, to_text


def happened(kind: str = "properties.put", user_id: str = "jane", org_id: str = "acme", **data: object) -> Event:
    return Event("e", 1, "user:test", kind, user_id, org_id, data)


def stream() -> Stream:
    return Stream(Watch("jane", "acme", Caller(user_id="jane"), None, None))


class Server:
    """Transactions that begin in the order of their numbers and end in any, with what a reader sees meanwhile."""

    def __init__(self) -> None:
        self.next_number = 1
        self.running: dict[int, int] = {}
        self.visible: list[Position] = []

    def begin(self, events: int) -> None:
        self.running[self.next_number] = events
        self.next_number += 1

    def commit(self, which: int) -> None:
        if self.running:
            number = sorted(self.running)[which % len(self.running)]
            self.visible += [Position(number, f"{n:x}") for n in range(self.running.pop(number))]

    def mark(self) -> Mark:
        return Mark(self.next_number, "", tuple(sorted(self.running)))

    def read(self, before: Mark) -> tuple[list[Position], Step]:
        """What a look finds, as the journal's query does it."""
        new = sorted(position for position in self.visible if not before.covers(position))
        return new, Step(before, self.mark())


moves = st.lists(
    st.one_of(
        st.tuples(st.just("begin"), st.integers(0, 3)),
        st.tuples(st.just("commit"), st.integers(0, 5)),
        st.tuples(st.just("look"), st.just(0)),
        st.tuples(st.just("go"), st.integers(0, 5)),
    ),
    max_size=60,
)


@given(moves)
def test_a_client_that_goes_at_any_event_and_comes_back_hears_of_each_once(moves: list[tuple[str, int]]) -> None:
    server, heard = Server(), []
    mark = server.mark()

    def look(most: int | None = None) -> None:
        """Take in what is new, all of it or as much as arrives before the client goes."""
        nonlocal mark
        new, step = server.read(mark)
        for position, following in list(pairwise((*new, None)))[:most]:
            assert position is not None
            heard.append(position)
            mark = came_back(step.mark_at(position, following))
        if most is None or not new:
            mark = came_back(step.after)

    for name, number in moves:
        match name:
            case "begin":
                server.begin(number)
            case "commit":
                server.commit(number)
            case "look":
                look()
            case "go":
                look(number)
    while server.running:
        server.commit(0)
    look()

    assert sorted(heard) == sorted(server.visible)


def came_back(mark: Mark) -> Mark:
    """The mark as a client brings it back."""
    back = from_text(to_text(mark))
    assert back == mark
    return mark


class TestTheId:
    def test_goes_back_where_too_many_transactions_run(self) -> None:
        running = tuple(range(50, 50 + MOST_RUNNING + 1))

        assert from_text(to_text(Mark(1000, "", running))) == Mark(50)

    @given(st.text())
    def test_of_anything_else_is_none(self, text: str) -> None:
        mark = from_text(text)

        assert mark is None or from_text(to_text(mark)) == mark


class TestWhatWaits:
    def test_is_bounded_and_becomes_many(self) -> None:
        waiting, step = stream(), Step(Mark(1), Mark(20_000))
        for number in range(1, 10_000):
            one = waiting.wants(Position(number, "e"), happened(), step)
            assert one is not None
            waiting.tell(one)
            assert waiting.backlog <= MOST_WAITING

        (message,) = waiting.take(step.after)

        assert (message.id, message.event) == ("20000", "changed")
        assert message.data == {"type": "many", "at": datetime(1970, 1, 1, 0, 0, 0, 1, UTC)}
        assert waiting.take(step.after) == []

    def test_is_told_in_order_after_what_was_missed(self) -> None:
        waiting = stream()
        earlier, later = Step(Mark(1), Mark(5)), Step(Mark(5), Mark(9))
        wanted = [waiting.wants(Position(n, "e"), happened(f"n.{n}"), earlier if n < 5 else later) for n in (3, 4, 7)]
        missed, live = [one for one in wanted if one is not None][:2], wanted[2]
        assert live is not None
        waiting.tell(live)

        waiting.tell_first(missed)

        assert [kind(one) for one in waiting.take(Mark(9))] == ["n.3", "n.4", "n.7"]


def kind(message: Message) -> object:
    return None if message.data is None else message.data["type"]


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (happened("properties.put", version=7), ("changed", "properties.put", 7)),
        (happened("properties.put", org_id="", version=7), ("changed", "properties.put", 7)),
        (happened("properties.put", org_id="other", version=7), None),
        (happened("properties.put", user_id="john", version=7), None),
        (happened("step.moved", user_id="john", version=7, shared=["billing"]), ("changed", "steps.shared", None)),
        (happened("step.moved", user_id="john", org_id="other", shared=["billing"]), None),
        (happened("role.deleted", user_id="", role="buyer"), ("changed", "role.deleted", None)),
        (happened("role.deleted", user_id="", org_id="other"), None),
        (happened("role.put", user_id=""), None),
        (happened("catalog.published", user_id="", version=2), ("catalog", "catalog.published", None)),
        (happened("catalog.published", user_id="", org_id="", version=2), ("catalog", "catalog.published", None)),
        (happened("catalog.published", user_id="", org_id="other", version=2), None),
        (happened("signals.reported", user_id="", signals={"paired": 2}), None),
        (happened("service_key.revoked", user_id="", org_id=""), None),
    ],
)
def test_what_an_event_tells(event: Event, expected: tuple[str, str, int | None] | None) -> None:
    what = told(event, "jane", "acme")

    assert (None if what is None else (what.event, what.type, what.version)) == expected
    found = set(concerned(event)) & {("user", "jane"), ("organization", "acme"), EVERYWHERE}
    assert found or what is None, "the stream would not be found"


@pytest.mark.parametrize(
    ("event", "keys"),
    [
        (happened("member.put"), [("caller", "user:jane")]),
        (happened("member.deleted"), [("caller", "user:jane")]),
        (happened("role.put", user_id=""), [("organization", "acme")]),
        (happened("organization.deleted", user_id=""), [("organization", "acme")]),
        (happened("service_key.revoked", user_id="", org_id="", keyId="k1"), [("caller", "key:k1")]),
        (happened("properties.put"), []),
    ],
)
def test_whose_right_is_asked_again(event: Event, keys: list[tuple[str, str]]) -> None:
    assert list(doubted(event)) == keys

"""ETags and preconditions as pure functions (RFC 9110, sections 8.8.3 and 13)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from milepost.domain import preconditions
from milepost.domain.preconditions import parse
from milepost.problems import Problem

tags = st.text(st.characters(min_codepoint=0x23, max_codepoint=0x7E), max_size=8)


@given(st.lists(st.tuples(st.booleans(), tags), min_size=1, max_size=5), st.sampled_from([",", ", ", " ,\t"]))
def test_a_list_of_tags_is_read_as_it_was_written(listed: list[tuple[bool, str]], separator: str) -> None:
    header = separator.join(f'{"W/" if weak else ""}"{tag}"' for weak, tag in listed)

    read = parse(header, None).if_match

    assert read is not None
    assert read.strong == {tag for weak, tag in listed if not weak}
    assert read.weak == {tag for weak, tag in listed if weak}


@pytest.mark.parametrize("header", ["", "a", '"a', 'w/"a"', '"a" "b"', '"a",,"b"', '*, "a"', "'a'", '"a"x'])
def test_what_is_no_list_of_tags_is_refused(header: str) -> None:
    with pytest.raises(Problem, match="entity tags"):
        parse(None, header)


@given(st.integers(1, 2**60), st.lists(st.text(max_size=4), max_size=3), st.lists(st.text(max_size=4), max_size=3))
def test_the_tag_changes_with_the_roles(version: int, some: list[str], other: list[str]) -> None:
    same = preconditions.opaque_tag(version, some) == preconditions.opaque_tag(version, other)

    assert same == (some == other)


def test_a_write_is_measured_by_the_version_alone() -> None:
    read_with_other_roles = f'"{preconditions.opaque_tag(7, ["owner"])}"'

    preconditions.require(parse(read_with_other_roles, None), current=7, own=7)


@pytest.mark.parametrize(
    ("if_match", "if_none_match", "current", "own", "holds"),
    [
        (None, None, None, None, True),
        ("*", None, 5, 5, True),
        ("*", None, None, None, False),
        ('"5"', None, 5, 5, True),
        ('"4", "5"', None, 5, 5, True),
        ('"4"', None, 5, 5, False),
        ('W/"5"', None, 5, 5, False),
        ('"5"', None, 5, None, True),
        (None, "*", None, None, True),
        (None, "*", 5, 5, False),
        (None, "*", 5, None, True),
        (None, '"5"', 5, 5, False),
        (None, '"4"', 5, 5, True),
    ],
)
def test_a_write_goes_through_only_when_its_conditions_hold(
    if_match: str | None, if_none_match: str | None, current: int | None, own: int | None, *, holds: bool
) -> None:
    conditions = parse(if_match, if_none_match)

    if holds:
        preconditions.require(conditions, current=current, own=own)
    else:
        with pytest.raises(Problem) as refused:
            preconditions.require(conditions, current=current, own=own)
        assert refused.value.kind.name == "precondition_failed"

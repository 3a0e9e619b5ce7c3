"""What an id or a name may be, wherever it stands."""

import re

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from milepost.domain.contract import Identifier
from milepost.domain.directory import Name
from tests.arrange import BASE, World, fresh, refused
from tests.conftest import Service

CONTROL = re.compile("[\\x00-\\x1f\\x7f]")


def is_accepted(kind: object, text: str) -> bool:
    try:
        msgspec.convert(text, kind)
    except msgspec.ValidationError:
        return False
    return True


@pytest.mark.parametrize("kind", [Identifier, Name], ids=["identifier", "name"])
@given(text=st.text(st.characters(exclude_categories=["Cs"]), max_size=260))
@example(text="ends with a new line\n")
@example(text="a" * 255)
@example(text="a" * 256)
@example(text="")
def test_it_has_1_to_255_characters_and_no_control_characters(kind: object, text: str) -> None:
    assert is_accepted(kind, text) == (1 <= len(text) <= 255 and CONTROL.search(text) is None)


@pytest.mark.parametrize("text", ["\0", "a\n", "\x7f"])
def test_a_control_character_is_refused_wherever_it_is_sent(service: Service, text: str) -> None:
    world = World(service)
    organization = f"{BASE}/organizations/{world.org_id}"
    sent = f"%{ord(text[-1]):02X}"

    refused(world.platform.put(organization, json={"name": text}), 400, "invalid_body")
    refused(world.platform.put(f"{organization}/roles/{fresh('role')}", json={"title": text}), 400, "invalid_body")
    refused(world.platform.put(f"{organization}/members/{fresh('user')}", json={"roles": [text]}), 400, "invalid_body")
    refused(world.platform.get(f"{BASE}/organizations/a{sent}"), 400, "invalid_parameter")
    refused(world.platform.get(f"{organization}/members?role=a{sent}"), 400, "invalid_parameter")
    refused(world.platform.get(f"{world.path}?orgId=a{sent}"), 400, "invalid_parameter")

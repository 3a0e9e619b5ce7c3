"""Catalog files: what is read, how everything wrong is told with its line, and that what is written reads the same."""

import json
import re
import time
from pathlib import Path
from textwrap import dedent
from typing import Any

import jsonschema_rs
import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec import UNSET, UnsetType

import milepost.catalogs
from milepost.domain.catalog import Catalog, Completion, Scope, StepDefinition, Translation, completion_of
from milepost.domain.catalog_files import CatalogInvalid, digest, dump, examine, json_schema, read
from milepost.domain.catalog_text import MAX_BYTES
from milepost.domain.contract import Track

EXAMPLE = Path(milepost.catalogs.__file__).with_name("example.yaml").read_bytes()

MINIMAL = {
    "name": "Fleet",
    "steps": [
        {
            "stepId": "connect-vehicles",
            "title": "Connect your vehicles",
            "description": "",
            "ctaLabel": "Pair a tracker",
            "ctaRoute": "/fleet/trackers/new",
            "sortOrder": 10,
        }
    ],
}


def told(text: str | bytes) -> list[str]:
    """Each fault of a file as `line:column pointer: detail`."""
    data = text if isinstance(text, bytes) else dedent(text).encode()
    with pytest.raises(CatalogInvalid) as caught:
        read(data, "fleet.yaml")
    return [f"{each.line}:{each.column} {each.pointer}: {each.detail}" for each in caught.value.faults]


def warned(text: str) -> list[str]:
    warnings = examine(dedent(text).encode(), "fleet.yaml").warnings
    return [f"{each.line}:{each.column} {each.pointer}: {each.detail}" for each in warnings]


STEP = """\
name: Fleet
languages: [en, sv]
steps:
  - stepId: connect
    title: Connect
    description: Pair a tracker.
    ctaLabel: Pair
    ctaRoute: /trackers
    sortOrder: 10
    translations: {sv: {title: Anslut, description: Para ihop., ctaLabel: Para ihop}}
"""
"""A catalog of one step. Lines that follow belong to it."""

SECOND = """\
  - stepId: plan
    title: Plan
    description: Plan a tour.
    ctaLabel: Plan
    ctaRoute: /tours
    sortOrder: 20
    translations: {sv: {title: Planera, description: Planera en tur., ctaLabel: Planera}}
"""


def with_line(line: str, *more: str) -> str:
    """The catalog of one step, with more of its members; the first is in line 11."""
    return STEP + "".join(f"    {each}\n" for each in (line, *more))


class TestRead:
    def test_a_catalog_reads_from_yaml(self) -> None:
        catalog = read(with_line("tracks: [B]", "roles: [dispatcher]", "skippable: false").encode(), "fleet.yaml")

        assert catalog.name == "Fleet"
        assert catalog.languages == ["en", "sv"]
        assert [step.step_id for step in catalog.steps] == ["connect"]
        assert catalog.steps[0].tracks == [Track.B]
        assert catalog.steps[0].roles == ["dispatcher"]
        assert not catalog.steps[0].skippable
        assert catalog.steps[0].translations["sv"].cta_label == "Para ihop"

    @pytest.mark.parametrize("indent", [None, 2, "\t"])
    @pytest.mark.parametrize(
        "title", ["Connect", 'a: "b" # c', "no", "-\t1\x00\x7f\x85\u2028\ufeff\ufffe", "😀", "\\u0041 {"]
    )
    def test_a_catalog_reads_from_json_however_it_is_written(self, indent: int | str | None, title: str) -> None:
        document = {**MINIMAL, "steps": [{**MINIMAL["steps"][0], "title": title}]}  # type: ignore[dict-item]
        for ascii_only in (True, False):
            text = json.dumps(document, indent=indent, ensure_ascii=ascii_only)

            assert read(text.encode(), "fleet.json").steps[0].title == title

    def test_a_place_in_json_is_told_as_in_yaml(self) -> None:
        document = json.dumps({"name": "😀\t", "steps": [], "nmae": 1}, indent="\t")

        assert told(document) == ["4:2 /nmae: is not a known member; did you mean name?"]

    def test_a_byte_order_mark_and_windows_line_ends_are_no_hindrance(self) -> None:
        assert read(b"\xef\xbb\xbf" + STEP.replace("\n", "\r\n").encode(), "fleet.yaml") == read(STEP.encode(), "")

    @pytest.mark.parametrize(
        ("written", "title"),
        [
            ("Connect", "Connect"),
            ("'12'", "12"),
            ("1_000", "1_000"),
            ("12:30", "12:30"),
            ("2026-05-01", "2026-05-01"),
            ("0x1F", "0x1F"),
            ('"no"', "no"),
            ("Yes, please", "Yes, please"),
            ("|\n      One\n      Two", "One\nTwo\n"),
            (">-\n      One\n      two", "One two"),
        ],
    )
    def test_only_what_yaml_1_2_takes_for_another_type_is_no_text(self, written: str, title: str) -> None:
        assert read(STEP.replace("title: Connect", f"title: {written}").encode(), "").steps[0].title == title

    def test_a_message_names_the_file(self) -> None:
        with pytest.raises(CatalogInvalid, match=r"^fleet\.yaml:1:1: /steps is required"):
            read(b"name: Fleet", "fleet.yaml")


class TestYaml:
    @pytest.mark.parametrize(
        ("text", "fault"),
        [
            ("", "1:1 : the file is empty; a catalog has name and steps"),
            ("# nothing yet\n", "1:1 : the file is empty"),
            ("name: Fleet\nsteps: [\n", "3:1 : this is not YAML: did not find expected node content"),
            (
                "name: Fleet\n  steps: []\n",
                "2:8 : this is not YAML: mapping values are not allowed in this context; put",
            ),
            (
                "name: Fleet\n\tsteps: []\n",
                "2:1 : this is not YAML: found a tab character that violates indentation; indent",
            ),
            ("name: 'Fleet\nsteps: []\n", "3:1 : this is not YAML: found unexpected end of stream; close the quotes"),
            (
                "name: @fleet\n",
                "1:7 : this is not YAML: found character that cannot start any token; put the text in quot",
            ),
            ("name: Fleet\nsteps: []\n---\nname: Other\n", "3:1 : a second document begins here"),
            ("- name\n", "1:1 : must be an object, not an array"),
            ("Fleet\n", "1:1 : must be an object, not a string"),
            ("name: \xff", "1:7 : the file is not UTF-8; save it as UTF-8"),
            ("name: \x00", "1:7 : the character U+0000 may not stand in a file; remove it, or escape it in quotes"),
            ("? [a]\n: b\n", "1:3 : a name must be a text"),
            ("{a: " * 30, "1:81 /a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a: values lie more than 20 deep in each other"),
            (
                " " * (MAX_BYTES + 1),
                "1:1 : the file has 1,048,577 bytes; a catalog has at most 1,048,576, and at most 500",
            ),
            ("x: [" + "1," * 100_001 + "]", "1:200001 /x/99998: the file has more than 100,000 values"),
        ],
    )
    def test_what_cannot_be_read_on_is_told_alone(self, text: str, fault: str) -> None:
        faults = told(text.encode("latin-1"))

        assert faults[0].startswith(fault)
        assert all("is required" in each for each in faults[1:])

    @pytest.mark.parametrize(
        ("line", "fault"),
        [
            (
                "skippable: yes",
                '11:16 /steps/0/skippable: yes is a boolean to some readers of YAML; write "yes" in quotes',
            ),
            ("interests: [NO]", '11:17 /steps/0/interests/0: NO is a boolean to some readers of YAML; write "NO"'),
            ("on: 1", '11:5 /steps/0/on: on is a boolean to some readers of YAML; write "on" in quotes'),
            ("roles: &staff [owner]", "11:12 /steps/0/roles: &staff is an anchor; leave it out"),
            ("roles: *staff", "11:12 /steps/0/roles: *staff is an alias; write the value out"),
            ("*staff : a", "11:5 /steps/0: *staff is an alias; write the value out"),
            ("<<: {skippable: false}", "11:5 /steps/0/<<: << merges another object; write its members out"),
            ("roles: !!set {owner}", "11:12 /steps/0/roles: !!set is a tag, which catalogs do not have; leave it out"),
            ("roles: !python/name:os.system []", "11:12 /steps/0/roles: !python/name:os.system is a tag"),
            ("title: Again", "11:5 /steps/0/title: is given twice, first in line 5; keep one"),
            ('"title": Again', "11:5 /steps/0/title: is given twice, first in line 5; keep one"),
        ],
    )
    def test_what_readers_of_yaml_disagree_on_is_refused(self, line: str, fault: str) -> None:
        assert told(with_line(line))[0].startswith(fault)

    def test_a_file_that_would_unfold_to_a_huge_one_does_not(self) -> None:
        lines = [
            "a0: &a0 [x, x]",
            *(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 40)),
            "name: *a39",
            "steps: []",
        ]

        assert "2:15 /a1/1: *a0 is an alias; write the value out" in told("\n".join(lines))


class TestFaults:
    @pytest.mark.parametrize(
        ("line", "fault"),
        [
            # Members.
            ("skipable: false", "11:5 /steps/0/skipable: is not a known member; did you mean skippable?"),
            ("colour: red", "11:5 /steps/0/colour: is not a known member; known here: stepId, title,"),
            ("skippable: 1", "11:16 /steps/0/skippable: must be true or false, not an integer"),
            ("skippable: 'false'", "11:16 /steps/0/skippable: must be true or false, not a string"),
            ("roles: owner", "11:12 /steps/0/roles: must be an array, not a string"),
            ("roles: [owner, 12]", "11:20 /steps/0/roles/1: must be a string, not an integer; put it in quotes"),
            ("roles: [owner, '']", "11:20 /steps/0/roles/1: must be a string of length at least 1"),
            ("roles: [owner, null]", "11:20 /steps/0/roles/1: must be a string, not null"),
            ("tracks: [A, C]", "11:17 /steps/0/tracks/1: must be one of A, B"),
            ("tracks: []", "11:13 /steps/0/tracks: must be an array of length at least 1"),
            ("scope: team", "11:12 /steps/0/scope: must be one of user, enterprise, organization"),
            ("completion: automatic", "11:17 /steps/0/completion: must be one of signal, manual, either"),
            # What a list may name.
            ("roles: [owner, finance, owner]", "11:29 /steps/0/roles/2: owner is listed twice; keep one"),
            ("tracks: [A, A]", "11:17 /steps/0/tracks/1: A is listed twice; keep one"),
            ("requires: [connect]", "11:16 /steps/0/requires/0: a step cannot require itself; leave it out"),
            ("requires: [conect-all]", "11:16 /steps/0/requires/0: there is no step conect-all; did you mean connect?"),
            ("requires: [zzz]", "11:16 /steps/0/requires/0: there is no step zzz; correct it, or leave it out"),
            # What completes it.
            (
                "completion: signal",
                "11:17 /steps/0/completion: is signal, but there is no completeWhen, so nobody could",
            ),
            ("completeWhen: ''", "11:20 /steps/0/completeWhen: it is empty; write an expression such as"),
            (
                "completeWhen: true",
                "11:19 /steps/0/completeWhen: must be a string, not true or false; put it in quotes",
            ),
            ("completeWhen: tru", "11:19 /steps/0/completeWhen: there is no variable tru"),
            ("completeWhen: 1 + x > 0", "11:23 /steps/0/completeWhen: there is no variable x"),
            (
                "completeWhen: \"'a' in role\"",
                "11:27 /steps/0/completeWhen: there is no variable role; did you mean roles",
            ),
            ("completeWhen: '''a'' in role'", "11:19 /steps/0/completeWhen: there is no variable role; did you mean"),
            ("completeWhen: |\n      true &&\n        x", "13:9 /steps/0/completeWhen: there is no variable x"),
            ("completeWhen: |-\n\n      x", "13:7 /steps/0/completeWhen: there is no variable x"),
            (
                "completeWhen: >\n      true &&\n      x",
                "11:19 /steps/0/completeWhen: there is no variable x; known here: sig",
            ),
        ],
    )
    def test_what_is_wrong_with_a_step_is_told_with_its_line(self, line: str, fault: str) -> None:
        faults = told(with_line(line))

        assert len(faults) == 1
        assert faults[0].startswith(fault)

    def test_a_place_that_the_file_does_not_show_is_told_within_the_condition(self) -> None:
        assert told(with_line("completeWhen: >", "  true &&", "  x"))[0].endswith(
            "(line 1, character 9 of the condition)"
        )

    @pytest.mark.parametrize(
        ("text", "fault"),
        [
            ("steps: []", "1:1 /name: is required; add it"),
            ("name: ''\nsteps: []", "1:7 /name: must be a string of length at least 1"),
            ("name: 2026\nsteps: []", "1:7 /name: must be a string, not an integer; put it in quotes"),
            ("name: Fleet\nsteps: {}", "2:8 /steps: must be an array, not an object"),
            ("name: Fleet\nsteps:\n", "2:7 /steps: must be an array, not null"),
            ("name: Fleet\nsteps:\n  - connect", "3:5 /steps/0: must be an object, not a string"),
            ("name: Fleet\nlanguages: []\nsteps: []", "2:12 /languages: must be an array of length at least 1"),
            ("name: Fleet\nlanguages: [en, no]\nsteps: []", '2:17 /languages/1: no is a boolean to some readers of'),
            ("name: Fleet\nlanguages: [e]\nsteps: []", "2:13 /languages/0: must be a language tag, such as en"),
            ("name: Fleet\nlanguages: [en_GB]\nsteps: []", "2:13 /languages/0: must be a language tag, such as en"),
            ("name: Fleet\nlanguages: [en, EN]\nsteps: []", "2:17 /languages/1: EN is listed twice; keep one"),
        ],
    )  # fmt: skip
    def test_what_is_wrong_with_the_catalog_is_told_with_its_line(self, text: str, fault: str) -> None:
        faults = told(text)

        assert len(faults) == 1
        assert faults[0].startswith(fault)

    def test_a_text_that_is_missing_is_told_where_its_step_begins(self) -> None:
        assert told(STEP.replace("    title: Connect\n", "")) == ["4:5 /steps/0/title: is required; add it"]

    def test_a_step_id_is_used_once(self) -> None:
        text = STEP + SECOND.replace("stepId: plan", "stepId: connect")

        assert told(text) == ["11:13 /steps/1/stepId: connect is already the stepId of step 1; choose another"]

    @pytest.mark.parametrize(
        ("translations", "fault"),
        [
            (
                "{de: {title: Verbinden}}",
                "10:24 /steps/0/translations/de: de is not one of the languages (en, sv); add it",
            ),
            (
                "{SV: {title: Anslut}}",
                "10:24 /steps/0/translations/SV: SV is not one of the languages (en, sv); add it",
            ),
            (
                "{en: {title: Connect}}",
                "10:24 /steps/0/translations/en: en is the first of languages: its texts are the",
            ),
            (
                "{sv: {titel: Anslut}}",
                "10:25 /steps/0/translations/sv/titel: is not a known member; did you mean title?",
            ),
            ("{sv: Anslut}", "10:24 /steps/0/translations/sv: must be an object, not a string"),
            ("{no: {title: Koble}}", "10:20 /steps/0/translations/no: no is a boolean to some readers of YAML; write"),
        ],
    )
    def test_translations_are_in_the_catalogs_other_languages(self, translations: str, fault: str) -> None:
        assert told(re.sub("translations: .*", f"translations: {translations}", STEP))[0].startswith(fault)

    def test_a_circle_of_steps_that_wait_for_each_other_is_told_once(self) -> None:
        names = ["a", "b", "c", "d", "e"]
        required = {"a": "[b]", "b": "[c]", "c": "[a]", "d": "[e, a]", "e": "[d]"}
        steps = "".join(
            SECOND.replace("stepId: plan", f"stepId: {name}") + f"    requires: {required[name]}\n" for name in names
        )

        assert told("name: Fleet\nlanguages: [en, sv]\nsteps:\n" + steps) == [
            "11:15 /steps/0/requires: no step of this circle can ever begin: a -> b -> c -> a; break it",
            "35:15 /steps/3/requires: no step of this circle can ever begin: d -> e -> d; break it",
        ]

    def test_a_long_circle_is_told_shortly(self) -> None:
        steps = [{**step_of(n), "requires": [f"s{(n + 1) % 400}"]} for n in range(400)]

        assert [each.split(": ", 1)[1] for each in told(json.dumps({"name": "x", "steps": steps}))] == [
            "no step of this circle can ever begin: s0 -> s1 -> s2 -> s3 -> s4 -> s5 -> s6 -> s7 -> … -> s0; break it"
        ]

    def test_everything_wrong_is_told_at_once_in_the_order_of_the_lines(self) -> None:
        faults = told("""\
            name: Fleet
            langauges: [en]
            steps:
              - stepId: a
                title: 12
                ctaLabel: Go
                ctaRoute: /a
                sortOrder: first
                tracks: [A, C]
                requires: [b, z]
                completeWhen: signals.wallet.created.count > 0
              - stepId: b
                title: B
                title: Bee
                description: ""
                ctaLabel: Go
                ctaRoute: /b
                sortOrder: 20
                skippable: yes
                requires: [a]
                completion: signal
              - stepId: a
                description: *text
                translations: {sv: {title: A}}
            """)

        assert [fault.split(": ")[0] for fault in faults] == [
            "2:1 /langauges",
            "4:5 /steps/0/description",
            "5:12 /steps/0/title",
            "8:16 /steps/0/sortOrder",
            "9:17 /steps/0/tracks/1",
            "10:15 /steps/0/requires",
            "10:19 /steps/0/requires/1",
            "11:19 /steps/0/completeWhen",
            "14:5 /steps/1/title",
            "19:16 /steps/1/skippable",
            "21:17 /steps/1/completion",
            "22:5 /steps/2/ctaLabel",
            "22:5 /steps/2/ctaRoute",
            "22:5 /steps/2/sortOrder",
            "22:5 /steps/2/title",
            "22:13 /steps/2/stepId",
            "23:18 /steps/2/description",
            "24:24 /steps/2/translations/sv",
        ]


def step_of(number: int) -> dict[str, Any]:
    return {**MINIMAL["steps"][0], "stepId": f"s{number}"}  # type: ignore[dict-item]


class TestBounds:
    def test_a_catalog_has_at_most_500_steps(self) -> None:
        assert len(read(json.dumps({"name": "x", "steps": [step_of(n) for n in range(500)]}).encode(), "").steps) == 500
        assert told(json.dumps({"name": "x", "steps": [step_of(n) for n in range(501)]}, indent=1)) == [
            "3:11 /steps: must have at most 500 items, not 501"
        ]

    def test_a_catalog_of_10_000_steps_is_refused_with_one_clear_error(self) -> None:
        short = [
            {"stepId": f"s{n}", "title": "t", "ctaLabel": "c", "ctaRoute": "/", "sortOrder": n} for n in range(10_000)
        ]

        assert told(json.dumps({"name": "x", "steps": short}, separators=(",", ":"))) == [
            "1:21 /steps: must have at most 500 items, not 10000"
        ]
        assert "at most 500 steps" in told(json.dumps({"name": "x", "steps": [step_of(n) for n in range(10_000)]}))[0]

    @pytest.mark.parametrize(
        "text",
        [
            "[", "{", "- ", "? ", "a: ", "&a [", "*a ", "!a ", '"', "'", "|\n", "#", "%", "\n", "\t", " ", "a,", "[],",
            "{},", "{a: 1},", "a: b\n", "- a\n", "\\", "a\n", "---\n", "\r", "\u2028", "é", "{a: ", "- - ", "<<: ",
            "?\n", "-\n", "%YAML 1.1\n---\n", " |\n  ", '"a":', '"\\u', "\x00", "😀",
        ],
    )  # fmt: skip
    @pytest.mark.parametrize("before", ["", "[", "steps: ["])
    def test_a_file_as_large_as_can_be_is_read_or_refused_soon(self, text: str, before: str) -> None:
        data = (before + text * (MAX_BYTES // len(text.encode()) + 1)).encode()[: MAX_BYTES - 10]
        started = time.perf_counter()

        assert told(data.decode(errors="ignore"))
        assert time.perf_counter() - started < 20

    @pytest.mark.parametrize(
        "members",
        [
            {"requires": [f"s{n}" for n in range(50)]},
            {"requires": [f"a-step-with-a-long-name-{n}" for n in range(50)]},
            {"roles": [f"r{n}" for n in range(100)]},
            {"completeWhen": " && ".join(["signals.x.count > 0"] * 43)},
            {"completeWhen": "\\" * 1000},
            {"completeWhen": "?." * 500},
            {f"sortOrdr{n}": n for n in range(40)},
        ],
    )
    def test_500_steps_that_take_the_longest_are_read_or_refused_soon(self, members: dict[str, Any]) -> None:
        data = json.dumps({"name": "x", "steps": [{**step_of(n), **members} for n in range(500)]}).encode()
        started = time.perf_counter()
        try:
            read(data, "large.json")
        except CatalogInvalid as invalid:
            assert len(invalid.faults) <= 1_000  # noqa: PT017

        assert time.perf_counter() - started < 20


class TestWarnings:
    @pytest.mark.parametrize(
        ("first", "second", "warning"),
        [
            ("tracks: [B]", "tracks: [A]", "they are on track A, and B"),
            ("roles: [owner, finance]", "roles: [dispatcher]", "they have no common roles"),
            ("interests: [billing]", "interests: [routing]", "they have no common interests"),
        ],
    )
    def test_a_step_that_requires_one_its_users_never_get_is_doubted(
        self, first: str, second: str, warning: str
    ) -> None:
        text = f"{STEP}    {first}\n{SECOND}    {second}\n    requires: [connect]\n"

        assert warned(text) == [
            f"20:16 /steps/1/requires/0: nobody who gets this step gets connect too: {warning}"
        ]  # fmt: skip

    @pytest.mark.parametrize(
        ("first", "second"),
        [
            ("tracks: [A]", "tracks: [A, B]"),
            ("roles: []", "roles: [dispatcher]"),
            ("roles: [owner, dispatcher]", "roles: [dispatcher]"),
        ],
    )
    def test_a_step_that_requires_one_that_some_of_its_users_get_is_not(self, first: str, second: str) -> None:
        assert warned(f"{STEP}    {first}\n{SECOND}    {second}\n    requires: [connect]\n") == []

    @pytest.mark.parametrize(
        ("translations", "warning"),
        [
            ("{}", "10:19 /steps/0/translations/sv: there is no title, description, ctaLabel in sv"),
            ("{sv: {title: Anslut}}", "10:24 /steps/0/translations/sv: there is no description, ctaLabel in sv"),
        ],
    )
    def test_a_missing_translation_is_doubted(self, translations: str, warning: str) -> None:
        assert warned(re.sub("translations: .*", f"translations: {translations}", STEP)) == [warning]

    def test_a_condition_that_is_never_asked_is_doubted(self) -> None:
        text = with_line("completeWhen: signals.paired.count > 0", "completion: manual")

        assert warned(text) == [
            "11:19 /steps/0/completeWhen: is never asked, since completion is manual; leave one of them out"
        ]

    def test_either_without_a_condition_is_doubted(self) -> None:
        assert warned(with_line("completion: either")) == [
            "11:17 /steps/0/completion: is the same as manual without a completeWhen; add one"
        ]


TEXTS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=8)
NAMES = st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), min_size=1, max_size=8)
NAME_LISTS = st.lists(NAMES, max_size=3, unique=True)
TRANSLATIONS = st.builds(
    Translation,
    title=TEXTS | st.just(UNSET),
    description=st.text(st.characters(codec="utf-8"), max_size=5) | st.just(UNSET),
    cta_label=TEXTS | st.just(UNSET),
)


@st.composite
def catalogs(draw: st.DrawFn) -> Catalog:
    languages = ["en", *draw(st.lists(st.sampled_from(["sv", "pt-BR", "no"]), unique=True))]
    ids = draw(st.lists(NAMES, max_size=4, unique=True))
    steps = []
    for number, step_id in enumerate(ids):
        condition = draw(st.sampled_from([None, "'a' in roles", "signals['é\"'].count > 0\n  && true"]))
        completions: list[Completion | UnsetType] = [UNSET, Completion.MANUAL, Completion.EITHER]
        if condition:
            completions.append(Completion.SIGNAL)
        earlier = st.lists(st.sampled_from(ids[:number]), unique=True) if number else st.just([])
        steps.append(
            StepDefinition(
                step_id=step_id,
                title=draw(TEXTS),
                description=draw(st.text(st.characters(codec="utf-8"), max_size=8)),
                cta_label=draw(TEXTS),
                cta_route=draw(TEXTS),
                sort_order=draw(st.integers(-(2**53) + 1, 2**53 - 1)),
                tracks=draw(st.lists(st.sampled_from(Track), min_size=1, unique=True)),
                roles=draw(NAME_LISTS),
                interests=draw(NAME_LISTS),
                requires=draw(earlier),
                complete_when=condition or UNSET,
                completion=draw(st.sampled_from(completions)),
                scope=draw(st.sampled_from(Scope)),
                skippable=draw(st.booleans()),
                translations=draw(st.dictionaries(st.sampled_from(languages[1:]), TRANSLATIONS))
                if languages[1:]
                else {},
            )
        )
    return Catalog(name=draw(TEXTS), languages=languages, steps=steps)


class TestDump:
    @given(catalogs())
    def test_what_is_written_reads_as_the_same_catalog(self, catalog: Catalog) -> None:
        again = read(dump(catalog), "again.json")

        assert again == catalog
        assert dump(again) == dump(catalog)
        assert digest(again) == digest(catalog)

    @given(catalogs(), st.sampled_from(["'", '"', "|", ">"]))
    def test_yaml_of_it_reads_as_the_same_catalog(self, catalog: Catalog, style: str) -> None:
        class Quoting(yaml.SafeDumper):
            """Quotes every text, since YAML 1.1 and 1.2 take different ones for numbers."""

        Quoting.add_representer(
            str, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)
        )
        text = yaml.dump(json.loads(dump(catalog)), Dumper=Quoting)

        assert read(text.encode(), "again.yaml") == catalog

    def test_the_digest_is_that_of_what_the_catalog_says(self) -> None:
        catalog = read(STEP.encode(), "fleet.yaml")
        with_defaults = read(with_line("skippable: true # the default", "roles: []", "tracks: [A, B]").encode(), "")
        changed = read(with_line("skippable: false").encode(), "fleet.yaml")

        assert digest(with_defaults) == digest(catalog)
        assert digest(changed) != digest(catalog)
        assert re.fullmatch("[0-9a-f]{64}", digest(catalog))


class TestNothingElse:
    @settings(max_examples=500)
    @given(st.binary() | st.text().map(str.encode))
    @example(b'"\\ud800": 1')
    @example(b'"\\U00110000"')
    @example(b"%YAML 99999999999.1\n--- a")
    @example(b"a: *a\n*b : c\n? *d\n: e")
    @example(b'{"name": "\\ud83d\\ude00", "a": "' + b"k" * 2000 + b'"}')
    @example(b'{"' + b"k" * 2000 + b'": 1}')
    @example(b"{" * 300 + b"}" * 300)
    @example(b'{"a":' * 150 + b"1" + b"}" * 150)
    @example(b"steps: [.inf, .nan, 1e400, 0o7, -.5, 1., +1, 99999999999999999999999999]\nname: 1e5")
    @example(b"steps: {}\nlanguages: {}\nname: {}")
    @example(b"steps: [{translations: [], requires: {}, stepId: []}]\nlanguages: [[], null]")
    def test_any_bytes_are_a_catalog_or_refused(self, data: bytes) -> None:
        self.read_or_refuse(data)

    @settings(max_examples=500)
    @given(st.data())
    def test_a_catalog_with_anything_changed_is_a_catalog_or_refused(self, data: st.DataObject) -> None:
        at = data.draw(st.integers(0, len(EXAMPLE)))
        cut = data.draw(st.integers(0, 40))
        put = data.draw(
            st.sampled_from(
                ["", "\n", "  ", "- ", ": ", "[", "{", "'", '"', "|", "&a ", "*a", "!x ", "no", "~", "\t", "x"]
            )
        )

        self.read_or_refuse(EXAMPLE[:at] + put.encode() + EXAMPLE[at + cut :])

    @given(st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
        lambda inner: st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["name", "steps", "languages", "stepId", "requires", "completeWhen", "translations", "~/"]),
            inner,
        ),
    ))  # fmt: skip
    def test_any_tree_is_a_catalog_or_refused(self, tree: Any) -> None:
        for wrapped in (tree, {"name": "x", "steps": [tree]}, {"name": "x", "steps": tree, "languages": tree}):
            self.read_or_refuse(json.dumps(wrapped).encode())
            self.read_or_refuse(yaml.safe_dump(wrapped).encode())

    @staticmethod
    def read_or_refuse(data: bytes) -> None:
        lines = len(data.decode(errors="replace").splitlines()) + 1
        try:
            read(data, "any.yaml")
        except CatalogInvalid as invalid:
            assert invalid.faults  # noqa: PT017
            for fault in invalid.faults:
                assert 1 <= fault.line <= lines
                assert fault.column >= 1
                assert fault.detail


class TestJsonSchema:
    SCHEMA = json_schema()
    VALIDATOR = jsonschema_rs.Draft202012Validator(SCHEMA)

    def test_it_is_a_schema_of_draft_2020_12(self) -> None:
        assert self.SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"
        jsonschema_rs.meta.validate(self.SCHEMA)

    def test_the_example_catalog_fits_it(self) -> None:
        assert self.VALIDATOR.is_valid(yaml.safe_load(EXAMPLE))

    def test_its_own_examples_are_catalogs(self) -> None:
        assert [read(json.dumps(each).encode(), "example") for each in self.SCHEMA["examples"]]

    @given(catalogs())
    def test_every_catalog_fits_it(self, catalog: Catalog) -> None:
        assert self.VALIDATOR.is_valid(json.loads(dump(catalog)))

    @pytest.mark.parametrize(
        "members",
        [{"colour": "red"}, {"tracks": ["C"]}, {"tracks": []}, {"sortOrder": "10"}, {"scope": "team"}, {"title": ""}],
    )
    def test_what_is_no_step_does_not_fit_it(self, members: dict[str, Any]) -> None:
        assert not self.VALIDATOR.is_valid({"name": "Fleet", "steps": [{**step_of(1), **members}]})

    def test_every_member_is_described_for_editors(self) -> None:
        for name in ("Catalog", "StepDefinition"):
            for member, schema in self.SCHEMA["$defs"][name]["properties"].items():
                assert member == "steps" or schema.get("description"), f"{name}.{member}"


class TestExample:
    CATALOG = read(EXAMPLE, "example.yaml")

    def test_it_gives_no_reason_to_doubt(self) -> None:
        assert examine(EXAMPLE, "example.yaml").warnings == ()

    def test_it_shows_all_that_a_catalog_can_say(self) -> None:
        steps = self.CATALOG.steps

        assert len(steps) >= 12
        assert {tuple(step.tracks) for step in steps} == {(Track.A,), (Track.B,), (Track.A, Track.B)}
        assert {completion_of(step) for step in steps} == set(Completion)
        assert {step.scope for step in steps} == set(Scope)
        assert any(step.interests for step in steps)
        assert any(step.requires for step in steps)
        assert any(not step.skippable for step in steps)

    def test_every_step_reads_in_english_and_swedish(self) -> None:
        assert self.CATALOG.languages == ["en", "sv"]
        assert all(set(step.translations) == {"sv"} for step in self.CATALOG.steps)

    def test_its_roles_are_those_of_the_demo(self) -> None:
        demo = Path(milepost.__file__).parent / "cli" / "demo.ndjson"
        entries = [json.loads(line) for line in demo.read_text(encoding="utf-8").splitlines()]
        roles = {entry["role"] for entry in entries if entry["kind"] == "role"}

        assert {role for step in self.CATALOG.steps for role in step.roles} <= roles

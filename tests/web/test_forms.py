"""Forms from JSON Schema: every annotation gets fields, and what is shown, typed and sent is one value."""

import json
from datetime import timedelta
from typing import Annotated, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field, SecretStr

from jalebi.context import Upload
from jalebi.errors import ValidationFailed
from jalebi.kinds import Kind
from jalebi.web import forms
from tests.web.formed import Browser, again, html_of, kind_of, sent
from tests.web.forms_cases import CASES, HOME, Address, Cat, Colour, House, Letter, Pet, Size, Strange, Tree

PAIRS = [(annotation, value) for annotation, found in CASES for value in found]


def named(case: Any) -> str:
    return str(case)[:60]


def checked(kind: Kind, args: Any) -> Any:
    try:
        return json.loads(kind.validate(args))
    except ValidationFailed as refused:
        return refused.errors


def meant(annotation: Any, found: Any) -> Any:
    """Return checked args without the order of a set, which is whatever its hashes make it."""
    if "set[" in str(annotation) and isinstance(found, dict) and isinstance(found.get("value"), list):
        return {**found, "value": sorted(found["value"], key=json.dumps)}
    return found


@pytest.mark.parametrize(("annotation", "value"), PAIRS, ids=map(named, PAIRS))
def test_every_value_can_be_shown_and_comes_back_as_it_was(annotation: Any, value: Any) -> None:
    kind = kind_of(annotation)
    form = again(kind, forms.shown(forms.schema_of(kind), {"value": value}))
    args = form.args()
    assert not form.unreadable, form.faults
    assert meant(annotation, checked(kind, args)) == meant(annotation, checked(kind, {"value": value}))
    assert not isinstance(checked(kind, args), list)


@pytest.mark.parametrize(("annotation", "value"), PAIRS, ids=map(named, PAIRS))
def test_a_form_sent_as_it_was_shown_stands_for_the_defaults(annotation: Any, value: Any) -> None:
    known = vars(kind_of(annotation).model.model_validate_json(json.dumps({"value": value})))["arg_0"]
    kind = kind_of(annotation, known)
    form = again(kind, forms.shown(forms.schema_of(kind)))
    given = form.given()
    assert not form.unreadable, form.faults
    assert meant(annotation, checked(kind, given)) == meant(annotation, checked(kind, {}))


@pytest.mark.parametrize(("annotation", "value"), PAIRS, ids=map(named, PAIRS))
def test_every_value_can_be_written_as_json_and_back(annotation: Any, value: Any) -> None:
    kind = kind_of(annotation)
    form = again(kind, forms.shown(forms.schema_of(kind), {"value": value}))
    assert form.do("json")
    assert form.json
    form = again(kind, form)
    assert meant(annotation, checked(kind, form.args())) == meant(annotation, checked(kind, {"value": value}))
    assert form.do("form")
    assert not form.json
    assert meant(annotation, checked(kind, again(kind, form).args())) == meant(
        annotation, checked(kind, {"value": value})
    )


@pytest.mark.parametrize("annotation", [case for case, _ in CASES], ids=named)
def test_an_empty_form_is_sound(annotation: Any) -> None:
    kind = kind_of(annotation)
    seen = Browser(html_of(kind, forms.shown(forms.schema_of(kind))))
    assert len(seen.ids) == len(set(seen.ids))
    assert set(seen.labelled) <= set(seen.ids)
    assert not any(" " in one for one in seen.ids)
    form = again(kind, forms.shown(forms.schema_of(kind)))
    try:
        kind.validate(form.args())
    except ValidationFailed as refused:
        form.refuse(refused.errors)
        assert form.faults
        assert not form.others
        known = set(Browser(html_of(kind, form)).ids)
        assert {fault[0] for fault in form.faults} <= known


#: From an empty form: the annotation, the buttons to press, what to type then, and the value that it makes.
FILLED: list[tuple[Any, list[str], dict[str, list[str]], Any]] = [
    (str, [], {"value": ["two\r\nlines"]}, "two\nlines"),
    (int, [], {"value": [" 42 "]}, 42),
    (float, [], {"value": ["1e3"]}, 1000.0),
    (bool, [], {"value": ["true"]}, True),
    (bool | None, [], {"value": ["false"]}, False),
    (Letter, [], {"value": ["d"]}, "d"),
    (Size, [], {"value": ["2"]}, 2),
    (Colour, [], {"value": ["2"]}, 2),
    (list[Colour], [], {"value": ["red", "2"]}, ["red", 2]),
    (list[int], [], {"value": ["1\r\n\r\n 2\r\n"]}, [1, 2]),
    (tuple[int, str], [], {"value/0": ["1"], "value/1": ["a"]}, [1, "a"]),
    (Address, [], {"value/street": ["x"]}, {"street": "x", "city": "Jodhpur"}),
    (Address | None, [], {"value/street": ["x"]}, None),
    (
        Address | None,
        [],
        {"value:use": ["1"], "value/street": ["x"], "value/floor": ["3"]},
        {**HOME, "street": "x", "city": "Jodhpur"},
    ),
    (
        list[Address],
        ["add value", "add value"],
        {"value/0/street": ["x"], "value/1/street": ["y"]},
        [{"street": "x", "city": "Jodhpur"}, {"street": "y", "city": "Jodhpur"}],
    ),
    (
        list[Address],
        ["add value", "add value", "drop value/0"],
        {"value/1/street": ["y"]},
        [{"street": "y", "city": "Jodhpur"}],
    ),
    (
        House,
        ["add value/rooms"],
        {"value/address/street": ["a"], "value/rooms/0/street": ["b"], "value/open": ["true"]},
        {"address": {"street": "a", "city": "Jodhpur"}, "rooms": [{"street": "b", "city": "Jodhpur"}], "open": True},
    ),
    (dict[str, int], ["add value", "add value"], {}, {}),
    (dict[str, int], ["add value"], {"value/0:key": ["a/b"], "value/0": ["5"]}, {"a/b": 5}),
    (
        dict[str, Address],
        ["add value"],
        {"value/0:key": ["home"], "value/0/street": ["x"]},
        {"home": {"street": "x", "city": "Jodhpur"}},
    ),
    (list[list[int]], ["add value", "add value"], {"value/0": ["1\n2"], "value/1": ["3"]}, [[1, 2], [3]]),
    (Pet, [], {"value:variant": ["0"], "value:0/lives": ["3"], "value:1/bark": ["kept"]}, {"kind": "cat", "lives": 3}),
    (Pet, [], {"value:variant": ["1"], "value:1/bark": ["x"]}, {"kind": "dog", "bark": "x"}),
    (Cat | int | list[str], [], {"value:variant": ["2"], "value:2": ["a\nb"]}, ["a", "b"]),
    (
        Tree,
        ["add value/kids", "add value/kids/0/kids"],
        {"value/name": ["a"], "value/kids/0/name": ["b"], "value/kids/0/kids/0": ['{"name": "c"}']},
        {"name": "a", "kids": [{"name": "b", "kids": [{"name": "c"}]}]},
    ),
    (Any, [], {"value": ['{"a": [1]}']}, {"a": [1]}),
    (
        Strange,
        ["add value/ü ☃ <b>"],
        {
            "value/a.b": ["1"],
            "value/x~1y": ["s"],
            "value/~01~2use": ["t"],
            "value/ü ☃ <b>/0/street": ["u"],
            "value/__proto__": ["p"],
            "value/constructor": ["c"],
        },
        {
            "a.b": 1,
            "x/y": "s",
            "~1:use": "t",
            "ü ☃ <b>": [{"street": "u", "city": "Jodhpur"}],
            "__proto__": "p",
            "constructor": "c",
        },
    ),
]


@pytest.mark.parametrize(("annotation", "presses", "typed", "value"), FILLED, ids=[named(case[0]) for case in FILLED])
def test_an_empty_form_can_be_filled_in(annotation: Any, presses: list[str], typed: Any, value: Any) -> None:
    kind = kind_of(annotation, None) if value is None else kind_of(annotation)
    form = forms.shown(forms.schema_of(kind))
    for press in presses:
        assert press in Browser(html_of(kind, form)).buttons
        form = again(kind, form)
        assert form.do(press)
    form = again(kind, form, **typed)
    args = form.args()
    assert not form.unreadable, form.faults
    assert meant(annotation, checked(kind, args)) == meant(annotation, checked(kind, {"value": value}))
    assert not isinstance(checked(kind, args), list)


EMPTY: list[tuple[Any, Any, Any]] = [
    (str, ..., forms.ABSENT),
    (str, "default", ""),
    (int, 3, forms.ABSENT),
    (int | None, 3, None),
    (int | None, None, forms.ABSENT),
    (int | None, ..., None),
    (str | None, "x", None),
    (list[int], [1], []),
    (list[int], ..., []),
    (Any, ..., forms.ABSENT),
]


@pytest.mark.parametrize(("annotation", "default", "value"), EMPTY)
def test_an_empty_field_is_the_default_or_null_or_an_empty_value(annotation: Any, default: Any, value: Any) -> None:
    kind = kind_of(annotation, default)
    assert again(kind, forms.shown(forms.schema_of(kind)), value=[""]).args().get("value", forms.ABSENT) == value


READ: list[tuple[Any, str, Any]] = [
    (int, "4.5", "4.5"),
    (float, "7", 7),
    (float, "nan", "nan"),
    (float, "1e999", "1e999"),
    (int, "9" * 5000, "9" * 5000),
    (int | str, "5", 5),
    (int | str, "five", "five"),
    (list[bool], "true\nfalse\nmaybe", [True, False, "maybe"]),
    (Letter, "no choice", "no choice"),
]


@pytest.mark.parametrize(("annotation", "typed", "value"), READ)
def test_what_is_typed_is_left_to_the_check_where_it_is_wrong(annotation: Any, typed: str, value: Any) -> None:
    kind = kind_of(annotation)
    read = again(kind, forms.shown(forms.schema_of(kind)), value=[typed]).args()["value"]
    assert (read, type(read)) == (value, type(value))


def test_plain_seconds_are_a_time_span() -> None:
    kind = kind_of(timedelta)
    assert again(kind, forms.shown(forms.schema_of(kind)), value=["90"]).args() == {"value": "PT90S"}


def refused(kind: Kind, form: forms.Form) -> dict[str, str]:
    """Return what a refused form says beside its fields, by the field's name."""
    args = form.args()
    try:
        kind.validate(args)
    except ValidationFailed as error:
        form.refuse(error.errors)
    html = html_of(kind, form)
    assert all(f'href="#{place}"' in html for place, _, _ in form.faults)
    return {node.name: node.error for node in form.root.walk() if node.errors}


DEEP: list[tuple[Any, Any, dict[str, list[str]], dict[str, str]]] = [
    (
        Address,
        HOME,
        {"value/street": [""], "value/floor": ["high"]},
        {"value/street": "Field required", "value/floor": "Input should be a valid integer"},
    ),
    (list[Address], [HOME, HOME], {"value/1/floor": ["x"]}, {"value/1/floor": "Input should be a valid integer"}),
    (dict[str, Address], {"a/b": HOME}, {"value/0/floor": ["x"]}, {"value/0/floor": "Input should be a valid integer"}),
    (dict[str, int], {"a": 1, "b": 2}, {"value/1:key": ["a"]}, {"value/1": "This key is there twice."}),
    (dict[str, int], {"a": 1}, {"value/0:key": [""]}, {"value/0": "Give it a key."}),
    (tuple[int, str], [1, "a"], {"value/0": ["x"]}, {"value/0": "Input should be a valid integer"}),
    (list[int], [1, 2], {"value": ["1\nx"]}, {"value": "Line 2: Input should be a valid integer"}),
    (Pet, {"kind": "cat", "lives": 1}, {"value:0/lives": ["x"]}, {"value:0/lives": "Input should be a valid integer"}),
    (Cat | int, 5, {"value:1": ["x"]}, {"value:1": "Input should be"}),
    (Any, 1, {"value": ["{"]}, {"value": "This is not JSON"}),
    (
        Annotated[list[Address], Field(min_length=1)],
        [HOME],
        {"value:row": []},
        {"value": "List should have at least 1 item"},
    ),
    (
        Strange,
        {"a.b": 1, "x/y": "s", "~1:use": "t", "ü ☃ <b>": [HOME], "__proto__": "p", "constructor": "c"},
        {"value/a.b": ["x"], "value/x~1y": [""], "value/ü ☃ <b>/0/street": [""]},
        {
            "value/a.b": "Input should be a valid integer",
            "value/x~1y": "Field required",
            "value/ü ☃ <b>/0/street": "Field required",
        },
    ),
]


@pytest.mark.parametrize(("annotation", "value", "typed", "wrong"), DEEP, ids=[named(case[0]) for case in DEEP])
def test_an_error_stands_beside_its_field_at_every_depth(annotation: Any, value: Any, typed: Any, wrong: Any) -> None:
    kind = kind_of(annotation)
    form = again(kind, forms.shown(forms.schema_of(kind), {"value": value}), **typed)
    found = refused(kind, form)
    assert found.keys() == wrong.keys()
    assert all(detail in found[name] for name, detail in wrong.items()), found
    kept = sent(kind, form)
    assert all(kept.get(name, []) == texts for name, texts in typed.items() if name != "value")


@pytest.mark.parametrize(
    "typed", ['{"street": ', "NaN", "[" * 100_000, "plain", '{"a": 1, "a": 2}', "[" * 40 + "]" * 40]
)
def test_what_is_no_json_is_told_beside_its_field(typed: str) -> None:
    kind = kind_of(Address)
    form = again(kind, forms.shown(forms.schema_of(kind)), value=[typed])
    assert "not JSON" in refused(kind, form)["value"]
    assert form.args() == {}
    assert form.do("json")
    assert not form.json  # it has to be put right first


def test_a_whole_that_is_typed_as_json_counts_as_such() -> None:
    kind = kind_of(House)
    typed = {"value": ['{"address": {"street": "x"}}'], "value/open": ["true"]}
    assert forms.taken(forms.schema_of(kind), typed).args() == {"value": {"address": {"street": "x"}}}


@pytest.mark.parametrize("typed", ["[]", '"x"', "{", "5", "[" * 100_000])
def test_args_that_are_no_object_are_refused_where_they_are_typed(typed: str) -> None:
    kind = kind_of(int)
    form = forms.taken(forms.schema_of(kind), {forms.MODE: ["json"], forms.JSON: [typed]})
    assert form.args() == {}
    assert form.unreadable
    assert form.do("form")
    assert form.json
    assert sent(kind, form)[forms.JSON] == [typed]


def test_errors_in_args_as_json_say_where_they_are() -> None:
    kind = kind_of(Address)
    form = forms.taken(forms.schema_of(kind), {forms.MODE: ["json"], forms.JSON: ['{"value": {"floor": "x"}}']})
    form.refuse([{"pointer": "/args/value/floor", "detail": "is no number"}])
    assert form.faults == [("args-json", "args", "value.floor: is no number")]


def test_errors_that_belong_to_no_field_stand_above() -> None:
    kind = kind_of(Address)
    form = again(kind, forms.shown(forms.schema_of(kind)))
    form.refuse([
        {"pointer": "", "detail": "the whole is wrong"},
        {"pointer": "/tags/0", "detail": "is too long"},
        {"pointer": "/args/other", "detail": "There is no such field."},
    ])  # fmt: skip
    assert form.others == ["the whole is wrong", "other: There is no such field."]
    assert form.wrong == {"option:tags": "0: is too long"}


class Login(BaseModel):
    user: str
    password: SecretStr


def test_a_secret_is_never_shown_again() -> None:
    kind = kind_of(Login, Login(user="u", password=SecretStr("first")))
    form = forms.shown(forms.schema_of(kind), {"value": {"user": "u", "password": "pepper"}})
    assert "pepper" not in html_of(kind, form)
    assert "first" not in html_of(kind, form)
    form = again(kind, form, **{"value/password": ["typed"]})
    assert form.args()["value"]["password"] == "typed"
    assert "typed" not in html_of(kind, form)
    assert form.do("json")
    assert "typed" not in html_of(kind, form)


def test_a_form_takes_so_many_rows_and_fields_and_no_more() -> None:
    kind = kind_of(list[Address])
    schema = forms.schema_of(kind)
    many = {"value:use": ["1"], "value:row": [str(number) for number in range(5000)]}
    form = forms.taken(schema, many)
    assert "Write the args as JSON" in form.others[0]
    long = [HOME] * 500
    form = again(kind, forms.shown(schema, {"value": long}))
    assert form.args() == {"value": long}
    assert form.fields[0].widget == "json"


def test_no_row_is_added_to_a_form_that_is_full() -> None:
    kind = kind_of(list[Address])
    form = again(kind, forms.shown(forms.schema_of(kind), {"value": [HOME] * forms.MOST_ROWS}))
    assert form.do("add value")
    assert "Write the args as JSON" in form.faults[0][2]
    assert again(kind, form).args() == {"value": [HOME] * forms.MOST_ROWS}


@pytest.mark.parametrize("name", ["/" * 100_000, ":" * 100_000, "value" + "/0" * 50_000])
def test_a_field_with_a_name_that_no_form_has_is_nothing(name: str) -> None:
    kind = kind_of(list[Address])
    assert forms.taken(forms.schema_of(kind), {name: ["x"], "value:use": ["1"]}).args() == {"value": []}


def test_a_kind_with_too_many_parameters_is_asked_for_as_json() -> None:
    schema = {"properties": {f"p{number}": {"type": "integer", "default": 1} for number in range(1000)}}
    form = forms.shown(schema)
    assert (form.json, form.fixed, form.fields) == (True, True, [])
    form = forms.taken(schema, {forms.MODE: ["json"], forms.JSON: ['{"p7": 2}']})
    assert form.args() == {"p7": 2}


@pytest.mark.parametrize("rows", ["x", "-1", "9" * 30, "²", "1e3"])
def test_rows_that_no_form_has_are_left_out(rows: str) -> None:
    kind = kind_of(list[Address])
    form = forms.taken(forms.schema_of(kind), {"value:use": ["1"], "value:row": [rows], "value:variant": [rows]})
    assert form.args() == {"value": []}
    assert not form.do(f"add {rows}")
    assert not form.do("drop ")


ENDS = ["", ":use", ":row", "/0", ":variant", ":0", ":as", "/0:key", ":0/lives", ":more:row"]
NAMES = [forms.MODE, forms.JSON, *(f"value{end}" for end in ENDS)]
TEXTS = st.text(max_size=5) | st.sampled_from(["0", "1", "json", "text"])


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)  # of a busy machine it says nothing
@given(st.dictionaries(st.sampled_from(NAMES), st.lists(TEXTS, min_size=1, max_size=3)))
def test_whatever_is_sent_a_form_comes_of_it(typed: dict[str, list[str]]) -> None:
    for kind in SOME:
        form = forms.taken(forms.schema_of(kind), typed)
        refused(kind, form)
        form.do("json")
        html_of(kind, form)


SOME = [kind_of(one) for one in (Tree, Pet | None, dict[str, int], list[Upload], House | None, str | None)]


def test_a_schema_that_refers_to_itself_is_shown_as_json() -> None:
    loop = {"$defs": {"A": {"$ref": "#/$defs/A"}}, "properties": {"value": {"$ref": "#/$defs/A"}}}
    assert forms.shown(loop).fields[0].widget == "json"


def test_limits_and_hints_of_the_schema_are_told() -> None:
    said = Field(gt=0, le=50, multiple_of=5, title="Steps", examples=[5], deprecated=True, description="How many")
    kind = kind_of(Annotated[int, said])
    [leaf] = forms.shown(forms.schema_of(kind)).fields
    assert isinstance(leaf, forms.Leaf)
    assert leaf.attributes == {"min": 5, "max": 50, "step": 5}
    assert leaf.help == ("Steps.", "How many", "For example 5.", "Deprecated: it may go away.")
    assert leaf.must


def test_no_label_of_an_option_can_be_taken_for_a_parameter() -> None:
    labels = forms.option_labels(["tags", "delay", "time"])
    assert labels == {
        "queue": "Queue", "priority": "Priority", "tags": "Marks", "delay": "Start later", "timeout": "Stop after",
        "max_attempts": "Attempts",
    }  # fmt: skip


def test_options_are_what_a_submission_takes() -> None:
    typed = {"queue": " fast ", "priority": "5", "tags": "a, ,b", "delay": "1.5", "timeout": "60", "max_attempts": "2"}
    found = forms.options({forms.option(name): [text] for name, text in typed.items()})
    assert found == {"queue": "fast", "priority": 5, "tags": ["a", "b"], "delay": 1.5, "timeout": 60, "max_attempts": 2}
    assert forms.options({"option:queue": [""]}) == {}

"""Forms from JSON Schema: which field each parameter gets, and what a filled-in form stands for."""

import enum
import json
from datetime import UTC, date, datetime
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from jalebi import Jalebi
from jalebi.context import Upload
from jalebi.kinds import Kind
from jalebi.web import forms


class Colour(enum.Enum):
    RED = "red"
    TWO = 2


class Address(BaseModel):
    street: str
    city: str = "Jodhpur"


def kind_of(annotation: Any, default: Any = ...) -> Kind:
    async def one(value: Any) -> None:
        """Take one value."""

    one.__annotations__ = {"value": annotation}
    if default is not ...:
        one.__defaults__ = (default,)
    shop = Jalebi(database_url="sqlite://")
    shop.job(name="one")(one)
    return shop.kinds.named("one")


def field_of(annotation: Any, default: Any = ...) -> forms.Field:
    return forms.fields(kind_of(annotation, default).args_schema)[0]


@pytest.mark.parametrize(
    ("annotation", "default", "widget"),
    [
        (str, ..., "text"),
        (Annotated[str, Field(max_length=5000)], ..., "textarea"),
        (str, "two\nlines", "textarea"),
        (int, 3, "number"),
        (float, ..., "number"),
        (bool, False, "checkbox"),
        (bool | None, None, "select"),
        (Colour, Colour.RED, "select"),
        (Literal["a"], "a", "select"),
        (Literal["small", "large"], ..., "select"),
        (date, ..., "date"),
        (datetime, ..., "date"),
        (datetime, datetime(2026, 1, 2, tzinfo=UTC), "text"),
        (list[int], ..., "list"),
        (set[str], ..., "list"),
        (list[Literal["s", "m"]], ["s"], "multiple"),
        (list[Address], ..., "json"),
        (tuple[int, str], ..., "json"),
        (Address, ..., "json"),
        (Address | None, None, "json"),
        (dict[str, int], ..., "json"),
        (Any, None, "json"),
        (int | str, 3, "text"),
        (int | Address, 3, "json"),
        (Upload, ..., "file"),
        (Upload | None, None, "file"),
    ],
)
def test_each_type_gets_its_field(annotation: Any, default: Any, widget: str) -> None:
    assert field_of(annotation, default).widget == widget


def test_limits_of_the_schema_become_limits_of_the_field() -> None:
    assert dict(field_of(Annotated[int, Field(gt=0, le=9)]).attributes) == {"min": 1, "max": 9, "step": 1}
    assert dict(field_of(Annotated[float, Field(ge=0.5)]).attributes) == {"min": 0.5, "max": None, "step": "any"}
    assert field_of(Annotated[str, Field(min_length=2, max_length=4)]).attributes["maxlength"] == 4


def test_descriptions_defaults_and_duty_are_kept() -> None:
    found = field_of(Annotated[int, Field(description="How many")], 20)
    assert (found.help, found.shown, found.required, found.nullable) == ("How many", "20", False, False)
    assert field_of(int).required


@pytest.mark.parametrize(
    ("annotation", "default", "typed", "value"),
    [
        (str, ..., "x\r\ny", "x\ny"),
        (str, ..., "", forms.ABSENT),
        (str, "default", "", ""),
        (int, 3, "", forms.ABSENT),
        (int, ..., " 42 ", 42),
        (int, ..., "4.5", "4.5"),
        (float, ..., "1e3", 1000.0),
        (float, ..., "7", 7),
        (float, ..., "nan", "nan"),
        (float, ..., "1e999", "1e999"),
        (int | None, 3, "", None),
        (int | None, None, "", forms.ABSENT),
        (int | None, None, "5", 5),
        (str | None, "x", "", None),
        (Colour, Colour.RED, "2", 2),
        (Colour, Colour.RED, "red", "red"),
        (bool | None, None, "true", True),
        (bool | None, None, "", forms.ABSENT),
        (date, ..., "2026-01-02", "2026-01-02"),
        (list[int], ..., "1\r\n\r\n 2\r\n", [1, 2]),
        (list[int], [1], "", []),
        (list[bool], ..., "true\nfalse", [True, False]),
        (Address, ..., '{"street": "Main"}', {"street": "Main"}),
        (Any, None, "[1, 2]", [1, 2]),
        (int | str, 3, "5", 5),
        (int | str, 3, "five", "five"),
    ],
)
def test_what_is_typed_becomes_a_value(annotation: Any, default: Any, typed: str, value: Any) -> None:
    read = field_of(annotation, default).read([typed])
    assert read == value
    assert type(read) is type(value)


def test_a_checkbox_that_is_not_sent_is_false() -> None:
    assert field_of(bool, True).read([]) is False
    assert field_of(bool, False).read(["true"]) is True


@pytest.mark.parametrize("typed", ['{"street": ', "NaN", "[" * 100_000, "plain"])
def test_what_is_no_json_is_told_beside_its_field(typed: str) -> None:
    filled = forms.read([field_of(Address)], {"value": [typed]})
    assert "not JSON" in filled.wrong["value"]
    assert filled.args == {}


DEFAULTS = st.one_of(
    st.tuples(st.just(int), st.integers()),
    st.tuples(st.just(float), st.floats(allow_nan=False, allow_infinity=False)),
    st.tuples(st.just(bool), st.booleans()),
    st.tuples(st.just(str), st.text(st.characters(exclude_categories=["C"]))),
    st.tuples(st.just(list[int]), st.lists(st.integers())),
    st.tuples(
        st.just(dict[str, int]), st.dictionaries(st.text(st.characters(exclude_categories=["C"])), st.integers())
    ),
    st.tuples(st.just(Address), st.builds(Address, street=st.text(st.characters(exclude_categories=["C"])))),
)


@given(DEFAULTS)
def test_a_form_sent_as_it_was_shown_stands_for_the_defaults(case: tuple[Any, Any]) -> None:
    annotation, default = case
    kind = kind_of(annotation, default)
    [field] = forms.fields(kind.args_schema)
    sent = ["true"] if default is True else [] if default is False else [str(field.shown).replace("\n", "\r\n")]
    filled = forms.read([field], {"value": sent})
    assert filled.wrong == {}
    assert json.loads(kind.validate(filled.args)) == json.loads(kind.validate({}))


def test_errors_are_parted_by_field() -> None:
    errors = [
        {"pointer": "/args/address/street", "detail": "is missing"},
        {"pointer": "/args/pages", "detail": "is too big"},
        {"pointer": "/args/pages", "detail": "is odd"},
        {"pointer": "/tags/0", "detail": "is too long"},
        {"pointer": "/args/a~1b", "detail": "is strange"},
        {"pointer": "", "detail": "the whole is wrong"},
    ]
    found, others = forms.beside(errors, ["address", "pages", "a/b", "option:tags"])
    assert found == {
        "address": "street: is missing",
        "pages": "is too big is odd",
        "option:tags": "0: is too long",
        "a/b": "is strange",
    }
    assert others == ["the whole is wrong"]


def test_no_label_of_an_option_can_be_taken_for_a_parameter() -> None:
    labels = forms.option_labels([forms.Field("tags", "text"), forms.Field("delay", "number")])
    assert labels == {"queue": "Queue", "priority": "Priority", "tags": "Marks", "delay": "Start later"}


def test_options_are_what_a_submission_takes() -> None:
    typed = {"option:queue": [" fast "], "option:priority": ["5"], "option:tags": ["a, ,b"], "option:delay": ["1.5"]}
    assert forms.options(typed) == {"queue": "fast", "priority": 5, "tags": ["a", "b"], "delay": 1.5}
    assert forms.options({"option:queue": [""]}) == {}


def test_a_schema_that_refers_to_itself_is_shown_as_json() -> None:
    loop = {"$defs": {"A": {"$ref": "#/$defs/A"}}, "properties": {"value": {"$ref": "#/$defs/A"}}}
    assert forms.fields(loop)[0].widget == "json"

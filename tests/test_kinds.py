import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, Field

from jalebi import Jalebi, JobContext, Upload
from jalebi.errors import KindError, UnknownKind, ValidationFailed
from jalebi.kinds import Kind, Result
from tests.targets import kinds as targets


def kind(function: Callable[..., Any], **options: Any) -> Kind:
    shop = Jalebi()
    shop.job(**options)(function)
    return shop.kinds.of(function)


def refused(one: Kind, args: Any) -> list[tuple[str, str]]:
    with pytest.raises(ValidationFailed) as caught:
        one.validate(args)
    return [(error["pointer"], error["detail"]) for error in caught.value.errors]


def test_a_kind_has_the_contracts_defaults() -> None:
    made = kind(targets.echo)
    assert made.name == "echo"
    assert made.description == "Return what was given."
    assert made.options == {
        "queue": "default",
        "priority": 0,
        "timeout": 900.0,
        "max_attempts": 3,
        "backoff": 2.0,
        "isolation": "loop",
        "max_running": None,
        "rate_limit": None,
        "capture": False,
        "on_stall": "mark",
    }
    assert kind(targets.process_steps).isolation == "process"
    assert kind(targets.process_steps, isolation="thread").isolation == "thread"


def test_the_decorator_leaves_the_function_as_it_is() -> None:
    shop = Jalebi()
    assert shop.job(targets.echo) is targets.echo
    assert shop.job(name="again")(targets.echo) is targets.echo


def test_a_context_is_given_only_to_a_first_parameter_annotated_so() -> None:
    assert kind(targets.steps).takes_context
    assert not kind(targets.echo).takes_context
    assert "ctx" not in kind(targets.steps).args_schema["properties"]


def test_annotations_may_be_texts() -> None:
    def later(ctx: "JobContext", n: "int") -> None: ...

    made = kind(later)
    assert made.takes_context
    assert made.args_schema["properties"]["n"]["type"] == "integer"


def test_args_are_validated_and_defaults_filled_in() -> None:
    made = kind(targets.typed)
    stored = json.loads(made.validate({"title": "Q3", "colour": "green", "address": {"street": "Main"}}))
    assert stored == {
        "title": "Q3",
        "pages": 20,
        "colour": "green",
        "size": "small",
        "tags": None,
        "address": {"street": "Main", "city": "Jodhpur"},
        "draft": False,
    }
    loaded = made.load(json.dumps(stored))
    assert loaded["colour"] is targets.Colour.GREEN
    assert isinstance(loaded["address"], targets.Address)


@pytest.mark.parametrize(
    ("args", "pointer"),
    [
        ({}, "/args/title"),
        ({"title": ""}, "/args/title"),
        ({"title": "a", "pages": 0}, "/args/pages"),
        ({"title": "a", "pages": "7"}, "/args/pages"),
        ({"title": "a", "pages": 1.5}, "/args/pages"),
        ({"title": "a", "pages": True}, "/args/pages"),
        ({"title": "a", "colour": "blue"}, "/args/colour"),
        ({"title": "a", "size": "huge"}, "/args/size"),
        ({"title": "a", "tags": ["x", 1]}, "/args/tags/1"),
        ({"title": "a", "address": {}}, "/args/address/street"),
        ({"title": "a", "more": 1}, "/args/more"),
        ({"title": "a", "a/b~c": 1}, "/args/a~1b~0c"),
    ],
)
def test_a_wrong_arg_is_named_by_its_pointer(args: dict[str, Any], pointer: str) -> None:
    assert pointer in [where for where, _ in refused(kind(targets.typed), args)]


def test_python_values_are_args_too() -> None:
    def file_away(day: date, note: Any = None) -> None: ...

    assert kind(file_away).validate({"day": date(2026, 1, 31)}) == '{"day":"2026-01-31","note":null}'
    assert refused(kind(file_away), {"day": object()})[0][0] == "/args"
    assert refused(kind(file_away), {"day": date(2026, 1, 31), "note": [float("nan")]})[0][0] == "/args"
    assert kind(file_away).validate({"day": date(2026, 1, 31), "note": "NaN"}) == '{"day":"2026-01-31","note":"NaN"}'
    assert refused(kind(file_away), {"day": "soon"})[0][0] == "/args/day"


def test_extra_args_go_to_a_function_that_takes_any() -> None:
    def anything(**more: Any) -> None: ...

    made = kind(anything)
    assert made.load(made.validate({"a": 1, "b": [2]})) == {"a": 1, "b": [2]}


def test_descriptions_and_bounds_are_in_the_schema() -> None:
    properties = kind(targets.typed).args_schema["properties"]
    assert properties["title"]["description"] == "What it is called"
    assert (properties["pages"]["minimum"], properties["pages"]["maximum"]) == (1, 500)
    assert kind(targets.typed).args_schema["required"] == ["title"]


def test_an_upload_is_marked_in_the_schema() -> None:
    def read(archive: Upload, other: Upload | None = None, plain: str = "") -> None: ...

    made = kind(read)
    assert made.upload_fields == ("archive", "other")
    assert refused(made, {"archive": "../../etc/passwd"})[0][0] == "/args/archive"


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"name": "a b"}, "its name may hold"),
        ({"isolation": "container"}, "isolation must be one of"),
        ({"isolation": "loop"}, "needs an async def"),
        ({"timeout": 0}, "timeout"),
        ({"max_attempts": 0}, "max_attempts"),
        ({"backoff": -1}, "backoff"),
        ({"max_running": 0}, "max_running"),
        ({"rate_limit": "5 per second"}, "rate_limit"),
    ],
)
def test_an_option_that_can_not_be_is_one_sentence(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(KindError, match=sentence):
        kind(targets.process_steps, **options)


def test_parameters_without_names_and_names_taken_are_refused() -> None:
    def unnamed(*values: int) -> None: ...

    with pytest.raises(KindError, match="must have names"):
        kind(unnamed)
    shop = Jalebi()
    shop.job(targets.echo)
    with pytest.raises(KindError, match="two kinds named 'echo'"):
        shop.job(targets.echo)
    with pytest.raises(UnknownKind):
        shop.kinds.named("nothing")


@pytest.mark.parametrize("name", ["model_dump", "json", "schema", "validate", "copy", "class_"])
def test_a_parameter_may_have_any_name(name: str) -> None:
    space: dict[str, Any] = {}
    exec(f"def named({name}: int = 1) -> None: ...", space)
    made = kind(space["named"])
    assert made.load(made.validate({name: 5})) == {name: 5}


class Point(BaseModel):
    x: int


@dataclass
class Pair:
    a: int
    b: Annotated[int, Field(ge=0)]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        ({"a": [1, 2.5, "ü"]}, '{"a":[1,2.5,"ü"]}'),
        (Point(x=1), '{"x":1}'),
        (Pair(1, 2), '{"a":1,"b":2}'),
        (date(2026, 1, 31), '"2026-01-31"'),
        ((1, 2), "[1,2]"),
    ],
)
def test_a_result_is_written_as_json(value: Any, text: str) -> None:
    assert Result.dump(value, 1000) == text


def loop() -> list[Any]:
    made: list[Any] = []
    made.append(made)
    return made


@pytest.mark.parametrize(
    "value",
    [float("nan"), [1, {"a": float("inf")}], object(), b"\xff", "\ud800", {1, "a"} and object, loop(), "x" * 2000],
)
def test_a_result_that_is_not_json_or_too_long_says_what_to_do(value: Any) -> None:
    with pytest.raises(ValueError, match=r"ctx\.attach"):
        Result.dump(value, 1000)

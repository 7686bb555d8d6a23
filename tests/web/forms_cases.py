"""Annotations of every sort with values for them: what a kind may ask for, and what a form has to be able to say."""

import dataclasses
import decimal
import enum
import ipaddress
import pathlib
import uuid
from datetime import date, datetime, time, timedelta, timezone
from typing import Annotated, Any, Literal, NamedTuple, Union

from pydantic import AnyUrl, Base64Bytes, BaseModel, ByteSize, ConfigDict, Field, RootModel, StringConstraints
from typing_extensions import TypedDict

ZONE = timezone(timedelta(hours=5, minutes=30))


class Colour(enum.Enum):
    RED = "red"
    TWO = 2


class Size(enum.IntEnum):
    S = 1
    M = 2


class Letter(enum.Enum):
    A = "a"
    B = "b"
    C = "c"
    D = "d"
    E = "e"


class Address(BaseModel):
    street: str
    city: str = "Jodhpur"
    floor: int | None = None


class House(BaseModel):
    address: Address
    rooms: list[Address] = []
    open: bool = False


class Made(BaseModel):
    tags: list[str] = Field(default_factory=lambda: ["x"])
    at: int = Field(default_factory=lambda: 7)
    fresh: bool = Field(default_factory=lambda: True)
    where: Address = Field(default_factory=lambda: Address(street="s"))


class Tree(BaseModel):
    name: str
    kids: list["Tree"] = []


class Chain(BaseModel):
    value: int
    next: Union["Chain", None] = None


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: int = 9


class Dog(BaseModel):
    kind: Literal["dog"] = "dog"
    bark: str = "wuff"


class Sum(BaseModel):
    left: Union["Sum", int]
    right: Union["Sum", int]


class Open(BaseModel):
    model_config = ConfigDict(extra="allow")
    known: int = 1


class Shut(BaseModel):
    model_config = ConfigDict(extra="forbid")
    known: int = 1


class Renamed(BaseModel):
    number: int = Field(alias="theNumber")


class Numbers(RootModel[list[int]]):
    pass


class Sparse(TypedDict, total=False):
    a: int
    b: str


@dataclasses.dataclass
class Point:
    x: int
    y: str = "q"


class Pair(NamedTuple):
    x: int
    y: str = "q"


class Strange(BaseModel):
    dotted: int = Field(alias="a.b")
    slashed: str = Field(alias="x/y")
    tilde: str = Field(alias="~1:use")
    snow: list[Address] = Field(alias="ü ☃ <b>")
    proto: str = Field(alias="__proto__")
    maker: str = Field(alias="constructor")


Pet = Annotated[Cat | Dog, Field(discriminator="kind")]
HOME = {"street": "1 Main", "city": "Pali", "floor": 3}

#: An annotation, and the values that a form has to be able to say.
CASES: list[tuple[Any, list[Any]]] = [
    (str, ["x", "two\nlines", " spaces ", "\ttab", 'quotes "\'<&>', "ü☃😀", "null", "", "\r", "\x01", "x" * 5000]),
    (Annotated[str, Field(min_length=2, max_length=4)], ["abc"]),
    (Annotated[str, Field(max_length=5000)], ["a\nb"]),
    (Annotated[str, StringConstraints(pattern="^a+$")], ["aaa"]),
    (str | None, ["x", None, ""]),
    (int, [0, -5, 2**53 + 1, 2**63 - 1]),
    (Annotated[int, Field(gt=0, le=50, multiple_of=5, title="Steps", examples=[5], deprecated=True)], [5, 50]),
    (int | None, [1, None]),
    (float, [0.5, 1e-9, 1e300, 7.0, 7, -0.25]),
    (Annotated[float, Field(gt=0, lt=1, multiple_of=0.25)], [0.25]),
    (bool, [True, False]),
    (bool | None, [True, False, None]),
    (None, [None]),
    (Literal["only"], ["only"]),
    (Literal["a", 1, True, None, "1", "null", ""], ["a", 1, True, None, "1", "null", ""]),
    (Literal["a", "b"] | None, ["a", None]),
    (Literal["auto"] | int, ["auto", 5]),
    (Colour, ["red", 2]),
    (Letter, ["e"]),
    (Size, [1, 2]),
    (int | str, [5, "five", "5"]),
    (int | float | bool | None, [5, 5.5, True, None]),
    (date, ["2026-01-02"]),
    (time, ["10:00:00", "10:00:00.250000", "10:00:00Z"]),
    (datetime, ["2026-01-02T10:00:00Z", "2026-01-02T10:00:00+05:30", "2026-01-02T10:00:00"]),
    (datetime, ["2026-01-02T10:00:00.123456Z", "2026-01-02T10:00:00.5Z"]),
    (datetime | date, ["2026-01-02", "2026-01-02T10:00:00Z"]),
    (timedelta, ["PT1H30M", "P2D"]),
    (uuid.UUID, ["123e4567-e89b-12d3-a456-426614174000"]),
    (AnyUrl, ["https://example.com/a?b=c"]),
    (ipaddress.IPv4Address, ["192.0.2.7"]),
    (bytes, ["abc"]),
    (Base64Bytes, ["YWJj\n", "YWJj"]),
    (decimal.Decimal, ["1.10", "12345678901234567890.123456789"]),
    (Annotated[decimal.Decimal, Field(ge=0, max_digits=5, decimal_places=2)], ["1.10"]),
    (ByteSize, [5, "5 MB"]),
    (pathlib.Path, ["/tmp/x"]),
    (list[str], [["a", "b"], [], ["a\nb"], ["", "x"], [" "]]),
    (list[int], [[1, 2], []]),
    (Annotated[list[int], Field(min_length=1, max_length=3)], [[1]]),
    (list[int | None], [[1, None]]),
    (list[str | None], [["a", None], ["null"]]),
    (list[int | str], [[1, "a"], ["1"]]),
    (list[bool], [[True, False]]),
    (list[float] | None, [[0.5], None, []]),
    (list[Literal["s", "m", "l"]], [["s", "l"], [], ["l", "s"], ["s", "s"]]),
    (list[Colour], [["red", 2]]),
    (list[list[int]], [[[1], [], [2, 3]]]),
    (list[Any], [[1, "a", None, {"x": []}]]),
    (list, [[1, {}]]),
    (set[int], [[1, 2]]),
    (frozenset[Literal["a", "b"]], [["b", "a"], ["a"]]),
    (tuple[int, str], [[1, "a"]]),
    (tuple[int, ...], [[1, 2, 3]]),
    (tuple[()], [[]]),
    (tuple[Address, int | None], [[HOME, None]]),
    (Pair, [[1, "a"]]),
    (Point, [{"x": 1, "y": "a"}]),
    (Sparse, [{"a": 1}, {}, {"a": 1, "b": "x"}]),
    (Address, [HOME, {"street": "x", "city": "", "floor": None}]),
    (Address | None, [HOME, None]),
    (House, [{"address": HOME, "rooms": [HOME, {**HOME, "floor": None}], "open": True}]),
    (Made, [{"tags": [], "at": 1, "fresh": False, "where": HOME}]),
    (Made, [{"tags": ["b"], "at": 7, "fresh": True, "where": HOME}]),
    (list[Address], [[], [HOME], [HOME, {**HOME, "city": "x"}]]),
    (list[Address] | None, [None, [], [HOME]]),
    (list[Address | None], [[HOME, None]]),
    (list[Pet], [[{"kind": "cat", "lives": 3}, {"kind": "dog", "bark": "x"}]]),
    (dict[str, int], [{}, {"a": 1, "ü.☃/": 2}, {"": 1}]),
    (dict[int, str], [{"1": "a"}]),
    (dict[str, Any], [{"a": [1, None], "b": "text", "c": None}]),
    (dict[str, Address], [{"home": HOME}]),
    (dict[str, list[Address]], [{"all": [HOME]}]),
    (dict[Literal["a", "b"], int], [{"a": 1}]),
    (dict[Annotated[str, Field(pattern="^x")], int], [{"xa": 1}]),
    (dict, [{"a": {"b": []}}]),
    (dict[str, int] | None, [None, {"a": 1}]),
    (Any, [None, 1, "x", [], {"a": 1}]),
    (object, ["x", [1]]),
    (Pet, [{"kind": "cat", "lives": 3}, {"kind": "dog", "bark": "x"}]),
    (Pet | None, [None, {"kind": "dog", "bark": "x"}]),
    (Cat | Address, [{"kind": "cat", "lives": 1}, HOME]),
    (Cat | int | list[str], [{"kind": "cat", "lives": 1}, 5, ["a"], []]),
    (list[int] | dict[str, int], [[1], {"a": 1}]),
    (Sum, [{"left": 1, "right": {"left": 2, "right": {"left": {"left": 4, "right": 3}, "right": 5}}}]),
    (Tree, [{"name": "a", "kids": [{"name": "b", "kids": [{"name": "c", "kids": [{"name": "d", "kids": []}]}]}]}]),
    (Chain, [{"value": 1, "next": {"value": 2, "next": {"value": 3, "next": {"value": 4, "next": None}}}}]),
    (Open, [{"known": 2, "other": [1], "more": "x"}, {"known": 1}]),
    (Shut, [{"known": 2}]),
    (Renamed, [{"theNumber": 2}]),
    (Numbers, [[1, 2]]),
    (Strange, [{"a.b": 1, "x/y": "s", "~1:use": "t", "ü ☃ <b>": [HOME], "__proto__": "p", "constructor": "c"}]),
]  # fmt: skip

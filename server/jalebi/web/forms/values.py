"""Values in forms: how a JSON value is written into a field, and how what was typed is read."""

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from jalebi.errors import MalformedRequest
from jalebi.web import json as strict


class Unreadable(ValueError):
    """What was typed into a field can't be made a value; the message says why."""


class Absent:
    """Stands for a field that was left empty, so that the default counts."""

    def __repr__(self) -> str:
        return "ABSENT"


ABSENT: Final = Absent()
_WHOLE: Final = re.compile(r"[+-]?\d{1,300}", re.ASCII)
_SECONDS: Final = re.compile(r"([+-]?)(\d{1,15}(?:\.\d{1,6})?)", re.ASCII)


def label(value: Any) -> str:
    """Return a choice as it is shown and sent."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def labels(choices: Iterable[Any]) -> list[str]:
    """Return how choices are shown and sent; a text that looks like another choice is put in quotes."""
    found = list(choices)
    plain = [label(one) for one in found]
    return [
        json.dumps(one, ensure_ascii=False) if isinstance(one, str) and (not one or plain.count(one) > 1) else text
        for one, text in zip(found, plain, strict=True)
    ]


def same(one: Any, other: Any) -> bool:
    """Whether two values are the same JSON: 1 is not 1.0, nor true."""
    if one is ABSENT or other is ABSENT:
        return one is other
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


def parse(text: str) -> Any:
    """Return the value in a JSON text, as strictly as the API takes it. Raises Unreadable."""
    try:
        return strict.parse(text.encode("utf-8", "surrogatepass"))
    except MalformedRequest as error:
        detail = error.detail.replace("The body is not JSON: ", "").replace("The JSON", "it")
        raise Unreadable(f"This is not JSON: {detail}") from None


def dump(value: Any) -> str:
    """Return a value as JSON for people; what a page can't hold is escaped."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    return text if shows(text) else json.dumps(value, indent=2)


def shows(text: str) -> bool:
    """Whether a page can hold a text, and a field gives it back as it was."""
    return not any(
        (char < " " and char not in "\n\t") or "\x7f" <= char <= "\x9f" or "\ud800" <= char <= "\udfff" for char in text
    )


def scalar(kinds: Sequence[str], text: str) -> Any:
    """Return a text as a value of one of these JSON types; as text where it is of none, for the check to say so."""
    bare = text.strip()
    if "integer" in kinds and re.fullmatch(r"[+-]?\d{1,4000}", bare, re.ASCII):
        return int(bare)
    if "number" in kinds:
        try:
            value = float(bare)
        except ValueError:
            pass
        else:
            if math.isfinite(value):
                return int(bare) if _WHOLE.fullmatch(bare) else value
    if "boolean" in kinds and bare.lower() in {"true", "false"}:
        return bare.lower() == "true"
    if "null" in kinds and bare == "null":
        return None
    return text


def duration(text: str) -> str:
    """Return a time span as ISO 8601; plain seconds are taken too."""
    match = _SECONDS.fullmatch(text.strip())
    return f"{'-' if match[1] == '-' else ''}PT{match[2]}S" if match else text.strip()


def plain(value: Any) -> bool:
    """Whether JSON has the value: not NaN, no infinity."""
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, Mapping):
        return all(plain(one) for one in value.values())
    return all(plain(one) for one in value) if isinstance(value, list | tuple) else True

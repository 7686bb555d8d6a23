"""Reads JSON strictly: what SQLite, PostgreSQL and every JSON reader would not all take alike is refused."""

import json
import math
from typing import Any, Final

from jalebi.errors import MalformedRequest

MAX_DEPTH: Final = 32
MAX_NODES: Final = 10_000
_MOST: Final = 2**63 - 1


def parse(body: bytes, most: int = MAX_NODES) -> Any:
    """Return the value in a JSON text (RFC 8259, UTF-8 without a mark).

    Raises MalformedRequest for NaN, infinities, numbers out of range, lone surrogates, NUL, duplicate names, nesting
    over 32, and more than `most` values.
    """
    try:
        value = _decoder.decode(body.decode("utf-8"))
    except UnicodeDecodeError:
        raise MalformedRequest("The body is not UTF-8.") from None
    except RecursionError:
        raise MalformedRequest(f"The JSON is nested deeper than {MAX_DEPTH}.") from None
    except json.JSONDecodeError as error:
        raise MalformedRequest(f"The body is not JSON: {error.msg} at character {error.pos}.") from None
    # What can only come by an escape, and what a short text has no room for, is not looked for.
    if b"\\u" in body or len(body) > most or body.count(b"{") + body.count(b"[") > MAX_DEPTH or b"\0" in body:
        _check(value, most)
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise MalformedRequest(f"The JSON has the name {twice!a} twice in one object.")
    return found


def _constant(name: str) -> Any:
    raise MalformedRequest(f"The JSON has {name}, which is not a JSON value.")


def _float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise MalformedRequest("The JSON has a number that is too large.")
    return value


def _int(text: str) -> int:
    if len(text) > 20 or abs(value := int(text)) > _MOST:
        raise MalformedRequest("The JSON has a whole number outside of 64 bits.")
    return value


_decoder: Final = json.JSONDecoder(
    object_pairs_hook=_object, parse_constant=_constant, parse_float=_float, parse_int=_int
)


def _check(value: Any, most: int) -> None:
    level, nodes, depth = [value], 0, 0
    while level:
        nodes += len(level)
        if nodes > most:
            raise MalformedRequest(f"The JSON has more than {most} values.")
        depth += 1
        if depth > MAX_DEPTH and any(type(item) in {dict, list} for item in level):
            raise MalformedRequest(f"The JSON is nested deeper than {MAX_DEPTH}.")
        following: list[Any] = []
        for item in level:
            if type(item) is str:
                _check_text(item)
            elif type(item) is dict:
                for name in item:
                    _check_text(name)
                following.extend(item.values())
            elif type(item) is list:
                following.extend(item)
        level = following


def _check_text(text: str) -> None:
    if text.isascii():
        if "\0" in text:
            raise MalformedRequest("The JSON has a NUL character in a text.")
        return
    if "\0" in text or any("\ud800" <= char <= "\udfff" for char in text):
        raise MalformedRequest("The JSON has a text with a NUL character or half a surrogate pair.")


def canonical(value: Any) -> bytes:
    """Return a parsed value as JSON in which only its meaning counts, as in RFC 8785: 1.0 is 1, names are in order."""
    return json.dumps(_plain(value), sort_keys=True, separators=(",", ":")).encode()


def _plain(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, list) else value

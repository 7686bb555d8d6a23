"""Makes the fields of a form: from a schema and a value to show, or from what was typed."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from jalebi.errors import ValidationFailed
from jalebi.web.forms import values
from jalebi.web.forms.composed import Group, Places, Row, Rows, Variants
from jalebi.web.forms.fitting import best
from jalebi.web.forms.nodes import Leaf, Many, Node
from jalebi.web.forms.schema import resolve
from jalebi.web.forms.specs import Spec
from jalebi.web.forms.values import ABSENT

#: Rows of one list, and fields of one form: what goes beyond is asked for as JSON.
MOST_ROWS: Final = 100
MOST_FIELDS: Final = 500
#: Fields that a form may come back with.
MOST_TYPED: Final = 4000

_LONGEST: Final = 500
_DEEPEST: Final = 40

Typed = Mapping[str, list[str]]


def segment(name: str) -> str:
    """Return a property's name as a part of a field's name; as in a JSON Pointer, and without a colon."""
    return name.replace("~", "~0").replace("/", "~1").replace(":", "~2")


def _starts(name: str) -> Iterator[str]:
    """Return what a field's name begins with: the names of all that it is inside of; of a name no form has, nothing."""
    places = [index for index, char in enumerate(name[:_LONGEST]) if char in "/:"]
    return (name[:index] for index in (places if len(places) <= _DEEPEST else ()))


class Builder:
    """Makes one form. What was typed decides what there is, where there is something typed; else the values do."""

    def __init__(self, typed: Typed | None = None) -> None:
        self._typed = typed
        self._made = 0
        self._begun = {start for name in typed or () for start in _starts(name)}

    def node(self, spec: Spec, name: str, label: str, value: Any = ABSENT, *, inside: bool = True) -> Node:
        """Return the field, or the fields, of a place."""
        self._made += 1
        if self._typed is not None:
            if self._made > MOST_TYPED:
                detail = f"The form has more than {MOST_TYPED} fields. Write the args as JSON."
                raise ValidationFailed([{"pointer": "", "detail": detail}])
            # A composed place comes as JSON where its own name is there; its fields' names are longer.
            as_json = name in self._typed or (self._made > MOST_FIELDS and name not in self._begun)
            if not spec.composed or (inside and as_json):
                return self._leaf(spec, name, label, value, spec.composed)
            return self._many(spec, name, label, ABSENT)
        if value is ABSENT:
            value = spec.default
        if not spec.composed:
            return self._leaf(spec, name, label, value)
        if inside and (self._made > MOST_FIELDS or not _holds(spec, value)):
            return self._leaf(spec, name, label, value, True)
        made = self._many(spec, name, label, value)
        if value is None and inside and made.read() is not None and spec.default is not None:
            return self._leaf(spec, name, label, value, True)
        return made

    def _leaf(self, spec: Spec, name: str, label: str, value: Any, as_json: bool = False) -> Leaf:
        made = Leaf(spec, name, label, how="json" if as_json else "")
        if self._typed is None:
            if not as_json:
                made.show(value)
            elif value is not ABSENT:
                made.texts = [values.dump(value)]
            return made
        how = (self._typed.get(f"{name}:as") or [""])[-1]
        made.how = made.how or (how if how in {"json", "text", "textarea"} else "")
        made.texts = self._typed.get(name, [])[:]
        made.zone = (self._typed.get(f"{name}:zone") or [""])[-1]
        return made

    def _many(self, spec: Spec, name: str, label: str, value: Any) -> Many:
        used = value is not None and not (spec.optional and value is ABSENT)
        if self._typed is not None:
            used = f"{name}:use" in self._typed or name == ""
        match spec.widget:
            case "group":
                return self._group(spec, name, label, value, used)
            case "tuple":
                return self._places(spec, name, label, value, used)
            case "union":
                return self._variants(spec, name, label, value)
        return self._rows(spec, name, label, value, used)

    def _group(self, spec: Spec, name: str, label: str, value: Any, used: bool) -> Group:
        made = Group(spec, name, label, used=used)
        given = value if isinstance(value, dict) else {}
        required = set(spec.part.get("required", ()))
        firm = spec.firm and not spec.optional
        for key, part in spec.part.get("properties", {}).items():
            inner = spec.inner(part, key, required=key in required, firm=firm)
            own = f"{name}/{segment(key)}" if name else segment(key)
            made.inner.append(self.node(inner, own, key, given.get(key, ABSENT)))
        if spec.part.get("additionalProperties") or spec.part.get("patternProperties"):
            others = {key: one for key, one in given.items() if key not in spec.part.get("properties", {})}
            made.more = self._rows(spec, f"{name}:more", "more", others, True)
        return made

    def _places(self, spec: Spec, name: str, label: str, value: Any, used: bool) -> Places:
        made = Places(spec, name, label, used=used)
        given = value if isinstance(value, list) else []
        parts = spec.part["prefixItems"]
        least = spec.part.get("minItems", len(parts))
        for index, part in enumerate(parts):
            title = str(resolve(part, spec.root)[0].get("title", "")) or str(index + 1)
            firm = spec.firm and not spec.optional
            inner = spec.inner(part, title, required=index < least, firm=firm)
            made.inner.append(
                self.node(inner, f"{name}/{index}", title, given[index] if index < len(given) else ABSENT)
            )
        return made

    def _variants(self, spec: Spec, name: str, label: str, value: Any) -> Variants:
        made = Variants(spec, name, label)
        if self._typed is not None:
            chosen = (self._typed.get(f"{name}:variant") or [""])[-1]
            known = chosen.isdecimal() and len(chosen) < 4 and int(chosen) < len(spec.branches)
            made.chosen = int(chosen) if known else None
        elif value is not ABSENT and value is not None:
            made.chosen = best(spec, value)
        for index, branch in enumerate(spec.branches):
            inner = spec.inner(branch, "", required=True, firm=False)
            given = value if index == made.chosen else ABSENT
            made.inner.append(self.node(inner, f"{name}:{index}", _called(branch, spec, index), given))
        return made

    def _rows(self, spec: Spec, name: str, label: str, value: Any, used: bool) -> Rows:
        made = Rows(spec, name, label, used=used)
        part = _of_rows(spec)
        given: list[tuple[str, Any]] = []
        if isinstance(value, dict):
            given = list(value.items())
        elif isinstance(value, list):
            given = [("", one) for one in value]
        elif self._typed is None:
            given = [("", ABSENT)] * min(int(spec.part.get("minItems", 0)), MOST_ROWS)
        numbers = list(range(len(given)))
        if self._typed is not None:
            found = [one for one in self._typed.get(f"{name}:row", []) if one.isdecimal() and len(one) < 7]
            numbers = list(dict.fromkeys(map(int, found)))
            given = [((self._typed.get(f"{name}/{one}:key") or [""])[-1], ABSENT) for one in numbers]
            if len(numbers) > MOST_ROWS:
                detail = f"{label}: the form takes {MOST_ROWS} rows at most. Write the args as JSON."
                raise ValidationFailed([{"pointer": "", "detail": detail}])
        for number, (key, one) in zip(numbers, given, strict=True):
            made.rows.append(self.row(made, part, number, key, one))
        return made

    def row(self, rows: Rows, part: Any, number: int, key: str = "", value: Any = ABSENT) -> Row:
        """Return one row."""
        inner = rows.spec.inner(part, "", required=True, firm=rows.spec.firm and not rows.spec.optional)
        own = "value" if rows.keyed else str(number + 1)
        return Row(number, self.node(inner, f"{rows.name}/{number}", own, value), key)

    def add(self, rows: Rows) -> Row:
        """Add an empty row."""
        fresh = Builder()
        made = fresh.row(rows, _of_rows(rows.spec), max((row.number for row in rows.rows), default=-1) + 1)
        rows.rows.append(made)
        rows.used = True
        return made


def _of_rows(spec: Spec) -> Any:
    part = spec.part
    if spec.widget == "rows":
        return part.get("items", {})
    by_pattern = part.get("patternProperties") or {}
    found: Any = part.get("additionalProperties") or next(iter(by_pattern.values()), {})
    return {} if found is True else found


def _holds(spec: Spec, value: Any) -> bool:
    """Whether fields can hold a value."""
    if value is ABSENT or value is None:
        return True
    match spec.widget:
        case "group":
            return isinstance(value, dict) and len(value) <= MOST_ROWS + len(spec.part.get("properties", ()))
        case "map":
            short = isinstance(value, dict) and len(value) <= MOST_ROWS
            return short and all(key and values.shows(key) and "\n" not in key for key in value)
        case "tuple":
            return isinstance(value, list) and len(value) <= len(spec.part["prefixItems"])
        case "union":
            return best(spec, value) is not None
    return isinstance(value, list) and len(value) <= MOST_ROWS


_WORDS: Final = {
    "string": "text", "integer": "whole number", "number": "number", "boolean": "yes or no", "array": "list",
    "object": "entries", "null": "none",
}  # fmt: skip


def _called(branch: Any, spec: Spec, index: int) -> str:
    """Return what a variant is called: its name, or what it is in a word."""
    found, names = resolve(branch, spec.root)
    mapping = spec.part.get("discriminator", {}).get("mapping", {})
    for key, reference in mapping.items():
        if names and reference.rpartition("/")[2] == names[0]:
            return str(key)
    if found.get("title"):
        return str(found["title"])
    if names:
        return names[0]
    kind = found.get("type")
    word = _WORDS.get(kind, "") if isinstance(kind, str) else ""
    inner = _WORDS.get(str(resolve(found.get("items", {}), spec.root)[0].get("type")), "")
    return f"list of {inner}" if kind == "array" and inner else word or f"variant {index + 1}"

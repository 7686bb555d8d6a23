"""A form from the JSON Schema of a kind's parameters, and a filled-in form back into args."""

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from dataclasses import field as made_by
from typing import Any, Final

_SCALARS: Final = frozenset({"string", "integer", "number", "boolean"})
_DATES: Final = {"date": "date", "date-time": "datetime-local", "time": "time"}
#: A date-time that the browser's own field can show: without a zone.
_LOCAL: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d{1,3})?)?")
#: A text that may be longer gets several lines.
_LONG: Final = 300


class Unreadable(ValueError):
    """What was typed into a field can't be made a value; the message says why."""


#: Stands for a field that was left empty, so that the default counts.
ABSENT: Final = object()


@dataclass(frozen=True, slots=True)
class Field:
    """One parameter as a form field.

    `widget` names the template: text, number, checkbox, select, multiple, date, textarea, list, json or file.
    """

    name: str
    widget: str
    required: bool = False
    nullable: bool = False
    help: str = ""
    default: Any = ABSENT
    choices: tuple[Any, ...] = ()
    item: str = "string"
    attributes: Mapping[str, Any] = made_by(default_factory=dict)

    @property
    def shown(self) -> str | list[str]:
        """The default as the field shows it."""
        return write(self, self.default)

    def read(self, typed: Sequence[str]) -> Any:
        """Return what was typed as a JSON value, or ABSENT. Raises Unreadable."""
        if self.widget == "multiple":
            return [self._chosen(value) for value in typed] if typed or self.default is not ABSENT else ABSENT
        if self.widget == "checkbox":
            return bool(typed)
        text = typed[-1].replace("\r\n", "\n") if typed else ""
        if text == "" and not self._takes_nothing:
            # Empty is null where null is a value of its own and something else is the default.
            return None if self.nullable and self.default not in (ABSENT, None) else ABSENT
        return _READERS[self.widget](self, text)

    @property
    def _takes_nothing(self) -> bool:
        """Whether an empty field is a value: an empty text in place of a default, a list without items."""
        free = not self.required and not self.nullable and self.default is not ABSENT
        return free and (self.widget == "list" or (self.widget in {"text", "textarea"} and self.item == "string"))

    def _chosen(self, text: str) -> Any:
        return next((choice for choice in self.choices if label(choice) == text), text)


def fields(schema: Mapping[str, Any]) -> list[Field]:
    """Return a field for each property of an object's schema."""
    required = set(schema.get("required", ()))
    return [
        _field(name, resolve(part, schema), schema, name in required)
        for name, part in schema.get("properties", {}).items()
    ]


def resolve(part: Mapping[str, Any], schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return a schema with its reference replaced by what it refers to; what stands beside it wins."""
    found, seen = dict(part), 0
    while "$ref" in found or len(found.get("allOf", ())) == 1:
        inner = found.pop("allOf")[0] if "allOf" in found else {"$ref": found.pop("$ref")}
        if "$ref" in inner:
            inner = schema.get("$defs", {}).get(inner["$ref"].rpartition("/")[2], {})
        found = {**inner, **found}
        seen += 1
        if seen > 20:  # a reference that leads back to itself describes nothing
            return {}
    return found


def _field(name: str, part: dict[str, Any], schema: Mapping[str, Any], required: bool) -> Field:
    variants = [resolve(one, schema) for one in part.get("anyOf", part.get("oneOf", ()))]
    real = [one for one in variants if one.get("type") != "null"]
    nullable = len(real) < len(variants)
    one = real[0] if len(real) == 1 else {"type": [v.get("type") for v in real]} if real else part
    widget, more = _widget(one, schema, nullable)
    default = part.get("default", ABSENT)
    if widget == "date" and one["format"] == "date-time" and isinstance(default, str) and not _LOCAL.fullmatch(default):
        widget, more = "text", {"attributes": {"type": "text"}}  # its zone would be lost
    return Field(
        name, widget, required, nullable, help=str(part.get("description") or one.get("description") or ""),
        default=default, **more,
    )  # fmt: skip


def _widget(part: dict[str, Any], schema: Mapping[str, Any], nullable: bool) -> tuple[str, dict[str, Any]]:
    kind = part.get("type")
    if "enum" in part or "const" in part:
        return "select", {"choices": tuple(part.get("enum", [part.get("const")]))}
    if part.get("format") == "upload":
        return "file", {}
    match kind:
        case "string" if part.get("format") in _DATES:
            return "date", {"attributes": {"type": _DATES[part["format"]], "step": "any"}}
        case "string":
            long = part.get("maxLength", 0) > _LONG or "\n" in str(part.get("default", ""))
            limits = {"minlength": part.get("minLength"), "maxlength": part.get("maxLength")}
            return "textarea" if long else "text", {"attributes": {"type": "text", **limits}}
        case "integer" | "number":
            return "number", {"item": kind, "attributes": _bounds(part, kind)}
        case "boolean":
            return ("select", {"choices": (True, False)}) if nullable else ("checkbox", {})
        case "array" if "prefixItems" not in part:
            item = resolve(part.get("items", {}), schema)
            if "enum" in item:
                return "multiple", {"choices": tuple(item["enum"])}
            if item.get("type") in _SCALARS:
                return "list", {"item": item["type"]}
        case list() if kind and all(isinstance(one, str) and one in _SCALARS for one in kind):
            return "text", {"item": " ".join(kind), "attributes": {"type": "text"}}
    return "json", {}


def _bounds(part: Mapping[str, Any], kind: str) -> dict[str, Any]:
    whole = kind == "integer"
    least, most = part.get("minimum"), part.get("maximum")
    if whole and "exclusiveMinimum" in part:
        least = part["exclusiveMinimum"] + 1
    if whole and "exclusiveMaximum" in part:
        most = part["exclusiveMaximum"] - 1
    step = part.get("multipleOf") if whole else None
    return {"min": least, "max": most, "step": step or (1 if whole else "any")}


def label(value: Any) -> str:
    """Return a choice as it is shown and sent."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def write(field: Field, value: Any) -> str | list[str]:
    """Return a value as its field shows it."""
    if field.widget == "multiple":
        return [label(one) for one in value] if isinstance(value, list) else []
    if value is ABSENT or value is None:
        return ""
    if field.widget == "list" and isinstance(value, list):
        return "\n".join(label(one) for one in value)
    if field.widget == "json":
        return json.dumps(value, indent=2, ensure_ascii=False)
    if field.widget == "date" and isinstance(value, str) and field.attributes.get("type") == "datetime-local":
        return value[:23]
    return label(value)


def _json(_field: Field, text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"This is not JSON: {error}.") from None


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a number of JSON")


def _number(field: Field, text: str) -> Any:
    return scalar(field.item, text)


def scalar(kinds: str, text: str) -> Any:
    """Return a text as a value of one of these JSON types; as text where it is of none, for the check to say so."""
    bare = text.strip()
    allowed = kinds.split()
    if "integer" in allowed and re.fullmatch(r"[+-]?\d{1,4000}", bare):
        return int(bare)
    if "number" in allowed:
        try:
            value = float(bare)
        except ValueError:
            pass
        else:
            if math.isfinite(value):
                return int(bare) if re.fullmatch(r"[+-]?\d{1,300}", bare) else value
    if "boolean" in allowed and bare.lower() in {"true", "false"}:
        return bare.lower() == "true"
    return text


def _list(field: Field, text: str) -> Any:
    return [scalar(field.item, line) for line in text.split("\n") if line.strip()]


_READERS: Final[dict[str, Callable[[Field, str], Any]]] = {
    "text": lambda field, text: scalar(field.item, text),
    "textarea": lambda _, text: text,
    "number": _number,
    "select": lambda field, text: field._chosen(text),
    "date": lambda _, text: text,
    "list": _list,
    "json": _json,
    "file": lambda _, text: text,
}


@dataclass(frozen=True, slots=True)
class Filled:
    """A form that was filled in: the args it stands for, what was typed, and what is wrong with it."""

    args: dict[str, Any]
    typed: dict[str, list[str]]
    wrong: dict[str, str]


def read(wanted: Sequence[Field], typed: Mapping[str, list[str]]) -> Filled:
    """Read a filled-in form; a field that can't be read is among `wrong` and not among the args."""
    args: dict[str, Any] = {}
    wrong: dict[str, str] = {}
    for field in wanted:
        try:
            value = field.read(typed.get(field.name, []))
        except Unreadable as error:
            wrong[field.name] = str(error)
        else:
            if value is not ABSENT:
                args[field.name] = value
    return Filled(args, dict(typed), wrong)


def beside(errors: Sequence[Mapping[str, str]], names: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """Part the errors of a refused submission: those that belong beside a field, by its name, and the others."""
    found: dict[str, str] = {}
    others: list[str] = []
    for error in errors:
        parts = [part.replace("~1", "/").replace("~0", "~") for part in error["pointer"].split("/")[1:]]
        name = parts[1] if len(parts) > 1 and parts[0] == "args" else option(parts[0]) if parts else ""
        inner = ".".join(parts[2 if parts and parts[0] == "args" else 1 :])
        detail = f"{inner}: {error['detail']}" if inner else error["detail"]
        if name in names:
            found[name] = f"{found[name]} {detail}" if name in found else detail
        else:
            others.append(detail)
    return found, others


def option(name: str) -> str:
    """Return the field name of an option beside the args; no parameter can be named so."""
    return f"option:{name}"


#: What may be said beside the args, each with labels; the first that no parameter's name is part of is taken.
OPTIONS: Final = {
    "queue": ("Queue", "Line"),
    "priority": ("Priority", "Rank"),
    "tags": ("Tags", "Marks"),
    "delay": ("Delay", "Start later", "Not before"),
}


def option_labels(wanted: Sequence[Field]) -> dict[str, str]:
    """Return the label of each option, none of which can be taken for a parameter's."""
    names = [field.name.lower() for field in wanted]
    return {
        key: next((text for text in texts if not any(name in text.lower() for name in names)), texts[0])
        for key, texts in OPTIONS.items()
    }


def options(typed: Mapping[str, list[str]]) -> dict[str, Any]:
    """Return the options of a filled-in form as the body of a submission has them."""
    found: dict[str, Any] = {}
    for name in OPTIONS:
        text = (typed.get(option(name)) or [""])[-1].strip()
        if not text:
            continue
        match name:
            case "queue":
                found[name] = text
            case "tags":
                found[name] = [tag.strip() for tag in text.split(",") if tag.strip()]
            case _:
                found[name] = scalar("integer" if name == "priority" else "number", text)
    return found

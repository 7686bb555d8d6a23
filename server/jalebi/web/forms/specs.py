"""What a form has to ask at one place of a schema: which field, whether it must be filled in, and what helps."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from dataclasses import field as made_by
from typing import Any, Final

from jalebi.web.forms.hints import attributes, helps
from jalebi.web.forms.schema import resolve
from jalebi.web.forms.values import ABSENT, plain

SCALARS: Final = frozenset({"string", "integer", "number", "boolean", "null"})
#: How often schemas may contain themselves before fields become JSON, and how deep fields may lie.
AGAIN: Final = 1
DEEPEST: Final = 9
#: Choices that are shown at once; more of them are in a list that opens.
RADIOS: Final = 4
#: A text that may be longer gets several lines.
_LONG: Final = 300
#: Fields of one object; one with more is asked for as JSON.
MOST_PARTS: Final = 300
#: Texts that are not to be seen, or no texts at all: one a line would not do.
_APART: Final = frozenset({"upload", "password"})
_FORMATS: Final = {
    "date": "date", "time": "time", "date-time": "datetime", "duration": "duration", "password": "password",
    "upload": "file",
}  # fmt: skip
COMPOSED: Final = frozenset({"group", "rows", "map", "tuple", "union"})


@dataclass(frozen=True)
class Spec:
    """One place of a schema.

    `widget` is a leaf's template, or group, rows, map, tuple or union. `types` are the JSON types that a text may
    stand for. `firm` says that the place is there whenever the form is sent, so that the browser may insist on it.
    """

    widget: str
    part: Mapping[str, Any]
    root: Mapping[str, Any]
    required: bool = False
    nullable: bool = False
    firm: bool = True
    default: Any = ABSENT
    types: tuple[str, ...] = ("string",)
    choices: tuple[Any, ...] = ()
    branches: tuple[Mapping[str, Any], ...] = ()
    refs: tuple[str, ...] = ()
    depth: int = 0
    help: tuple[str, ...] = ()
    attributes: Mapping[str, Any] = made_by(default_factory=dict)

    @property
    def composed(self) -> bool:
        """Whether it has fields of its own inside."""
        return self.widget in COMPOSED

    @property
    def optional(self) -> bool:
        """Whether a composed value may be left out as a whole, for null or for a default that is not known."""
        return self.nullable or (not self.required and self.default is ABSENT)

    @property
    def empty(self) -> Any:
        """What an empty field stands for."""
        free = not self.nullable and (self.default is not ABSENT or self.required)
        if self.widget in {"list", "checks"} and free:
            return []
        texts = self.widget in {"text", "textarea"} and self.types == ("string",)
        if texts and free and not self.required:
            return ""
        # Null, where null is a value of its own and something else is the default.
        other = self.required if self.default is ABSENT else self.default is not None
        return None if self.nullable and other else ABSENT

    def inner(self, part: Any, name: str, *, required: bool, firm: bool) -> "Spec":
        """Return a place inside this one."""
        return spec(part, self.root, name, required=required, firm=firm, refs=self.refs, depth=self.depth + 1)


def spec(
    part: Any, root: Mapping[str, Any], name: str = "", *,
    required: bool = True, firm: bool = True, refs: tuple[str, ...] = (), depth: int = 0,
) -> Spec:  # fmt: skip
    """Return what to ask for a schema; `refs` are the references that led to it."""
    found, more = resolve(part, root)
    refs += more
    default = found.get("default", ABSENT)
    nullable = False
    texts: list[Mapping[str, Any]] = [found]
    branches: list[Mapping[str, Any]] = []
    while "anyOf" in found or "oneOf" in found:
        outer = {key: one for key, one in found.items() if key not in {"anyOf", "oneOf", "discriminator"}}
        variants = [(resolve(one, root), one) for one in found.get("anyOf") or found["oneOf"]]
        real = [(one, raw) for one, raw in variants if one[0].get("type") != "null"]
        nullable |= len(real) < len(variants)
        if len(real) != 1:
            branches = [raw for _, raw in real]
            break
        (inner, inner_refs), _ = real[0]
        refs += inner_refs
        texts.append(inner)
        found = {**inner, **outer}
    made = _classify(found, root, branches, nullable, required or default is not ABSENT, refs, depth)
    known = default if default is ABSENT or plain(default) else ABSENT
    return Spec(
        **{"nullable": nullable, **made}, part=found, root=root, required=required, firm=firm, default=known,
        branches=tuple(branches), refs=refs, depth=depth,
        help=helps(texts, name, str(part.get("title", "")) if isinstance(part, Mapping) else ""),
        attributes=attributes(found, made["widget"], firm=firm),
    )  # fmt: skip


def _classify(
    part: Mapping[str, Any], root: Mapping[str, Any], branches: Sequence[Mapping[str, Any]], nullable: bool,
    decided: bool, refs: tuple[str, ...], depth: int,
) -> dict[str, Any]:  # fmt: skip
    too_deep = depth > DEEPEST or len(refs) - len(set(refs)) > AGAIN
    if branches:
        kinds = [_types(resolve(one, root)[0]) for one in branches]
        if all(kinds):
            return {"widget": "text", "types": tuple(dict.fromkeys(one for each in kinds for one in each))}
        return {"widget": "json" if too_deep else "union"}
    if "enum" in part or "const" in part:
        return _choice(part, nullable, decided)
    if part.get("type") == "null":
        return {"widget": "const", "choices": (None,)}
    if part.get("type") == "boolean":
        return {"widget": "radio", "choices": (True, False)} if nullable or not decided else {"widget": "checkbox"}
    types = _types(part)
    if part.get("type") == "string" or part.get("format") == "upload":
        return {"widget": _text(part)}
    if types:
        return {"widget": "number" if types in {("integer",), ("number",)} else "text", "types": types}
    return {"widget": "json"} if too_deep else _composed(part, root)


def _composed(part: Mapping[str, Any], root: Mapping[str, Any]) -> dict[str, Any]:
    if part.get("type") == "array":
        if "prefixItems" in part:
            return {"widget": "json" if part.get("items") else "tuple"}
        if part.get("maxItems") == 0:
            return {"widget": "const", "choices": ([],)}
        item, _ = resolve(part.get("items", {}), root)
        if "enum" in item and None not in item["enum"]:
            return {"widget": "checks", "choices": tuple(item["enum"])}
        types = _types(item, root)
        if types:
            return {"widget": "list", "types": types}
        return {"widget": "rows" if item else "json"}
    if part.get("type") == "object" or "properties" in part:
        if len(part.get("properties", ())) > MOST_PARTS:
            return {"widget": "json"}
        return {"widget": "group" if part.get("properties") or not _values(part) else "map"}
    return {"widget": "json"}


def _values(part: Mapping[str, Any]) -> bool:
    return bool(part.get("additionalProperties") or part.get("patternProperties"))


def _choice(part: Mapping[str, Any], nullable: bool, decided: bool) -> dict[str, Any]:
    found = tuple(part["enum"]) if "enum" in part else (part["const"],)
    real = tuple(one for one in found if one is not None)
    if len(real) < len(found):
        nullable = True
    if not real or (len(found) == 1 and not nullable and decided):
        return {"widget": "const", "choices": found[:1], "nullable": nullable}
    blank = nullable or not decided
    return {"widget": "radio" if len(real) + blank <= RADIOS else "select", "choices": real, "nullable": nullable}


def _types(part: Mapping[str, Any], root: Mapping[str, Any] | None = None) -> tuple[str, ...]:
    """Return the JSON types of a schema of scalars that a line of text can stand for; none for any other schema."""
    if root is not None and "anyOf" in part:
        each = [_types(resolve(one, root)[0], root) for one in part["anyOf"]]
        return tuple(dict.fromkeys(one for types in each for one in types)) if all(each) else ()
    kind = part.get("type")
    if kind is None and ("enum" in part or "const" in part):
        return ()
    found = tuple(kind) if isinstance(kind, list) else (kind,)
    fits = all(isinstance(one, str) and one in SCALARS for one in found)
    return found if fits and part.get("format") not in _APART else ()


def _text(part: Mapping[str, Any]) -> str:
    if part.get("format") in _FORMATS:
        return _FORMATS[part["format"]]
    long = part.get("maxLength", 0) > _LONG or "\n" in str(part.get("default", ""))
    return "textarea" if long or "contentSchema" in part else "text"

"""Finds out which variant of a union a value belongs to."""

from collections.abc import Mapping
from typing import Any, Final

from jalebi.web.forms.schema import resolve
from jalebi.web.forms.specs import Spec
from jalebi.web.forms.values import same

_TYPES: Final[dict[str, tuple[type, ...]]] = {
    "object": (dict,), "array": (list,), "string": (str,), "integer": (int,), "number": (int, float),
    "boolean": (bool,), "null": (type(None),),
}  # fmt: skip
_DEEP: Final = 6


def best(spec: Spec, value: Any) -> int | None:
    """Return the number of the variant that fits a value best, or None where none does."""
    scores = [_score(branch, spec.root, value, _DEEP) for branch in spec.branches]
    most = max(scores, default=-1)
    return scores.index(most) if most >= 0 else None


def _score(part: Any, root: Mapping[str, Any], value: Any, deep: int) -> int:
    """Return how much of a value a schema knows; less than 0 where the value does not fit."""
    found, _ = resolve(part, root)
    for variants in (found.get("anyOf"), found.get("oneOf")):
        if variants and deep:
            return max(_score(one, root, value, deep - 1) for one in variants)
    if "const" in found and not same(found["const"], value):
        return -1
    if "enum" in found and not any(same(one, value) for one in found["enum"]):
        return -1
    kind = found.get("type")
    if isinstance(kind, str):
        fits = isinstance(value, _TYPES.get(kind, (object,))) and (kind == "boolean" or not isinstance(value, bool))
        if not fits:
            return -1
    if not deep:
        return 0
    if isinstance(value, dict) and kind == "object":
        return _object(found, root, value, deep)
    if isinstance(value, list) and value:
        parts = found.get("prefixItems")
        if parts and not found.get("minItems", 0) <= len(value) <= len(parts):
            return -1
        inner = [
            _score(parts[index] if parts else found.get("items", {}), root, one, deep - 1)
            for index, one in enumerate(value[:20])
        ]
        return -1 if min(inner) < 0 else 1 + sum(inner)
    return 1


def _object(part: Mapping[str, Any], root: Mapping[str, Any], value: Mapping[str, Any], deep: int) -> int:
    properties = part.get("properties", {})
    if not set(part.get("required", ())) <= value.keys():
        return -1
    if part.get("additionalProperties", True) is False and not value.keys() <= properties.keys():
        return -1
    inner = [_score(properties[key], root, one, deep - 1) for key, one in value.items() if key in properties]
    known = 0 if inner and min(inner) < 0 else sum(inner) + 2 * len(inner)
    return -1 if inner and min(inner) < 0 else known + 1

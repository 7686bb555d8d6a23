"""The JSON Schema that a form is made of: a kind's parameters, with what only a form wants to know."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from jalebi.kinds import Kind

#: References that are followed for one schema, one after the other.
_FOLLOWED: Final = 20


class FormSchema(GenerateJsonSchema):
    """Tells apart what a published schema does not."""

    ignored_warning_kinds = {"non-serializable-default", "skipped-choice"}

    def decimal_schema(self, schema: core_schema.DecimalSchema) -> JsonSchemaValue:
        """Mark a decimal: as a number or a text it would lose digits, or be told from no text."""
        limits = {"minimum": schema.get("ge"), "maximum": schema.get("le")}
        return {
            "type": "string",
            "format": "decimal",
            **{key: str(one) for key, one in limits.items() if one is not None},
        }


@lru_cache(maxsize=256)
def schema_of(kind: Kind) -> Mapping[str, Any]:
    """Return the schema of which a kind's form is made."""
    return kind.model.model_json_schema(mode="validation", schema_generator=FormSchema)


def resolve(part: Any, root: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return a schema with its references followed, and their names; what stands beside a reference wins.

    A reference that leads back to itself describes nothing.
    """
    found = dict(part) if isinstance(part, Mapping) else {}
    names: list[str] = []
    while "$ref" in found or len(found.get("allOf", ())) == 1:
        inner = found.pop("allOf")[0] if "allOf" in found else {"$ref": found.pop("$ref")}
        if "$ref" in inner:
            names.append(inner["$ref"].rpartition("/")[2])
            beside = {key: one for key, one in inner.items() if key != "$ref"}
            inner = {**root.get("$defs", {}).get(_unescaped(names[-1]), {}), **beside}
        found = {**inner, **found}
        if len(names) > _FOLLOWED:
            return {}, ()
    return found, tuple(names)


def takes_files(schema: Any) -> bool:
    """Whether a schema asks for a file anywhere."""
    if isinstance(schema, Mapping):
        return schema.get("format") == "upload" or any(takes_files(one) for one in schema.values())
    return isinstance(schema, list) and any(takes_files(one) for one in schema)


def _unescaped(name: str) -> str:
    return name.replace("~1", "/").replace("~0", "~")

"""The args of kinds as components of the OpenAPI document."""

from collections.abc import Sequence
from typing import Any

from jalebi.kinds import Kind


def component(name: str) -> str:
    """Return the name of the component that describes a kind's args; components know no colon."""
    return f"args.{name.replace(':', '_colon_')}"


def components(kinds: Sequence[Kind]) -> dict[str, Any]:
    """Return the args schemas of the kinds, by component."""
    found = {}
    for kind in kinds:
        schema = {"description": f"The args of the kind {kind.name}.", **kind.args_schema}
        found[component(kind.name)] = moved(schema, f"#/components/schemas/{component(kind.name)}")
    return found


def moved(schema: Any, place: str) -> Any:
    """Return a schema that stands at `place` in a larger document, with its references to itself leading there."""
    if isinstance(schema, list):
        return [moved(item, place) for item in schema]
    if not isinstance(schema, dict):
        return schema
    found = {name: moved(value, place) for name, value in schema.items()}
    if isinstance(schema.get("$ref"), str):
        found["$ref"] = _repointed(schema["$ref"], place)
    mapping = isinstance(schema.get("discriminator"), dict) and schema["discriminator"].get("mapping")
    if mapping:
        found["discriminator"]["mapping"] = {name: _repointed(ref, place) for name, ref in mapping.items()}
    return found


def _repointed(reference: str, place: str) -> str:
    return place + reference[1:] if reference.startswith("#") else reference

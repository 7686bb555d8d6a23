"""What helps to fill in a field: what a schema says of it in words, and in limits that a browser checks."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from jalebi.web.forms.values import label

#: How a text of a format looks.
_LOOKS: Final = {
    "date-time": "A date and time, with a zone such as Z or +05:30 where it matters.",
    "duration": "A time span such as PT1H30M or P2D, or plain seconds.",
    "uuid": "A UUID such as 123e4567-e89b-12d3-a456-426614174000.",
    "email": "An e-mail address.",
    "uri": "An address such as https://example.com/page.",
    "ipv4": "An IPv4 address such as 192.0.2.7.",
    "ipv6": "An IPv6 address such as 2001:db8::7.",
    "base64": "Bytes in Base64.",
    "base64url": "Bytes in Base64 for addresses.",
    "binary": "Bytes, written as text.",
    "path": "A path on the server.",
    "file-path": "The path of a file on the server.",
    "directory-path": "The path of a folder on the server.",
    "regex": "A regular expression.",
    "decimal": "A number; every digit counts.",
    "password": "It is not shown, and not kept when the form comes back.",
}
_MODES: Final = {"email": "email", "uri": "url", "decimal": "decimal"}
_EXAMPLES: Final = 3


def helps(parts: Sequence[Mapping[str, Any]], name: str, title: str) -> tuple[str, ...]:
    """Return sentences that help with a field; of the parts, the outer one comes first."""
    own = title if _bare(title) != _bare(name) and name else ""  # pydantic makes a title of each name
    found = [_sentence(own), *(str(part.get("description") or "") for part in parts)]
    for part in parts:
        found += [_LOOKS.get(str(part.get("format")), ""), *_limits(part)]
        if part.get("contentMediaType") == "application/json":
            found.append("A text that is JSON.")
        examples = part.get("examples")
        if isinstance(examples, list) and examples:
            found.append(f"For example {', '.join(label(one) for one in examples[:_EXAMPLES])}.")
        if part.get("deprecated"):
            found.append("Deprecated: it may go away.")
    return tuple(dict.fromkeys(text for text in found if text))


def _bare(text: str) -> str:
    return text.replace(" ", "").replace("_", "").lower()


def _sentence(text: str) -> str:
    return text if not text or text.endswith((".", "!", "?")) else f"{text}."


def _limits(part: Mapping[str, Any]) -> list[str]:
    found = []
    if part.get("pattern") and part.get("format") not in {"upload", "decimal"}:
        found.append(f"It has to match {part['pattern']}")
    least, most = part.get("minItems"), part.get("maxItems")
    if part.get("type") == "array" and "prefixItems" not in part and (least or most):
        if least and most:
            found.append(f"From {least} to {most} items." if least != most else f"Exactly {least} items.")
        else:
            found.append(f"At least {least} items." if least else f"At most {most} items.")
    if part.get("uniqueItems"):
        found.append("Each item counts once.")
    if part.get("type") == "number" and "multipleOf" in part:
        found.append(f"A multiple of {part['multipleOf']}.")
    for key, words in (("exclusiveMinimum", "More than"), ("exclusiveMaximum", "Less than")):
        if part.get("type") == "number" and key in part:
            found.append(f"{words} {part[key]}.")
    return found


def attributes(part: Mapping[str, Any], widget: str, *, firm: bool) -> dict[str, Any]:
    """Return the limits that a browser checks; none where the field may not count, as it may be hidden then."""
    if widget == "number":
        return _bounds(part) if firm else {"step": "any"}
    if widget in {"text", "textarea"}:
        limits = {"minlength": part.get("minLength"), "maxlength": part.get("maxLength")} if firm else {}
        return {**limits, "inputmode": _MODES.get(str(part.get("format")))}
    return {}


def _bounds(part: Mapping[str, Any]) -> dict[str, Any]:
    least, most = part.get("minimum"), part.get("maximum")
    if part.get("type") != "integer":
        return {"min": least, "max": most, "step": "any"}
    if "exclusiveMinimum" in part:
        least = math.floor(part["exclusiveMinimum"]) + 1
    if "exclusiveMaximum" in part:
        most = math.ceil(part["exclusiveMaximum"]) - 1
    step = part.get("multipleOf") or 1
    if least is not None and step != 1:
        least = math.ceil(least / step) * step  # a browser counts the steps from the least
    return {"min": least, "max": most, "step": step}

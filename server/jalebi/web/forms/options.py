"""What a form may say of a submission beside its args: queue, priority, tags, when, how long and how often."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from jalebi.web.forms.values import scalar


def option(name: str) -> str:
    """Return the field name of an option beside the args; no parameter can be named so."""
    return f"option:{name}"


#: Each with labels; the first that no parameter's name is part of is taken.
OPTIONS: Final = {
    "queue": ("Queue", "Line"),
    "priority": ("Priority", "Rank"),
    "tags": ("Tags", "Marks"),
    "delay": ("Delay", "Start later", "Not before"),
    "timeout": ("Time limit", "Stop after"),
    "max_attempts": ("Attempts", "Tries"),
}
_NUMBERS: Final = {"priority": ("integer",), "delay": ("number",), "timeout": ("number",), "max_attempts": ("integer",)}


def option_labels(names: Iterable[str]) -> dict[str, str]:
    """Return the label of each option, none of which can be taken for a parameter's."""
    taken = [name.lower() for name in names]
    return {
        key: next((text for text in texts if not any(name in text.lower() for name in taken)), texts[0])
        for key, texts in OPTIONS.items()
    }


def options(typed: Mapping[str, list[str]]) -> dict[str, Any]:
    """Return the options of a filled-in form as the body of a submission has them."""
    found: dict[str, Any] = {}
    for name in OPTIONS:
        text = (typed.get(option(name)) or [""])[-1].strip()
        if text and name == "queue":
            found[name] = text
        elif text and name == "tags":
            found[name] = [tag.strip() for tag in text.split(",") if tag.strip()]
        elif text:
            found[name] = scalar(_NUMBERS[name], text)
    return found

"""The fields of one form: what each shows, the value it stands for, and what is wrong with it."""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from dataclasses import field as made_by
from typing import Any, Final

from jalebi.web.forms import values
from jalebi.web.forms.specs import Spec
from jalebi.web.forms.values import ABSENT, Unreadable

_SAFE: Final = re.compile(r"[A-Za-z0-9_-]")
_NUMBER: Final = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*", re.ASCII)
#: What a browser's own fields for dates and times can hold.
LOCAL: Final = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d(?::\d\d(?:\.\d{1,3})?)?)(Z|[+-]\d\d:\d\d)?", re.ASCII)

_HELD: Final = {
    "date": re.compile(r"\d{4}-\d\d-\d\d", re.ASCII),
    "time": re.compile(r"\d\d:\d\d(:\d\d(\.\d{1,3})?)?", re.ASCII),
    "datetime": LOCAL,
}


def safe(name: str) -> str:
    """Return a name of which an element's id can be made; different names stay different."""
    return "".join(char if _SAFE.match(char) else f".{ord(char):x}." for char in name)


@dataclass(eq=False)
class Node:
    """One field, or several that are one value. `name` is its own name in the form, and its fields' names begin so."""

    spec: Spec
    name: str
    label: str
    errors: list[str] = made_by(default_factory=list)

    @property
    def id(self) -> str:
        """The id of its element."""
        return f"field-{safe(self.name)}"

    @property
    def error(self) -> str:
        """What is wrong with it, or nothing."""
        return " ".join(self.errors)

    @property
    def widget(self) -> str:
        """Which template shows it."""
        return self.spec.widget

    @property
    def parts(self) -> Sequence["Node"]:
        """The fields inside."""
        return ()

    @property
    def help(self) -> tuple[str, ...]:
        """What helps with it."""
        return self.spec.help

    @property
    def must(self) -> bool:
        """Whether it is marked as required."""
        spec = self.spec
        if not spec.required or spec.nullable or spec.widget in {"group", "tuple", "const", "checkbox"}:
            return False
        return spec.widget not in {"list", "checks", "rows", "map"} or bool(spec.part.get("minItems"))

    @property
    def insists(self) -> bool:
        """Whether the browser insists on it."""
        return self.must and self.spec.firm

    @property
    def described(self) -> str:
        """The ids of what helps with it and of what is wrong with it."""
        known = ((f"{self.id}-help", self.help), (f"{self.id}-error", self.errors))
        return " ".join(name for name, told in known if told)

    def read(self, *, shown: bool = False) -> Any:
        """Return the value it stands for, or ABSENT, and note what can't be read; nothing secret where it is shown."""
        raise NotImplementedError

    def at(self, segment: str) -> "Node | None":
        """Return the field inside that a part of a JSON Pointer names."""
        return None

    def blame(self, error: str) -> None:
        """Note what is wrong."""
        if error not in self.errors:
            self.errors.append(error)

    def walk(self) -> Iterator["Node"]:
        """Go through all the fields that count."""
        yield self
        for part in self.parts:
            yield from part.walk()


@dataclass(eq=False)
class Leaf(Node):
    """One field. `how` is set where its own widget can't hold the value: json or text."""

    texts: list[str] = made_by(default_factory=list)
    zone: str = ""
    how: str = ""

    @property
    def widget(self) -> str:
        """Which template shows it; a number that is none is shown as text, or the browser would drop it."""
        if self.how:
            return self.how
        number = self.spec.widget == "number" and self.text and not _NUMBER.fullmatch(self.text)
        return "text" if number else self.spec.widget

    @property
    def text(self) -> str:
        """What was typed, or what is shown at first."""
        return self.texts[-1] if self.texts else ""

    @property
    def lines(self) -> int:
        """How many lines its field has."""
        return min(14, max(3, self.text.count("\n") + 2))

    @property
    def attributes(self) -> dict[str, Any]:
        """The limits that the browser checks."""
        found = dict(self.spec.attributes)
        if found.get("step", "any") != "any" and not self.text.lstrip("+-").isdigit():
            found["step"] = "any" if self.text else found["step"]  # steps would be counted from what is shown
        return found

    @property
    def options(self) -> list[tuple[str, str]]:
        """The choices: what is sent, and what is shown."""
        return [(text, text) for text in values.labels(self.spec.choices)]

    @property
    def blank(self) -> str:
        """What no choice is called, or nothing where there has to be one."""
        known = self.spec.default is not ABSENT
        if self.spec.nullable and (known or self.spec.required):
            return "none"
        return "default" if not (known or self.spec.required) else ""

    def read(self, *, shown: bool = False) -> Any:
        """Return the value it stands for."""
        try:
            return ABSENT if shown and self.spec.widget == "password" else self.value()
        except Unreadable as error:
            self.blame(str(error))
            return ABSENT

    def value(self) -> Any:
        """Return the value it stands for, or ABSENT. Raises Unreadable."""
        spec, text = self.spec, self.text.replace("\r\n", "\n")
        if self.how == "json":
            return values.parse(text) if text.strip() else ABSENT
        match spec.widget:
            case "const":
                return spec.choices[0]
            case "checkbox":
                return bool(self.texts)
            case "checks":
                return [self._chosen(one) for one in self.texts] if self.texts else spec.empty
            case "list":
                found = [values.scalar(spec.types, line) for line in text.split("\n") if line.strip()]
                return found or spec.empty
        if text == "" or (spec.widget == "json" and not text.strip()):
            return spec.empty
        match spec.widget:
            case "json":
                return values.parse(text)
            case "select" | "radio":
                return self._chosen(text)
            case "datetime" if not self.how:
                return text + self.zone.strip()
            case "duration":
                return values.duration(text)
        return values.scalar(spec.types, text)

    def _chosen(self, text: str) -> Any:
        known = zip(values.labels(self.spec.choices), self.spec.choices, strict=True)
        return next((choice for sent, choice in known if sent == text), text)

    def show(self, value: Any) -> None:
        """Show a value, as JSON where the field can't hold it."""
        spec = self.spec
        if value is ABSENT or spec.widget == "password":
            return
        self._write(value)
        try:
            kept = values.same(self.value(), value) or (self.value() is ABSENT and values.same(value, spec.default))
        except Unreadable:
            kept = False
        if spec.widget == "checks" and isinstance(value, list):
            ticked = [text for text in values.labels(spec.choices) if text in self.texts]
            kept = sorted(ticked) == sorted(self.texts) if spec.part.get("uniqueItems") else ticked == self.texts
        shown = all(values.shows(text) for text in self.texts)
        if spec.widget == "text" and "\n" in self.text:
            self.how = "textarea"
        if not (kept and shown):
            self.how, self.texts = "json", [values.dump(value)]

    def _write(self, value: Any) -> None:
        spec = self.spec
        match spec.widget:
            case "checkbox":
                self.texts = ["true"] if value is True else []
            case "checks" if isinstance(value, list):
                known = dict(zip(map(json.dumps, spec.choices), values.labels(spec.choices), strict=True))
                self.texts = [known.get(json.dumps(one), "") for one in value]
            case "select" | "radio" if value is not None:
                known = dict(zip(map(json.dumps, spec.choices), values.labels(spec.choices), strict=True))
                self.texts = [known.get(json.dumps(value), "")]
            case "list" if isinstance(value, list):
                self.texts = ["\n".join(values.label(one) for one in value)]
            case "json":
                self.texts = [] if value is None and spec.default is None else [values.dump(value)]
            case "datetime" if isinstance(value, str) and (match := LOCAL.fullmatch(value)):
                self.texts, self.zone = [match[1]], match[2] or ""
            case "date" | "time" | "datetime" if isinstance(value, str) and not _HELD[spec.widget].fullmatch(value):
                self.texts, self.how = [value], "text"
            case "number" if isinstance(value, int) and abs(value) > 1e15:
                self.texts, self.how = [str(value)], "text"  # a browser's number would not hold it
            case _:
                self.texts = [] if value is None else [values.label(value)]


@dataclass(eq=False)
class Many(Node):
    """Several fields that are one value. `used` says whether it is given at all."""

    used: bool = True
    inner: list[Node] = made_by(default_factory=list)

    @property
    def optional(self) -> bool:
        """Whether it may be left out as a whole."""
        return self.spec.optional

    @property
    def parts(self) -> Sequence[Node]:
        """The fields inside, where they count."""
        return self.inner if self.used else ()

"""A whole form: the fields of a kind's args or the args as JSON, what was typed, and what is wrong with it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from dataclasses import field as made_by
from typing import Any, Final

from jalebi.errors import ValidationFailed
from jalebi.web.forms import values
from jalebi.web.forms.building import MOST_ROWS, MOST_TYPED, Builder, Typed
from jalebi.web.forms.composed import Group, Row, Rows, place
from jalebi.web.forms.nodes import Leaf, Many, Node
from jalebi.web.forms.options import OPTIONS, option
from jalebi.web.forms.specs import MOST_PARTS, Spec, spec
from jalebi.web.forms.values import ABSENT, Unreadable

#: The hidden field that says how the args come, and the one with the args as JSON.
MODE: Final = option("mode")
JSON: Final = option("json")
#: The buttons that change the form and submit nothing.
DO: Final = option("do")


@dataclass
class Form:
    """A form of one kind. `json` says that the args are written as JSON, in `text`; `fixed` that they have to be."""

    spec: Spec
    root: Many
    json: bool = False
    fixed: bool = False
    text: str = ""
    typed: Typed = made_by(default_factory=dict)
    wrong: dict[str, str] = made_by(default_factory=dict)  # of the options, by the field's name
    others: list[str] = made_by(default_factory=list)

    @property
    def fields(self) -> Sequence[Node]:
        """The fields of the parameters."""
        return self.root.parts

    @property
    def names(self) -> list[str]:
        """The names of the parameters."""
        return list(self.spec.part.get("properties", {}))

    @property
    def files(self) -> list[Leaf]:
        """The fields that take a file."""
        return [] if self.json else [one for one in _all(self.root) if isinstance(one, Leaf) and one.widget == "file"]

    @property
    def faults(self) -> list[tuple[str, str, str]]:
        """What is wrong, in the order of the fields: the element's id, the field's name, and the words."""
        found = [("args-json", "args", self.wrong[JSON])] if JSON in self.wrong else []
        for node, path in _named(self.root, ()):
            if node.errors and node is not self.root:
                found.append((node.id, " / ".join(path), node.error))
        rest = [(key, self.wrong[option(key)]) for key in OPTIONS if option(key) in self.wrong]
        return found + [(f"option-{key}", key.replace("_", " "), error) for key, error in rest]

    def args(self, *, shown: bool = False) -> Any:
        """Return the args that it stands for, and note what can't be read; nothing secret where they are shown."""
        if not self.json:
            return self.root.read(shown=shown)
        try:
            found = values.parse(self.text) if self.text.strip() else {}
            if not isinstance(found, dict):
                raise Unreadable("The args have to be a JSON object: { … }.")
        except Unreadable as error:
            self.wrong[JSON] = str(error)
            return {}
        return found

    def given(self) -> dict[str, Any]:
        """Return the args without those that are the defaults: they count anyway, and no check is needed."""
        known = self.spec.part.get("properties", {})
        found = self.args()
        if self.json:
            return dict(found)
        return {
            key: one for key, one in found.items() if not values.same(one, known.get(key, {}).get("default", ABSENT))
        }

    @property
    def unreadable(self) -> bool:
        """Whether something can't be read, or a file can't be kept."""
        return bool(self.wrong) or any(node.errors for node in self.root.walk())

    def refuse(self, errors: Sequence[Mapping[str, str]]) -> None:
        """Put the errors of a refused submission beside their fields; what belongs to none is among the others."""
        blamed = {id(node) for node in self.root.walk() if node.errors}  # it can't be read: that says it all
        for error in errors:
            parts = [part.replace("~1", "/").replace("~0", "~") for part in error["pointer"].split("/")[1:]]
            if parts[:1] == ["args"] and self.json:
                where = ".".join(parts[1:])
                told = f"{where}: {error['detail']}" if where else error["detail"]
                self.wrong[JSON] = f"{self.wrong[JSON]} {told}" if JSON in self.wrong else told
            elif parts[:1] == ["args"]:
                place(self.root, parts[1:], error["detail"], blamed)
            elif parts and parts[0] in OPTIONS:
                inner = ".".join(parts[1:])
                self.wrong.setdefault(option(parts[0]), f"{inner}: {error['detail']}" if inner else error["detail"])
            else:
                self.others.append(error["detail"])
        self.others += [one for one in self.root.errors if one not in self.others]

    def do(self, what: str) -> bool:
        """Do what a button says: add or remove a row, or go over to JSON and back. Return whether there was such."""
        act, _, name = what.partition(" ")
        if act == "json" and not self.json:
            self.text = values.dump(self.args(shown=True))
            self.json = not self.unreadable
            return True
        if act == "form" and self.json and not self.fixed:
            found = self.args()
            if not self.wrong:
                self.json, self.root = False, _root(self.spec, Builder(), found)
            return True
        rows = next((one for one in _all(self.root) if isinstance(one, Rows) and one.name == name), None)
        if act == "add" and rows is not None:
            if len(rows.rows) >= MOST_ROWS or sum(1 for _ in _all(self.root)) >= MOST_TYPED // 2:
                rows.blame("There are no more rows than that in a form. Write the args as JSON.")
            else:
                Builder().add(rows)
            return True
        return act == "drop" and any(_drop(one, name) for one in _all(self.root) if isinstance(one, Rows))


def _drop(rows: Rows, name: str) -> bool:
    kept: list[Row] = [row for row in rows.rows if f"{rows.name}/{row.number}" != name]
    found = len(kept) < len(rows.rows)
    rows.rows = kept
    return found


def shown(schema: Mapping[str, Any], args: Mapping[str, Any] | None = None) -> Form:
    """Return a form that shows args, or the defaults."""
    whole = _spec(schema)
    form = Form(whole, _root(whole, Builder(), {} if args is None else dict(args)))
    if len(whole.part.get("properties", ())) > MOST_PARTS:
        form.json = form.fixed = True
        form.text = values.dump(dict(args or {}))
    return form


def taken(schema: Mapping[str, Any], typed: Typed) -> Form:
    """Return a form as it was filled in."""
    whole = _spec(schema)
    json = typed.get(MODE, [""])[-1] == "json"
    form = Form(whole, Group(whole, "", ""), typed=typed)
    form.fixed = len(whole.part.get("properties", ())) > MOST_PARTS
    form.json, form.text = json, (typed.get(JSON) or [""])[-1].replace("\r\n", "\n")
    if json:
        return form
    try:
        form.root = _root(whole, Builder(typed), {})
    except ValidationFailed as error:
        form.root = shown(schema).root
        form.others = [one["detail"] for one in error.errors or ()]
    return form


def _spec(schema: Mapping[str, Any]) -> Spec:
    part = {"type": "object", **{key: one for key, one in schema.items() if key != "$defs"}}
    return spec(part, schema)


def _root(whole: Spec, builder: Builder, args: Mapping[str, Any]) -> Many:
    found = builder.node(whole, "", "", args, inside=False)
    if not isinstance(found, Many):
        return Many(whole, "", "")
    found.used = True
    return found


def _all(node: Node) -> Iterator[Node]:
    """Go through all the fields, those that do not count too."""
    yield node
    for part in [row.node for row in node.rows] if isinstance(node, Rows) else getattr(node, "inner", ()):
        yield from _all(part)
    more = getattr(node, "more", None)
    if more is not None:
        yield from _all(more)


def _named(node: Node, path: tuple[str, ...]) -> Iterator[tuple[Node, tuple[str, ...]]]:
    yield node, path
    keys = [row.key or str(row.number + 1) for row in node.rows] if isinstance(node, Rows) else ()
    for index, part in enumerate(node.parts):
        yield from _named(part, (*path, keys[index] if keys else part.label))

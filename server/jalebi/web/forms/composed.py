"""Fields that are one value together: objects, tuples, rows that can be added, and variants to choose from."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from dataclasses import field as made_by
from typing import Any

from jalebi.web.forms.nodes import Leaf, Many, Node
from jalebi.web.forms.values import ABSENT


@dataclass(eq=False)
class Row:
    """One item of a list, or one entry of a map with its key. `number` is its name for as long as it is there."""

    number: int
    node: Node
    key: str = ""


@dataclass(eq=False)
class Rows(Many):
    """A list or a map: rows that can be added and removed."""

    rows: list[Row] = made_by(default_factory=list)
    counted: list[Row] = made_by(default_factory=list)

    @property
    def keyed(self) -> bool:
        """Whether each row has a key."""
        return self.spec.widget in {"map", "group"}

    @property
    def optional(self) -> bool:
        """Whether it may be left out as a whole; what else an object holds may just be empty."""
        return self.spec.optional and self.spec.widget != "group"

    @property
    def help(self) -> tuple[str, ...]:
        """What helps with it; of what else an object holds, the object has told."""
        return () if self.spec.widget == "group" else self.spec.help

    @property
    def must(self) -> bool:
        """Whether it is marked as required."""
        return self.spec.widget != "group" and super().must

    @property
    def widget(self) -> str:
        """Which template shows it."""
        return "rows"

    @property
    def parts(self) -> Sequence[Node]:
        """The rows' fields."""
        return [row.node for row in self.rows] if self.used else ()

    @property
    def keys(self) -> Sequence[str]:
        """The keys that an entry may have, where they are known."""
        allowed = self.spec.part.get("propertyNames", {}).get("enum", ())
        return [one for one in allowed if isinstance(one, str)]

    def read(self, *, shown: bool = False) -> Any:
        """Return the list or the object of its rows."""
        if not self.used:
            return self.spec.empty
        self.counted, items, entries = [], [], {}
        for row in self.rows:
            value = row.node.read(shown=shown)
            if not self.keyed and value is not ABSENT:
                self.counted.append(row)
                items.append(value)
            elif self.keyed and (row.key or value not in (ABSENT, "", {}, [])):
                if row.key in entries:
                    row.node.blame("This key is there twice.")
                elif not row.key:
                    row.node.blame("Give it a key.")
                if value is ABSENT and not row.node.errors:
                    row.node.blame("Fill this in.")
                self.counted.append(row)
                entries[row.key] = None if value is ABSENT else value
        return entries if self.keyed else items

    def at(self, segment: str) -> Node | None:
        """Return a row's field by its place in the list, or by its key."""
        if self.keyed:
            return next((row.node for row in self.counted if row.key == segment), None)
        place = int(segment) if segment.isdecimal() and len(segment) < 9 else -1
        return self.counted[place].node if 0 <= place < len(self.counted) else None


@dataclass(eq=False)
class Group(Many):
    """An object's fields, and rows for what else it may hold."""

    more: Rows | None = None

    @property
    def parts(self) -> Sequence[Node]:
        """The fields inside, where they count."""
        return [*self.inner, *([self.more] if self.more else [])] if self.used else ()

    def read(self, *, shown: bool = False) -> Any:
        """Return the object."""
        if not self.used:
            return self.spec.empty
        found = {}
        for part in self.inner:
            value = part.read(shown=shown)
            if value is not ABSENT:
                found[part.label] = value
        if self.more:
            own = {part.label for part in self.inner}
            for key, value in self.more.read(shown=shown).items():
                if key in own:
                    self.more.blame(f"There is a field for {key} above.")
                else:
                    found[key] = value
        return found

    def at(self, segment: str) -> Node | None:
        """Return the field of that name."""
        own = next((part for part in self.inner if part.label == segment), None)
        return own or (self.more.at(segment) if self.more else None)


@dataclass(eq=False)
class Places(Many):
    """A list whose places have fields of their own."""

    def read(self, *, shown: bool = False) -> Any:
        """Return the list, without what is left out at its end."""
        if not self.used:
            return self.spec.empty
        found = [part.read(shown=shown) for part in self.inner]
        while found and found[-1] is ABSENT:
            found.pop()
        for value, part in zip(found, self.inner, strict=False):
            if value is ABSENT and not part.errors:
                part.blame("Fill this in.")
        return [None if value is ABSENT else value for value in found]

    def at(self, segment: str) -> Node | None:
        """Return the field at that place."""
        place = int(segment) if segment.isdecimal() and len(segment) < 9 else -1
        return self.inner[place] if 0 <= place < len(self.inner) else None


@dataclass(eq=False)
class Variants(Many):
    """Variants, of which one is chosen; only its fields count."""

    chosen: int | None = None

    @property
    def parts(self) -> Sequence[Node]:
        """The fields of the chosen variant."""
        return () if self.chosen is None else [self.inner[self.chosen]]

    @property
    def blank(self) -> str:
        """What no variant is called, or nothing where there has to be one."""
        if not self.spec.optional:
            return ""
        return "none" if self.spec.nullable else "default"

    def read(self, *, shown: bool = False) -> Any:
        """Return the value of the chosen variant."""
        return self.spec.empty if self.chosen is None else self.inner[self.chosen].read(shown=shown)

    def at(self, segment: str) -> Node | None:
        """Return what the chosen variant has there."""
        return None if self.chosen is None else self.inner[self.chosen].at(segment)


def place(root: Node, segments: Sequence[str], detail: str, told: Collection[int] = ()) -> None:
    """Note what is wrong at a place, as near to it as there is a field; not at those of which all is told."""
    node = root
    for index, segment in enumerate(segments):
        inside = node.at(segment)
        if inside is None:
            where = ".".join(segments[index:])
            if isinstance(node, Leaf) and node.widget == "list" and where.isdecimal():
                where = f"Line {int(where) + 1}"
            elif isinstance(node, Rows | Places) or node is root:
                where = where if node is root else ""
            detail = f"{where}: {detail}" if where else detail
            break
        node = inside
    while isinstance(node, Variants) and node.chosen is not None and not node.inner[node.chosen].spec.composed:
        node = node.inner[node.chosen]
    if id(node) not in told:
        node.blame(detail)

"""Where a command's words go: to a person at a terminal, or as JSON lines to a program."""

import sys
from functools import cached_property
from typing import Any

import msgspec
from rich.console import Console, RenderableType
from rich.text import Text


class Output:
    """Standard output: `human` says whether a person reads it."""

    def __init__(self, json_lines: bool) -> None:
        self.human = sys.stdout.isatty() and not json_lines

    @cached_property
    def console(self) -> Console:
        """The terminal; it respects NO_COLOR, TERM and the size of the window."""
        return Console(highlight=False, markup=False, emoji=False)

    @property
    def moving(self) -> bool:
        """Whether what was written can be drawn over."""
        return self.human and not self.console.is_dumb_terminal

    def line(self, wire: Any) -> None:
        """Write one JSON object, as the server sent it."""
        sys.stdout.buffer.write(msgspec.json.encode(wire) + b"\n")
        sys.stdout.buffer.flush()  # a program that reads along must not wait for more

    def print(self, what: RenderableType, *, wrap: bool = True) -> None:
        """Write something for a person; without `wrap`, lines are left as they are."""
        self.console.print(what, soft_wrap=not wrap)

    def either(self, wire: Any, what: RenderableType) -> None:
        """Write one thing, for whoever reads it."""
        if self.human:
            self.print(what, wrap=False)
        else:
            self.line(wire)


def clean(text: str) -> str:
    """Return a text of a job as a terminal may show it: control characters are written out, not obeyed."""
    return "".join(char if char.isprintable() or char == " " else repr(char)[1:-1] for char in text)


def say(sentence: object) -> None:
    """Say one sentence on standard error."""
    print(f"jalebi: {clean(' '.join(str(sentence).split()))}", file=sys.stderr)


def plain(text: str, style: str = "") -> Text:
    """Return a text of a job as one line for a terminal."""
    return Text(clean(text), style=style)

"""A form as a browser without scripts has it: rendered, filled in, and sent."""

import re
from html.parser import HTMLParser
from typing import Any

from jalebi import Jalebi
from jalebi.kinds import Kind
from jalebi.web import forms
from jalebi.web.templating import render

_NUMBER = re.compile(r"-?(\d+|\d*\.\d+)([eE][-+]?\d+)?")
_TIME = r"\d\d:\d\d(:\d\d(\.\d{1,3})?)?"
_DATES = {
    "date": re.compile(r"\d{4}-\d\d-\d\d"),
    "time": re.compile(_TIME),
    "datetime-local": re.compile(rf"\d{{4}}-\d\d-\d\dT{_TIME}"),
}


def kind_of(annotation: Any, default: Any = ...) -> Kind:
    """Return a kind with one parameter."""

    async def one(value: Any) -> None:
        """Take one value."""

    one.__annotations__ = {"value": annotation}
    if default is not ...:
        one.__defaults__ = (default,)
    shop = Jalebi(database_url="sqlite://")
    shop.job(name="one")(one)
    return shop.kinds.named("one")


def html_of(kind: Kind, form: forms.Form) -> str:
    """Return the form as it is on the page."""
    return render(
        "kinds/_form.html", "", kind=kind, key="k", form=form, labels=forms.option_labels(form.names), note="",
        option=forms.option, mode=forms.MODE, json=forms.JSON, do=forms.DO, files=False,
    )  # fmt: skip


class Browser(HTMLParser):
    """What a browser would send of a form."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.typed: dict[str, list[str]] = {}
        self.ids: list[str] = []
        self.buttons: list[str] = []
        self.labelled: list[str] = []
        self._area: str | None = None
        self._select: str | None = None
        self._chosen: list[tuple[str, bool]] = []
        self._text = ""
        self.feed(html)

    def _put(self, name: str | None, value: str) -> None:
        if name:
            self.typed.setdefault(name, []).append(value)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        if "id" in found:
            self.ids.append(found["id"])
        if tag == "label" and "for" in found:
            self.labelled.append(found["for"])
        if tag == "button" and "value" in found:
            self.buttons.append(found["value"])
        if tag == "textarea":
            self._area, self._text = found.get("name"), ""
        elif tag == "select":
            self._select, self._chosen = found.get("name"), []
        elif tag == "option":
            self._chosen.append((found.get("value", ""), "selected" in found))
        elif tag == "input":
            self._input(found)

    def _input(self, found: dict[str, str]) -> None:
        value, kind = found.get("value", ""), found.get("type", "text")
        if kind in {"checkbox", "radio"}:
            if "checked" in found:
                self._put(found["name"], value)
            return
        if kind == "file":
            return
        value = value.replace("\n", "\r\n") if kind == "hidden" else re.sub(r"[\r\n]", "", value)
        if kind == "number" and (not _NUMBER.fullmatch(value) or abs(float(value)) == float("inf")):
            value = ""
        if kind in _DATES and not _DATES[kind].fullmatch(value):
            value = ""
        self._put(found["name"], value)

    def handle_data(self, data: str) -> None:
        self._text += data

    def handle_endtag(self, tag: str) -> None:
        if tag == "textarea":
            text = self._text.removeprefix("\n").replace("\r", "\n")
            self._put(self._area, text.replace("\n", "\r\n"))
        elif tag == "select":
            sent = [value for value, chosen in self._chosen if chosen] or [value for value, _ in self._chosen][:1]
            self._put(self._select, sent[0])


def sent(kind: Kind, form: forms.Form) -> dict[str, list[str]]:
    """Return what a browser sends of a form that nobody touched."""
    return Browser(html_of(kind, form)).typed


def again(kind: Kind, form: forms.Form, **typed: list[str]) -> forms.Form:
    """Return a form as it comes back to the server, with some fields changed."""
    return forms.taken(forms.schema_of(kind), {**sent(kind, form), **typed})

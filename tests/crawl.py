"""Walks through every page that can be reached by links, and returns what each of them points at."""

import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Final
from urllib.parse import urljoin, urlsplit

import httpx2

_ADDRESSES: Final = ("href", "src", "action", "formaction", "poster", "hx-get", "hx-post", "hx-ws:connect")
_ID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}")
#: Pages of which there is one for each of something: one of them is enough.
_EACH: Final = re.compile(r"/(kinds|queues|errors|workers|schedules)/[^/]+")
_API: Final = re.compile("/(v1|ws)/")


@dataclass
class Page:
    """One page: what it answered, and what it points at, by kind of attribute."""

    path: str
    answer: httpx2.Response
    points: list[tuple[str, str]] = field(default_factory=list)

    @property
    def is_html(self) -> bool:
        """Whether it is shown to people."""
        return self.answer.headers.get("content-type", "").startswith("text/html")


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.points: list[tuple[str, str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.points += [(name, value) for name, value in attrs if name in _ADDRESSES and value is not None]


def shape(path: str) -> str:
    """Return a path with what differs from one job, queue, kind … to the next taken out."""
    parts = urlsplit(path)
    names = sorted({pair.partition("=")[0] for pair in parts.query.split("&") if pair})
    where = _EACH.sub(r"/<\1>", _ID.sub("<id>", parts.path))
    return f"{where}?{','.join(names)}"


async def crawl(client: httpx2.AsyncClient, root: str, seeds: list[str]) -> list[Page]:
    """Return every page that is reached from `{root}/` and the seeds, one of each shape; never leaves the host."""
    asked = {f"{root}{seed}" for seed in seeds}
    shapes = {shape(path) for path in asked}
    waiting, found = sorted(asked), list[Page]()
    while waiting:
        path = waiting.pop(0)
        page = Page(path, await client.get(path, headers={"Accept": "text/html,application/xhtml+xml"}))
        found.append(page)
        if not page.is_html:
            continue
        reader = _Reader()
        reader.feed(page.answer.text)
        page.points = reader.points
        for name, value in page.points:
            to = urlsplit(urljoin(path, value))
            address = to.path + (f"?{to.query}" if to.query else "")
            if name not in ("href", "src") or to.netloc or to.scheme or shape(address) in shapes:
                continue
            if _API.match(address.removeprefix(root)):
                continue  # the API; some of it streams
            shapes.add(shape(address))
            waiting.append(address)
    return found

"""Renders pages: the template environment, addresses of static files, and the headers of every page."""

import hashlib
from collections.abc import Mapping
from functools import cache
from typing import Any, Final
from urllib.parse import urlencode

from jinja2 import Environment, FileSystemLoader, StrictUndefined, pass_context
from jinja2.runtime import Context
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from jalebi.assets import STATIC, TEMPLATES
from jalebi.events import cursor_text, rfc3339
from jalebi.web import charts, told, words
from jalebi.web.rooms import Rooms, rooms_of, root_of
from jalebi.webhooks.addresses import without_query

HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "font-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}


@cache
def asset(name: str) -> str:
    """Return the address of a static file under the root; it changes with the content."""
    digest = hashlib.sha256((STATIC / name).read_bytes()).hexdigest()[:10]
    return f"/static/{name}?v={digest}"


@pass_context
def icon(context: Context, name: str) -> Markup:
    """Return a symbol of the sprite."""
    href = f"{context['root']}{asset('icons.svg')}#{name}"
    return Markup('<svg class="icon" aria-hidden="true"><use href="{}"/></svg>').format(href)


def when(at: float | None, *, exact: bool = False) -> Markup:
    """Return a Unix time that the page writes in the reader's own zone; an exact one with tenths of a second."""
    if at is None:
        return Markup("-")
    iso = rfc3339(at)
    more = Markup(" data-exact") if exact else ""
    return Markup('<time datetime="{}" title="{}"{}>{}</time>').format(iso, iso, more, words.moment(at))


def since(at: float) -> Markup:
    """Return since when something goes on; a page that is live writes how long that is."""
    iso = rfc3339(at)
    return Markup('<time datetime="{}" title="{}" data-since>since {}</time>').format(iso, iso, words.moment(at))


def _environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals.update(
        asset=asset,
        icon=icon,
        when=when,
        since=since,
        icons=words.ICONS,
        folders=words.FOLDERS,
        percent=words.percent,
        reached=words.reached,
        note=words.note,
        took=words.took,
        stalled=words.stalled,
        receipts=words.receipts,
        spark=charts.spark,
        spark_text=charts.spark_text,
    )
    made.filters.update(
        bare=without_query,
        number=words.number,
        seconds=words.seconds,
        size=words.size,
        ordinal=words.ordinal,
        summary=words.summary,
        pretty=words.pretty,
    )
    return made


_environment_of_pages = _environment()


def render(name: str, root: str, **values: Any) -> str:
    """Return a template as text; `root` is the path under which the application is served."""
    return _environment_of_pages.get_template(name).render(root=root, oob=False, **values)


def patch(name: str, root: str, **values: Any) -> str:
    """Return a template as a fragment that takes the place of the element with its id."""
    return _environment_of_pages.get_template(name).render(root=root, oob=True, **values)


def page(
    request: Request,
    name: str,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    *,
    view: str = "plain",
    cursor: str = "",
    **values: Any,
) -> Response:
    """Return a page; `view` and the request's query are what its WebSocket asks for, from `cursor` on."""
    root = root_of(request)
    live = f"{root}/ws/live?{live_query(request, view)}"
    origin = f"{request.url.scheme}://{request.url.netloc}"
    trouble = words.trouble(rooms_of(request).store.trouble)
    done = told.told(request)
    shown = render(name, root, live=live, cursor=cursor, origin=origin, trouble=trouble, done=done, **values)
    answer = HTMLResponse(shown, status, {**HEADERS, **(headers or {})})
    if done:
        told.forget(request, answer)
    return answer


def live_query(request: Request, view: str) -> str:
    """Return the query of the page's WebSocket."""
    pairs = [("view", view)]
    told = {"job": ("level", "q")}.get(view, tuple(request.query_params) if view == "jobs" else ())
    pairs += [(name, value) for name, value in request.query_params.multi_items() if name in told and value]
    pairs += [("job", request.path_params["id"])] if view == "job" else []
    pairs += [("queue", request.path_params["name"])] if view == "queue" else []
    return urlencode(pairs)


def cursor(rooms: Rooms, number: int) -> str:
    """Return the place in the feed at which a page is rendered."""
    return cursor_text(rooms.store.epoch, number)


class Static(StaticFiles):
    """Static files; one whose address names its content is kept for good."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        """Return a file with its caching headers."""
        answer = await super().get_response(path, scope)
        answer.headers["X-Content-Type-Options"] = "nosniff"
        kept = scope.get("query_string", b"").startswith(b"v=") and answer.status_code in {200, 304}
        answer.headers["Cache-Control"] = "public, max-age=31536000, immutable" if kept else "no-cache"
        return answer

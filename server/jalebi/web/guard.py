"""Lets requests in: the token where one is set, and pages of no other site."""

import hashlib
import hmac
from http.cookies import CookieError, SimpleCookie
from typing import Final
from urllib.parse import quote, urlsplit

from starlette.datastructures import Headers
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from jalebi.errors import Forbidden, Problem, Unauthorized
from jalebi.settings import Settings
from jalebi.web.answers import problem_answer

COOKIE: Final = "jalebi_session"
_SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_PUBLIC: Final = frozenset({"/login", "/livez", "/readyz"})


class Guard:
    """ASGI middleware in front of every route, WebSockets included."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer it with what is wrong."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        settings: Settings = scope["state"]["rooms"].settings
        problem = self._objection(scope, settings)
        if problem is None:
            await self._app(scope, receive, send)
        else:
            await self._refuse(scope, receive, send, problem)

    def _objection(self, scope: Scope, settings: Settings) -> Problem | None:
        headers = Headers(scope=scope)
        unsafe = scope["type"] == "websocket" or scope["method"] not in _SAFE_METHODS
        if unsafe and not same_site(headers, settings.origins):
            return Forbidden("The request comes from a page of another site.")
        if settings.token is None or _is_public(_path(scope)) or authenticated(headers, settings.token):
            return None
        return Unauthorized("Send the token as `Authorization: Bearer TOKEN`.", headers={"WWW-Authenticate": "Bearer"})

    async def _refuse(self, scope: Scope, receive: Receive, send: Send, problem: Problem) -> None:
        answer: Response = problem_answer(problem)
        if scope["type"] == "websocket":
            if "websocket.http.response" not in scope.get("extensions", {}):
                await send({"type": "websocket.close", "code": 1008})
                return
        elif isinstance(problem, Unauthorized) and "hx-request" in Headers(scope=scope):  # a page whose session is over
            root = str(scope.get("root_path", "")).rstrip("/")
            answer.headers["HX-Redirect"] = f"{root}/login?next={quote(_wanted(scope))}"
        elif isinstance(problem, Unauthorized) and "text/html" in Headers(scope=scope).get("accept", ""):
            root = str(scope.get("root_path", "")).rstrip("/")
            answer = RedirectResponse(f"{root}/login?next={quote(_wanted(scope))}", 303)
        await answer(scope, receive, send)


def _wanted(scope: Scope) -> str:
    query = scope.get("query_string", b"").decode("latin-1")
    return _path(scope) + (f"?{query}" if query else "")


def _is_public(path: str) -> bool:
    # Who has a share link has the right to what is below it, which its own signature says.
    return path in _PUBLIC or path.startswith(("/static/", "/share/"))


def same_site(headers: Headers, allowed: tuple[str, ...]) -> bool:
    """Whether a request comes from the server's own pages, from an allowed origin, or from no page at all."""
    origin = headers.get("origin")
    if origin is None:
        return headers.get("sec-fetch-site", "none") in {"none", "same-origin"}
    if origin in allowed:
        return True
    try:
        found = urlsplit(origin)
    except ValueError:
        return False
    if found.scheme not in {"http", "https"} or not found.netloc:
        return False
    return _with_port(found.netloc, found.scheme) == _with_port(headers.get("host", ""), found.scheme)


def authenticated(headers: Headers, token: str) -> bool:
    """Whether a request carries the token, or the session that the login page gave for it."""
    scheme, _, given = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return hmac.compare_digest(given.strip().encode(), token.encode())
    try:
        cookie = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return False
    return cookie is not None and hmac.compare_digest(cookie.value.encode(), session(token).encode())


def session(token: str) -> str:
    """Return the cookie's value for a token; the token can't be found from it."""
    return hmac.new(token.encode(), b"jalebi dashboard session", hashlib.sha256).hexdigest()


def _with_port(netloc: str, scheme: str) -> str:
    host = netloc.rpartition("@")[2].lower()
    bare = host.rpartition("]")[2] if host.startswith("[") else host
    return host if ":" in bare else f"{host}:{443 if scheme == 'https' else 80}"


def _path(scope: Scope) -> str:
    path, root = str(scope["path"]), str(scope.get("root_path", ""))
    return path.removeprefix(root) if root and path.startswith(root) else path

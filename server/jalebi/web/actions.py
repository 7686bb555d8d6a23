"""What the dashboard's buttons and forms do; each answers with a redirect, or with the page that says what is wrong."""

import hashlib
import hmac
import re
from collections.abc import Awaitable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final
from urllib.parse import quote, urlsplit

from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.types import Message, Receive

from jalebi.errors import BodyTooLarge, NotFound, Problem, StorageUnavailable, ValidationFailed
from jalebi.ids import new_id
from jalebi.jobs import Job
from jalebi.kinds import Kind
from jalebi.queue import Keyed
from jalebi.web import forms, pages
from jalebi.web.bodies import CALLER, Submission, checked
from jalebi.web.guard import COOKIE, session
from jalebi.web.job_page import job_page
from jalebi.web.json import canonical
from jalebi.web.rooms import rooms_of, root_of
from jalebi.web.templating import page
from jalebi.web.told import telling

#: What a form takes besides the files in it.
_FORM_ROOM: Final = 1 << 20
_FIELDS: Final = 1000
_KEY: Final = re.compile(r"[0-9a-f-]{36}")
#: The hidden field with the form's own key.
_KEY_FIELD: Final = forms.option("key")


async def cancel(request: Request) -> Response:
    """`POST /jobs/{id}/cancel`: cancel it, or ask it to stop."""
    return await _act(request, rooms_of(request).queue.cancel(request.path_params["id"]))


async def retry(request: Request) -> Response:
    """`POST /jobs/{id}/retry`: start it over."""
    return await _act(request, rooms_of(request).queue.retry(request.path_params["id"]), "retried")


async def _act(request: Request, doing: Awaitable[Job], done: str | None = None) -> Response:
    try:
        job = await doing
    except NotFound:
        raise
    except Problem as problem:
        return await job_page(request, problem)
    form = await request.form(max_fields=10)
    own = f"{root_of(request)}/jobs/{request.path_params['id']}"
    answer = RedirectResponse(_local(request, form.get("back")) or own, 303)
    return telling(request, answer, done or job.state)


async def delete(request: Request) -> Response:
    """`POST /jobs/{id}/delete`: purge it."""
    try:
        await rooms_of(request).queue.delete(request.path_params["id"])
    except NotFound:
        raise
    except Problem as problem:
        return await job_page(request, problem)
    return telling(request, RedirectResponse(f"{root_of(request)}/jobs", 303), "deleted")


async def submit(request: Request) -> Response:
    """`POST /kinds/{name}`: submit a job of the kind with what the form says, and go to the job's page."""
    rooms, kind = rooms_of(request), pages.kind_of(request)
    wanted = forms.fields(kind.args_schema)
    sent = await _sent(request, wanted, has_files=bool(kind.upload_fields))
    filled = forms.read(wanted, sent.typed)
    filled.wrong.update(sent.unkept)
    try:
        body = {"kind": kind.name, "args": filled.args, **forms.options(sent.typed)}
        order = checked(Submission, body).order(rooms.store.clock())
        if filled.wrong:
            kind.validate(filled.args)  # so that everything wrong is told at once
            raise ValidationFailed([])
        job, _ = await rooms.queue.submit_once(order, sent.keyed(kind))
    except ValidationFailed as refused:
        names = [field.name for field in wanted] + [forms.option(name) for name in forms.OPTIONS]
        wrong, others = forms.beside(refused.errors, names)
        filled.wrong.update({name: detail for name, detail in wrong.items() if name not in filled.wrong})
        status = StorageUnavailable.status if sent.unkept else refused.status
        return await pages.kind_page(request, kind, filled, key=sent.key, status=status, others=others)
    except NotFound:
        detail = "The job that this form has made is deleted. Submit it again to make another one."
        return await pages.kind_page(request, kind, filled, key=new_id(), status=HTTPStatus.CONFLICT, others=[detail])
    except Problem as problem:
        others = [problem.detail]
        return await pages.kind_page(request, kind, filled, key=sent.key, status=problem.status, others=others)
    return telling(request, RedirectResponse(f"{root_of(request)}/jobs/{job.id}", 303), "submitted")


@dataclass(slots=True)
class Sent:
    """A form as it came: the texts by name (of a file, the id under which it is kept), and the form's own key."""

    key: str = ""
    typed: dict[str, list[str]] = field(default_factory=dict)
    digests: dict[str, str] = field(default_factory=dict)  # of the files that came with it
    unkept: dict[str, str] = field(default_factory=dict)  # why a file could not be kept

    def keyed(self, kind: Kind) -> Keyed:
        """Return what makes one job of a form that is sent twice.

        What was typed is part of the key: a form that is changed and sent again, by way of the back button, makes a
        job of its own. No caller of the API can send a key with a tab.
        """
        content = {name: [self.digests[name]] if name in self.digests else self.typed[name] for name in self.typed}
        fingerprint = hashlib.sha256(canonical([kind.name, content])).hexdigest()
        return Keyed(CALLER, f"form\t{self.key}\t{fingerprint}", fingerprint)


async def _sent(request: Request, wanted: list[forms.Field], *, has_files: bool) -> Sent:
    """Read a form, and keep the files in it."""
    settings = rooms_of(request).settings
    texts = settings.max_body + _FORM_ROOM
    limit = texts + (settings.max_upload if has_files else 0)
    limited = Request(request.scope, _limited(request, limit))
    files = {one.name for one in wanted if one.widget == "file"}
    sent = Sent()
    typed = sent.typed
    async with limited.form(max_files=len(files) + 1, max_fields=_FIELDS, max_part_size=texts) as form:
        for name, value in form.multi_items():
            if isinstance(value, str):
                # A file that was handed in with an earlier try is not asked for again.
                if name not in files or not typed.get(name):
                    typed.setdefault(name, []).append(value)
            elif name in files and value.filename:
                try:
                    upload_id, sent.digests[name] = await _keep(request, value)
                    typed[name] = [upload_id]
                except StorageUnavailable as problem:
                    sent.unkept[name] = problem.detail
    [key] = typed.pop(_KEY_FIELD, [""])[-1:]
    sent.key = key if _KEY.fullmatch(key) else new_id()
    return sent


async def _keep(request: Request, file: UploadFile) -> tuple[str, str]:
    """Keep a file that came with a form; return its id and a digest of its content."""
    digest = hashlib.sha256()
    async with rooms_of(request).files.receive() as (upload_id, sink):
        while part := await file.read(1 << 20):
            sink.write(part)
            digest.update(part)
    return upload_id, digest.hexdigest()


def _limited(request: Request, limit: int) -> Receive:
    """Return the request's messages; a body over the limit ends with BodyTooLarge."""
    taken = 0

    async def receive() -> Message:
        nonlocal taken
        message = await request.receive()
        taken += len(message.get("body", b""))
        if taken > limit:
            raise BodyTooLarge(f"The form may have {limit} bytes at most.", headers={"Connection": "close"})
        return message

    return receive


async def login(request: Request) -> Response:
    """`POST /login`: open a session for the token, and go where the reader wanted to go."""
    token = rooms_of(request).settings.token
    form = await request.form(max_fields=10)
    given, following = str(form.get("token", "")), str(form.get("next", ""))
    if token is None:
        return RedirectResponse(f"{root_of(request)}/", 303)
    if not hmac.compare_digest(given.strip().encode(), token.encode()):
        return page(request, "login.html", 401, wrong=True, next=following)
    answer = RedirectResponse(_local(request, following) or f"{root_of(request)}/", 303)
    answer.set_cookie(
        COOKIE, session(token), path=root_of(request) or "/", httponly=True, samesite="strict",
        secure=request.url.scheme == "https",
    )  # fmt: skip
    return answer


def _local(request: Request, target: object) -> str | None:
    """Return an address under our root that a form or a query names as a path, or None."""
    if not isinstance(target, str) or not target.startswith("/") or target.startswith("//") or "\\" in target:
        return None
    if any(ord(char) < 32 for char in target) or urlsplit(target).netloc:
        return None
    return root_of(request) + quote(target, safe="/?&=%+:,;@!$'()*-._~")

"""What a kind's form does: it submits a job, or comes back with what is wrong, or with one row more."""

import hashlib
import re
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final

from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.types import Message, Receive

from jalebi.errors import BodyTooLarge, NotFound, Problem, StorageUnavailable, ValidationFailed
from jalebi.ids import new_id
from jalebi.kinds import Kind
from jalebi.queue import Keyed
from jalebi.web import forms
from jalebi.web.bodies import CALLER, Submission, checked
from jalebi.web.json import canonical
from jalebi.web.kind_pages import kind_of, kind_page
from jalebi.web.rooms import rooms_of, root_of
from jalebi.web.told import telling

#: What a form takes besides the files in it, and how many of these.
_FORM_ROOM: Final = 1 << 20
_FILES: Final = 50
_KEY: Final = re.compile(r"[0-9a-f-]{36}")
#: The hidden field with the form's own key.
_KEY_FIELD: Final = forms.option("key")


@dataclass(slots=True)
class Sent:
    """A form as it came: its fields, its own key, and what a button of it asks for but to submit."""

    form: forms.Form
    key: str = ""
    do: str = ""
    digests: dict[str, str] = field(default_factory=dict)  # of the files that came with it
    unkept: bool = False  # a file could not be kept

    def keyed(self, kind: Kind) -> Keyed:
        """Return what makes one job of a form that is sent twice.

        What was typed is part of the key: a form that is changed and sent again, by way of the back button, makes a
        job of its own. No caller of the API can send a key with a tab.
        """
        typed = self.form.typed
        content = {name: [self.digests[name]] if name in self.digests else typed[name] for name in typed}
        fingerprint = hashlib.sha256(canonical([kind.name, content])).hexdigest()
        return Keyed(CALLER, f"form\t{self.key}\t{fingerprint}", fingerprint)


async def submit(request: Request) -> Response:
    """`POST /kinds/{name}`: submit a job of the kind with what the form says, and go to the job's page."""
    rooms, kind = rooms_of(request), kind_of(request)
    sent = await _sent(request, kind)
    form = sent.form
    if sent.do and form.do(sent.do):
        return await kind_page(request, kind, form, key=sent.key)
    try:
        order = _submission(kind, form).order(rooms.store.clock())
        job, _ = await rooms.queue.submit_once(order, sent.keyed(kind))
    except ValidationFailed as refused:
        form.refuse(refused.errors)
        status = StorageUnavailable.status if sent.unkept else refused.status
        return await kind_page(request, kind, form, key=sent.key, status=status)
    except NotFound:
        form.others.append("The job that this form has made is deleted. Submit it again to make another one.")
        return await kind_page(request, kind, form, key=new_id(), status=HTTPStatus.CONFLICT)
    except Problem as problem:
        form.others.append(problem.detail)
        return await kind_page(request, kind, form, key=sent.key, status=problem.status)
    return telling(request, RedirectResponse(f"{root_of(request)}/jobs/{job.id}", 303), "submitted")


def _submission(kind: Kind, form: forms.Form) -> Submission:
    """Return what a form submits. Raises ValidationFailed with all that is wrong, in the args and beside them."""
    body = {"kind": kind.name, "args": form.given(), **forms.options(form.typed)}
    errors: list[dict[str, str]] = []
    found = None
    try:
        found = checked(Submission, body)
    except ValidationFailed as refused:
        errors += refused.errors or ()
    try:
        kind.validate(body["args"])
    except ValidationFailed as refused:
        errors += refused.errors or ()
    if found is None or errors or form.others or form.unreadable:
        raise ValidationFailed(errors)
    return found


async def _sent(request: Request, kind: Kind) -> Sent:
    """Read a form, and keep the files in it."""
    settings, schema = rooms_of(request).settings, forms.schema_of(kind)
    texts = settings.max_body + _FORM_ROOM
    has_files = forms.takes_files(schema)
    limited = Request(request.scope, _limited(request, texts + (settings.max_upload if has_files else 0)))
    typed: dict[str, list[str]] = {}
    files: dict[str, UploadFile] = {}
    most = {"max_files": _FILES if has_files else 1, "max_fields": forms.MOST_TYPED, "max_part_size": texts}
    async with limited.form(**most) as parts:
        for name, value in parts.multi_items():
            if isinstance(value, str):
                typed.setdefault(name, []).append(value)
            elif value.filename:
                files[name] = value
        key, do = (typed.pop(name, [""])[-1] for name in (_KEY_FIELD, forms.DO))
        sent = Sent(forms.taken(schema, typed), key if _KEY.fullmatch(key) else new_id(), do)
        for leaf in sent.form.files:
            if leaf.name in files:
                # A file that was handed in with an earlier try is not asked for again, but another one takes its place.
                await _keep(request, leaf, files[leaf.name], sent, typed)
    return sent


async def _keep(request: Request, leaf: forms.Leaf, file: UploadFile, sent: Sent, typed: dict[str, list[str]]) -> None:
    """Keep a file that came with a form, and note a digest of its content."""
    digest = hashlib.sha256()
    try:
        async with rooms_of(request).files.receive() as (upload_id, sink):
            while part := await file.read(1 << 20):
                sink.write(part)
                digest.update(part)
    except StorageUnavailable as problem:
        leaf.blame(problem.detail)
        sent.unkept = True
    else:
        leaf.texts = typed[leaf.name] = [upload_id]
        sent.digests[leaf.name] = digest.hexdigest()


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

"""The pages of kinds: all of them, and each with the form that submits a job of it."""

import json
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from jalebi.errors import NotFound
from jalebi.estimates import quantile
from jalebi.ids import new_id
from jalebi.kinds import Kind
from jalebi.store import reads
from jalebi.web import contents, forms
from jalebi.web.rooms import rooms_of
from jalebi.web.templating import page


async def kinds(request: Request) -> Response:
    """`GET /kinds`: every kind of job."""
    rooms = rooms_of(request)
    found = rooms.kinds.all()

    took = await rooms.queue.forecast.durations([kind.name for kind in found])
    counts = await rooms.store.read(reads.kind_counts)
    shown = {name: _shown(states) for name, states in counts.items()}
    typical = {name: quantile(durations, 0.5) for name, durations in took.items()}
    return page(request, "kinds.html", kinds=found, typical=typical, counts=shown)


def _shown(states: dict[str, int]) -> dict[str, int]:
    """Return how many jobs are where, without what there is none of."""
    return {state: n for state, n in contents.grouped(states).items() if n and state not in {"", "all"}}


async def kind(request: Request) -> Response:
    """`GET /kinds/{name}`: one kind and the form that submits a job of it, with the args of the job in `?from=`."""
    found = kind_of(request)
    form, note = forms.shown(forms.schema_of(found)), ""
    if request.query_params.get("from"):
        form, note = await _again(request, found, request.query_params["from"])
    return await kind_page(request, found, form, key=new_id(), note=note)


async def _again(request: Request, found: Kind, job_id: str) -> tuple[forms.Form, str]:
    """Return a form with the args and the options of a job, and what there is to say of that."""
    rooms, schema = rooms_of(request), forms.schema_of(found)
    try:
        job = await rooms.queue.get(job_id)
    except NotFound:
        return forms.shown(schema), "There is no such job any more: the form has the defaults."
    if job.kind != found.name:
        return forms.shown(schema), f"That job is a {job.kind}: the form has the defaults."
    form = forms.shown(schema, json.loads(job.args))
    note = "The form has the args of that job. Change what you like."
    for leaf in form.files:
        if leaf.text and not rooms.files.has_upload(leaf.text):
            leaf.texts, note = [], f"{note} Its file is not kept any more: choose one again."
    said: dict[str, Any] = {
        "queue": job.queue if job.queue != found.queue else "",
        "priority": job.priority if job.priority != found.priority else "",
        "tags": ", ".join(job.tags) if not any("," in tag for tag in job.tags) else "",
        "timeout": f"{job.timeout:g}" if job.timeout != found.timeout else "",
        "max_attempts": job.max_attempts if job.max_attempts != found.max_attempts else "",
    }
    form.typed = {forms.option(name): [str(one)] for name, one in said.items() if one != ""}
    return form, note


def kind_of(request: Request) -> Kind:
    """Return the kind in the address. Raises NotFound."""
    name = request.path_params["name"]
    rooms = rooms_of(request)
    if name not in rooms.kinds:
        raise NotFound(f"There is no kind {name!r}.")
    return rooms.kinds.named(name)


async def kind_page(
    request: Request, found: Kind, form: forms.Form, *, key: str, status: int = 200, note: str = ""
) -> Response:
    """Return a kind's page with its form. `key` is the form's own: sent twice, it makes one job."""
    took = await rooms_of(request).queue.forecast.durations([found.name])
    return page(
        request,
        "kind.html",
        status,
        kind=found,
        key=key,
        form=form,
        labels=forms.option_labels(form.names),
        typical=quantile(took[found.name], 0.5),
        note=note,
        option=forms.option,
        mode=forms.MODE,
        json=forms.JSON,
        do=forms.DO,
        files=forms.takes_files(forms.schema_of(found)),
    )

"""The JSON routes of webhooks: endpoints with secrets of their own, and what was delivered of a job or a batch."""

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from jalebi.events import rfc3339
from jalebi.settings import is_secret
from jalebi.store.deliveries import Delivery, Endpoint
from jalebi.web.answers import NO_STORE, json_answer
from jalebi.web.bodies import checked, known_parameters, read_object
from jalebi.web.rooms import rooms_of
from jalebi.webhooks.addresses import without_query


def _secret(text: str) -> str:
    if not is_secret(text):
        raise ValueError("must be whsec_ and 24 to 64 bytes in base64")
    return text


class EndpointBody(BaseModel):
    """The body of `POST /v1/webhooks`: where webhooks go that have a secret of their own; without one it is made."""

    model_config = ConfigDict(extra="forbid", strict=True)

    url: Annotated[str, Field(min_length=1, max_length=2048)]
    secret: Annotated[str, AfterValidator(_secret)] | None = None


class Rotation(BaseModel):
    """The body of `POST …/rotate`; it may be left out. For `overlap` seconds the old secret signs too."""

    model_config = ConfigDict(extra="forbid", strict=True)

    overlap: Annotated[float, Field(ge=0, le=30 * 86400)] = 86400.0


async def endpoints(request: Request) -> Response:
    """`GET /v1/webhooks`: where webhooks go that have a secret of their own; the secrets are not shown again."""
    known_parameters(request.query_params)
    found = await rooms_of(request).webhooks.endpoints()
    return json_answer({"endpoints": [_shown(one) for one in found]})


async def add(request: Request) -> Response:
    """`POST /v1/webhooks`: give the webhooks to a URL, and to all below it, a secret of their own."""
    body = checked(EndpointBody, await read_object(request))
    made = await rooms_of(request).webhooks.add(body.url, body.secret)
    return json_answer({**_shown(made), "secret": made.secret}, 201)


async def rotate(request: Request) -> Response:
    """`POST /v1/webhooks/{id}/rotate`: a new secret, beside which the old one signs for a while."""
    body = checked(Rotation, await read_object(request, empty={}))
    made = await rooms_of(request).webhooks.rotate(request.path_params["id"], body.overlap)
    return json_answer({**_shown(made), "secret": made.secret})


async def remove(request: Request) -> Response:
    """`DELETE /v1/webhooks/{id}`: let the secret of the settings sign again."""
    await rooms_of(request).webhooks.remove(request.path_params["id"])
    return Response(status_code=204, headers=NO_STORE)


def _shown(one: Endpoint) -> dict[str, Any]:
    return {
        "id": one.id,
        "url": one.url,
        "created_at": rfc3339(one.created_at),
        "previous_until": rfc3339(one.previous_until),
    }


async def of_job(request: Request) -> Response:
    """`GET /v1/jobs/{id}/webhooks`: the messages about a job, with every try."""
    job = await rooms_of(request).queue.get(request.path_params["id"])
    return await _history(request, job.id)


async def of_batch(request: Request) -> Response:
    """`GET /v1/batches/{id}/webhooks`: the messages about a batch, with every try."""
    batch, _ = await rooms_of(request).batches.get(request.path_params["id"])
    return await _history(request, batch.id)


async def _history(request: Request, about: str) -> Response:
    known_parameters(request.query_params)
    found = await rooms_of(request).webhooks.history(about)
    return json_answer({"deliveries": [delivery_wire(one) for one in found]})


async def redeliver(request: Request) -> Response:
    """`POST …/webhooks/{delivery}/redeliver`: send a message again, at once and with all its tries before it."""
    about, delivery = request.path_params["id"], request.path_params["delivery"]
    desk = rooms_of(request).webhooks
    await desk.redeliver(about, delivery)
    found = {one.id: one for one in await desk.history(about)}
    return json_answer(delivery_wire(found[delivery]), 202)


def delivery_wire(one: Delivery) -> dict[str, Any]:
    """Return the wire form of a message and its tries; what is secret in a URL stands in its query."""
    return {
        "id": one.id,
        "event": one.event,
        "url": without_query(one.url),
        "state": one.state,
        "next_at": rfc3339(one.next_at) if one.state == "pending" else None,
        "created_at": rfc3339(one.created_at),
        "delivered_at": rfc3339(one.ended_at) if one.state == "delivered" else None,
        "tries": [
            {"at": rfc3339(tried.at), "seconds": round(tried.seconds, 3), "status": tried.status, "error": tried.error,
             "answer": tried.answer}
            for tried in one.history
        ],
    }  # fmt: skip

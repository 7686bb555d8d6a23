"""What can be asked of the server, as a table: methods, paths, parameters, bodies and answers."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final

from jalebi import errors
from jalebi.errors import Problem
from jalebi.jobs import State
from jalebi.web.bodies import DEFAULT_PAGE, MAX_PAGE
from jalebi.web.openapi.schemas import ANY, BOOL, CURSOR, ID, TEXT, TIME, WHOLE, Schema, about, each, ref

JSON: Final = "application/json"
EVENTS: Final = "text/event-stream"
LINES: Final = "application/x-ndjson"


@dataclass(frozen=True)
class Answer:
    """A good answer: its status, what it says, its body by media type, and its headers."""

    status: int
    description: str
    body: dict[str, Schema] = field(default_factory=dict)
    headers: tuple[str, ...] = ()


@dataclass(frozen=True)
class Operation:
    """A method of a path."""

    method: str
    path: str
    name: str
    summary: str
    answers: Sequence[Answer]
    problems: Sequence[type[Problem]] = ()
    query: Sequence[tuple[str, str, Schema]] = ()
    body: dict[str, Schema] = field(default_factory=dict)
    needs_body: bool = True
    headers: Sequence[tuple[str, str, Schema]] = ()


def _json(schema: Schema) -> dict[str, Schema]:
    return {JSON: schema}


_JOB: Final = _json(ref("Job"))
_FILE: Final[Schema] = {"type": "string", "format": "binary"}
_STATES: Final = {"type": "array", "items": {"enum": [state.value for state in State]}}
_MATCH: Final = (
    ("state", "Only jobs in one of these states", _STATES),
    ("kind", "Only jobs of one of these kinds", each(TEXT)),
    ("queue", "Only jobs of one of these queues", each(TEXT)),
    ("tag", "Only jobs with all of these tags", each(TEXT)),
    ("batch", "Only jobs of one of these batches", each(ID)),
)
_PAGE: Final[Schema] = {"type": "integer", "minimum": 1, "maximum": MAX_PAGE, "default": DEFAULT_PAGE}
_LIST: Final = (
    *_MATCH,
    ("q", "Only jobs with this text in their id, kind, args or tags", TEXT),
    ("created_after", "Only jobs created after this time", TIME),
    ("created_before", "Only jobs created before this time", TIME),
    ("limit", "How many jobs a page has", _PAGE),
    ("cursor", "`next` of the page before", TEXT),
)
_REDIRECT: Final = (("redirect", "`false` answers 200 in place of 303", {**BOOL, "default": True}),)
_UNREADABLE: Final = (errors.MalformedRequest, errors.BodyTooLarge, errors.UnsupportedMediaType)
_KEY: Final = (
    "Idempotency-Key",
    "The same key and payload again gives the same job; kept for a day at least",
    {"type": "string", "minLength": 1, "maxLength": 255},
)
_WATCH: Final = ("Location", "Retry-After")
_CANCEL: Final = (Answer(200, "It is cancelled", _JOB), Answer(202, "It was asked to stop", _JOB, _WATCH))
_CANCEL_PROBLEMS: Final = (errors.NotFound, errors.JobFinished, *_UNREADABLE, errors.ValidationFailed)
_PREFER: Final = ("Prefer", "`wait=N`: for how many seconds to wait, 30 at the most (RFC 7240)", TEXT)
_CONDITIONAL: Final = (("If-None-Match", "The ETag of what the caller has", TEXT), _PREFER)
_SAME: Final = Answer(304, "Nothing has changed", headers=("ETag",))
_APPLIED: Final = ("Preference-Applied",)
_REPLAYED: Final = ("Idempotent-Replayed",)
_HELLO: Final[Schema] = {"oneOf": [ref("Hello"), ref("Event"), ref("ProgressEvent"), ref("Reset"), ref("Snapshot")]}
_SNAPSHOT: Final[Schema] = {"oneOf": [ref("Snapshot"), ref("Event"), ref("ProgressEvent")]}
_STREAM: Final = about(TEXT, "Server-sent events: each holds one message of the WebSocket's, as JSON")
_LINE: Final = about(ref("Event"), "A message a line, as JSON; with `follow` progress too")
_CHANGES: Final = {JSON: ref("AllEvents"), EVENTS: _STREAM, LINES: _LINE}
_PAGED: Final = (
    ("limit", "How many events a page has at most", _PAGE),
    ("follow", "Of lines: whether they go on with what comes", {**BOOL, "default": False}),
)
_LAST_ID: Final = (("Last-Event-ID", "Of a stream: the id that came last; it wins over `after`", TEXT), _PREFER)

_A_PAGE: Final = "A page; where a search takes long it holds fewer jobs than `limit`, the last is that without `next`"

OPERATIONS: Final = (
    Operation("GET", "/v1/jobs", "listJobs", "Jobs, newest first", [Answer(200, _A_PAGE, _json(ref("Jobs")))],
              [errors.MalformedRequest, errors.ValidationFailed], query=_LIST),
    Operation("POST", "/v1/jobs", "submitJob", "Hand in a job; it is stored before the answer",
              [Answer(202, "The job is stored", _JOB, (*_WATCH, *_REPLAYED, *_APPLIED)),
               Answer(200, "It has ended within the time that `Prefer` names", _JOB, ("Location", *_APPLIED))],
              [*_UNREADABLE, errors.NotFound, errors.ValidationFailed, errors.UnknownKind, errors.KeyReused,
               errors.QueueFull, errors.Draining, errors.StorageUnavailable],
              body=_json(ref("Submission")), headers=(_KEY, _PREFER)),
    Operation("POST", "/v1/jobs/batch", "submitBatch", "Hand in jobs together, all or none",
              [Answer(202, "The jobs are stored", _json(ref("NewBatch")), (*_WATCH, *_REPLAYED))],
              [*_UNREADABLE, errors.NotFound, errors.ValidationFailed, errors.UnknownKind, errors.KeyReused,
               errors.QueueFull, errors.Draining, errors.StorageUnavailable],
              body=_json(ref("BatchSubmission")), headers=(_KEY,)),
    Operation("GET", "/v1/batches/{id}", "getBatch", "How a batch stands",
              [Answer(200, "The batch", _json(ref("Batch")), ("ETag", *_APPLIED)), _SAME], [errors.NotFound],
              headers=_CONDITIONAL),
    Operation("GET", "/v1/batches/{id}/events", "listBatchEvents", "What has happened to its jobs, in order",
              [Answer(200, "A page, a stream until the batch is over, or lines", _CHANGES),
               Answer(204, "No stream: the batch is over and the reader has it all")],
              [errors.NotFound, errors.MalformedRequest, errors.ValidationFailed], headers=_LAST_ID,
              query=(("after", "Only events after this cursor", CURSOR), *_PAGED)),
    Operation("GET", "/v1/batches/{id}/results", "listBatchResults", "What came of its jobs",
              [Answer(200, "A page", _json(ref("Results")))],
              [errors.NotFound, errors.MalformedRequest, errors.ValidationFailed],
              query=(("after", "Only jobs after this one", ID), ("limit", "How many a page has", _PAGE))),
    Operation("POST", "/v1/batches/{id}/cancel", "cancelBatch", "Cancel its jobs that are not over",
              [Answer(200, "All are over", _json(ref("Batch"))),
               Answer(202, "Some were asked to stop", _json(ref("Batch")))],
              [errors.NotFound, *_UNREADABLE, errors.ValidationFailed], body=_json(ref("Cancellation")),
              needs_body=False),
    Operation("POST", "/v1/jobs/bulk", "actOnJobs", "Cancel, retry or delete everything that passes a filter, as a job",
              [Answer(200, "What it would touch: a dry run", _json(ref("Matching"))),
               Answer(202, "The job that does it", _JOB, _WATCH)],
              [*_UNREADABLE, errors.ValidationFailed, errors.BulkGrew, errors.Draining, errors.StorageUnavailable],
              body=_json(ref("BulkAction"))),
    Operation("GET", "/v1/jobs/{id}", "getJob", "The job, in every state",
              [Answer(200, "The job", _JOB, ("ETag", *_APPLIED)), _SAME], [errors.NotFound], headers=_CONDITIONAL),
    Operation("DELETE", "/v1/jobs/{id}", "deleteJob", "Purge a job with its logs and files", [Answer(204, "Gone")],
              [errors.NotFound, errors.JobActive]),
    Operation("GET", "/v1/jobs/{id}/status", "getStatus", "The status monitor",
              [Answer(200, "Not over yet", _JOB, ("Retry-After", "ETag", *_APPLIED)), _SAME,
               Answer(303, "Over", _JOB, ("Location",))],
              [errors.NotFound, errors.MalformedRequest], query=_REDIRECT, headers=_CONDITIONAL),
    Operation("DELETE", "/v1/jobs/{id}/status", "cancelByStatus", "Cancel a job", _CANCEL, _CANCEL_PROBLEMS,
              body=_json(ref("Cancellation")), needs_body=False),
    Operation("GET", "/v1/jobs/{id}/result", "getResult", "What the job returned",
              [Answer(200, "The result", _json(ANY))],
              [errors.NotFound, errors.JobNotFinished, errors.JobFailedProblem, errors.JobCancelledProblem]),
    Operation("POST", "/v1/jobs/{id}/cancel", "cancelJob", "Cancel a job", _CANCEL, _CANCEL_PROBLEMS,
              body=_json(ref("Cancellation")), needs_body=False),
    Operation("POST", "/v1/jobs/{id}/retry", "retryJob", "Start a finished job over",
              [Answer(202, "It is in line again", _JOB, _WATCH)],
              [errors.NotFound, errors.JobActive, errors.Draining]),
    Operation("GET", "/v1/jobs/{id}/events", "listEvents", "What has happened to the job, in order",
              [Answer(200, "A page, a stream until the job is over, or lines",
                      {JSON: ref("Events"), EVENTS: _STREAM, LINES: _LINE}),
               Answer(204, "No stream: the job is over and the reader has it all; an EventSource stays away")],
              [errors.NotFound, errors.MalformedRequest, errors.ValidationFailed], headers=_LAST_ID,
              query=(("after", "Only events after this `seq`", WHOLE), *_PAGED)),
    Operation("GET", "/v1/events", "listAllEvents", "What has happened to all matching jobs, in order",
              [Answer(200, "A page, a stream without an end, or lines", _CHANGES)],
              [errors.MalformedRequest, errors.ValidationFailed], headers=_LAST_ID,
              query=(*_MATCH, ("after", "Only events after this cursor", CURSOR), *_PAGED)),
    Operation("GET", "/v1/jobs/{id}/logs", "getLogs", "The job's lines, one JSON object a line, or text",
              [Answer(200, "The lines", {"application/x-ndjson": ref("LogLine"), "text/plain": TEXT})],
              [errors.NotFound, errors.MalformedRequest], query=(("after", "Only lines after this one", WHOLE),)),
    Operation("GET", "/v1/jobs/{id}/files", "listFiles", "What the job has attached",
              [Answer(200, "The files", _json(ref("Files")))], [errors.NotFound]),
    Operation("GET", "/v1/jobs/{id}/files/{name}", "getFile", "One file, whole or in ranges",
              [Answer(200, "The file", {"*/*": _FILE}, ("ETag",)), Answer(206, "A part", {"*/*": _FILE}),
               Answer(304, "Not changed")],
              [errors.NotFound, errors.RangeTooFar]),
    Operation("POST", "/v1/uploads", "uploadFile", "Hand in a file for a job's parameter",
              [Answer(201, "It is kept for a day", _json(ref("Upload")))],
              [errors.MalformedRequest, errors.BodyTooLarge], body={"*/*": _FILE}),
    Operation("GET", "/v1/jobs/{id}/watch", "drawJob", "The job, drawn in a terminal until it is over",
              [Answer(200, "A bar that moves, or a line for each change", {"text/plain": TEXT})],
              [errors.NotFound, errors.MalformedRequest, errors.ValidationFailed],
              query=(("ansi", "Whether to draw over what was drawn; by the program that asks, where not said", BOOL),
                     ("width", "Columns of the terminal", {"type": "integer", "minimum": 30, "maximum": 500}))),
    Operation("GET", "/v1/jobs/{id}/badge.svg", "getBadge", "A picture of state and percent",
              [Answer(200, "The picture", {"image/svg+xml": TEXT}, ("ETag",)), _SAME],
              [errors.NotFound, errors.ValidationFailed]),
    Operation("POST", "/v1/jobs/{id}/share", "shareJob", "A link with which anybody may watch the job for a time",
              [Answer(201, "The link", _json(ref("Share")), ("Location",))],
              [errors.NotFound, *_UNREADABLE, errors.ValidationFailed], body=_json(ref("Sharing")), needs_body=False),
    Operation("GET", "/share/{token}/status", "getShared", "How the job of a link is",
              [Answer(200, "What a link shows", _json(ref("Shared")))], [errors.NotFound, errors.Forbidden]),
    Operation("GET", "/share/{token}/events", "followShared", "The same as a stream, until the job or the link ends",
              [Answer(200, "The stream", {EVENTS: _STREAM}), Answer(204, "It is over, and the reader has it all")],
              [errors.NotFound, errors.Forbidden, errors.MalformedRequest], headers=_LAST_ID,
              query=(("after", "Only what comes after this `seq`", WHOLE),)),
    Operation("GET", "/share/{token}/badge.svg", "getSharedBadge", "A picture of state and percent",
              [Answer(200, "The picture", {"image/svg+xml": TEXT}, ("ETag",)), _SAME],
              [errors.NotFound, errors.Forbidden]),
    Operation("GET", "/v1/jobs/{id}/webhooks", "listDeliveries", "What its webhook was told, with every try",
              [Answer(200, "The messages", _json(ref("Deliveries")))], [errors.NotFound, errors.ValidationFailed]),
    Operation("POST", "/v1/jobs/{id}/webhooks/{delivery}/redeliver", "redeliver", "Send a message again",
              [Answer(202, "It is due at once", _json(ref("Delivery")))], [errors.NotFound, errors.StorageUnavailable]),
    Operation("GET", "/v1/batches/{id}/webhooks", "listBatchDeliveries", "What its webhook was told, with every try",
              [Answer(200, "The messages", _json(ref("Deliveries")))], [errors.NotFound, errors.ValidationFailed]),
    Operation("POST", "/v1/batches/{id}/webhooks/{delivery}/redeliver", "redeliverOfBatch", "Send a message again",
              [Answer(202, "It is due at once", _json(ref("Delivery")))], [errors.NotFound, errors.StorageUnavailable]),
    Operation("GET", "/v1/webhooks", "listEndpoints", "Where webhooks go that have a secret of their own",
              [Answer(200, "The endpoints", _json(ref("Endpoints")))], [errors.ValidationFailed]),
    Operation("POST", "/v1/webhooks", "addEndpoint", "Give the webhooks to a URL, and to all below it, a secret",
              [Answer(201, "The secret, shown this once", _json(ref("EndpointSecret")))],
              [*_UNREADABLE, errors.ValidationFailed, errors.StorageUnavailable], body=_json(ref("EndpointBody"))),
    Operation("POST", "/v1/webhooks/{id}/rotate", "rotateSecret", "A new secret; the old one signs too for a while",
              [Answer(200, "The secret, shown this once", _json(ref("EndpointSecret")))],
              [errors.NotFound, *_UNREADABLE, errors.ValidationFailed, errors.StorageUnavailable],
              body=_json(ref("Rotation")), needs_body=False),
    Operation("DELETE", "/v1/webhooks/{id}", "removeEndpoint", "Let the server's own secret sign again",
              [Answer(204, "It is gone")], [errors.NotFound, errors.StorageUnavailable]),
    Operation("GET", "/v1/kinds", "listKinds", "What can be run", [Answer(200, "The kinds", _json(ref("Kinds")))]),
    Operation("GET", "/v1/kinds/{name}", "getKind", "One kind", [Answer(200, "The kind", _json(ref("Kind")))],
              [errors.NotFound]),
    Operation("GET", "/v1/queues", "listQueues", "Queues, by name",
              [Answer(200, "The queues", _json(ref("Queues")))]),
    Operation("POST", "/v1/queues/{name}/pause", "pauseQueue", "Start no more of a queue's jobs",
              [Answer(200, "It is paused", _json(ref("Queue")))], [errors.NotFound, errors.StorageUnavailable]),
    Operation("POST", "/v1/queues/{name}/resume", "resumeQueue", "Start a queue's jobs again",
              [Answer(200, "It goes on", _json(ref("Queue")))], [errors.NotFound, errors.StorageUnavailable]),
    Operation("GET", "/v1/stats", "getStats", "Figures", [Answer(200, "The figures", _json(ref("Stats")))]),
    Operation("GET", "/livez", "isAlive", "Is the server alive?", [Answer(200, "Yes", _json(ref("Health")))]),
    Operation("GET", "/readyz", "isReady", "May the server get work?", [Answer(200, "Yes", _json(ref("Health")))],
              [errors.Draining, errors.StorageUnavailable]),
    Operation("GET", "/openapi.json", "getOpenapi", "This document", [Answer(200, "It", _json({"type": "object"}))]),
    Operation("GET", "/ws/jobs/{id}", "watchJob", "WebSocket: a job's events until it is over",
              [Answer(101, "Messages follow", _json(_SNAPSHOT))],
              [errors.MalformedRequest, errors.ValidationFailed, errors.Forbidden],
              query=(("after", "Begin after this `seq`, not with a snapshot", WHOLE),)),
    Operation("GET", "/ws/events", "watchEvents", "WebSocket: the events of all matching jobs",
              [Answer(101, "Messages follow", _json(_HELLO))],
              [errors.MalformedRequest, errors.ValidationFailed, errors.Forbidden],
              query=(*_MATCH, ("after", "Begin after this cursor, not with now", CURSOR))),
)  # fmt: skip


def paths() -> dict[str, dict[str, Any]]:
    """Return the document's paths."""
    found: dict[str, dict[str, Any]] = {}
    for operation in OPERATIONS:
        found.setdefault(operation.path, {})[operation.method.lower()] = _described(operation)
    return found


def _described(operation: Operation) -> dict[str, Any]:
    found: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "parameters": [
            *_in_path(operation.path),
            *(_parameter("query", *one) for one in operation.query),
            *(_parameter("header", *one) for one in operation.headers),
        ],
        "responses": {str(answer.status): _answer(answer) for answer in operation.answers} | _problems(operation),
    }
    if operation.body:
        found["requestBody"] = {"required": operation.needs_body, "content": _content(operation.body)}
    return found


def _in_path(path: str) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "path", "required": True, "schema": ID if name == "id" else TEXT}
        for name in re.findall(r"\{(\w+)\}", path)
    ]


def _parameter(place: str, name: str, description: str, schema: Schema) -> dict[str, Any]:
    return {"name": name, "in": place, "description": description, "schema": schema}


def _content(body: dict[str, Schema]) -> dict[str, Any]:
    return {media_type: {"schema": schema} for media_type, schema in body.items()}


def _answer(answer: Answer) -> dict[str, Any]:
    found: dict[str, Any] = {"description": answer.description}
    if answer.body:
        found["content"] = _content(answer.body)
    if answer.headers:
        found["headers"] = {name: {"schema": TEXT} for name in answer.headers}
    return found


def _problems(operation: Operation) -> dict[str, Any]:
    """Return the bad answers by status; whatever else goes wrong is a problem document too."""
    titles: dict[HTTPStatus, list[str]] = {}
    for problem in operation.problems:
        titles.setdefault(problem.status, []).append(f"{problem.title} (`{problem.type}`)")
    content = {"application/problem+json": {"schema": ref("Problem")}}
    found = {str(int(status)): {"description": "; ".join(all_), "content": content} for status, all_ in titles.items()}
    return {**found, "default": {"description": "Any other problem", "content": content}}

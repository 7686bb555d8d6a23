"""The shapes of what goes over the wire, as JSON Schema (2020-12) components."""

from typing import Any, Final, get_args

from pydantic import BaseModel

from jalebi.estimates import Basis
from jalebi.events import TYPES
from jalebi.jobs import State
from jalebi.web.bodies import BatchSubmission, Cancellation, Submission
from jalebi.web.bulk_api import BulkAction
from jalebi.web.share import Sharing
from jalebi.web.webhook_api import EndpointBody, Rotation

Schema = dict[str, Any]


def _with_parts(name: str, model: type[BaseModel]) -> dict[str, Schema]:
    """Return a model's schema, and those of the models in it, as components."""
    found = model.model_json_schema(ref_template="#/components/schemas/{model}")
    return {**found.pop("$defs", {}), name: found}


def ref(name: str) -> Schema:
    """Return a reference to a component."""
    return {"$ref": f"#/components/schemas/{name}"}


def record(description: str, /, *, optional: Schema | None = None, **fields: Schema) -> Schema:
    """Return an object with just these fields; all but the `optional` ones are always there."""
    return {
        "type": "object",
        "description": description,
        "properties": fields | (optional or {}),
        "required": list(fields),
        "additionalProperties": False,
    }


def maybe(schema: Schema) -> Schema:
    """Return the schema with null allowed."""
    return {"anyOf": [schema, {"type": "null"}]}


def each(schema: Schema, description: str = "") -> Schema:
    """Return a list of the schema."""
    return {"type": "array", "items": schema, **({"description": description} if description else {})}


def by_name(schema: Schema) -> Schema:
    """Return an object with any names and values of the schema."""
    return {"type": "object", "additionalProperties": schema}


def about(schema: Schema, description: str) -> Schema:
    """Return the schema with what it is about."""
    return {**schema, "description": description}


TEXT: Final[Schema] = {"type": "string"}
BOOL: Final[Schema] = {"type": "boolean"}
NUMBER: Final[Schema] = {"type": "number"}
WHOLE: Final[Schema] = {"type": "integer", "minimum": 0}
TIME: Final[Schema] = {"type": "string", "format": "date-time", "description": "RFC 3339, UTC"}
LINK: Final[Schema] = {"type": "string", "format": "uri-reference"}
ANY: Final[Schema] = {"description": "Any JSON value"}
ID: Final[Schema] = {"type": "string", "format": "uuid", "description": "UUIDv7"}
CURSOR: Final[Schema] = {"type": "string", "description": "A place in the order of all events; opaque"}
SECONDS: Final[Schema] = {"type": "number", "minimum": 0, "description": "Seconds"}

_LINKS = ("self", "status", "result", "events", "logs", "ws", "html")
_ENDPOINT = {
    "id": ID,
    "url": TEXT,
    "created_at": TIME,
    "previous_until": about(maybe(TIME), "Until then the old one signs"),
}
_TRY = record(
    "A try to deliver it.", at=TIME, seconds=NUMBER, status=maybe(WHOLE), error=maybe(TEXT),
    answer=about(maybe(TEXT), "How the answer began"),
)  # fmt: skip
_DELIVERY: dict[str, Schema] = {
    "id": about(TEXT, "`webhook-id`"),
    "event": TEXT,
    "url": about(TEXT, "Without its query"),
    "state": {"enum": ["pending", "delivered", "abandoned"]},
    "next_at": maybe(TIME),
    "created_at": TIME,
    "delivered_at": maybe(TIME),
    "tries": each(_TRY),
}
_BATCH_LINKS = ("self", "events", "results", "cancel", "jobs", "html")
_LOG = record("A line of a job's log.", line=WHOLE, level=TEXT, message=TEXT, optional={"dropped": BOOL})
_FILE = record("A file as it was attached.", name=TEXT, size=WHOLE, media_type=TEXT)
_RATE = record("How jobs ended lately.", finished_per_second=NUMBER, failure_ratio=NUMBER)
_RANGE = record("Two times.", earliest=TIME, latest=TIME)
_FAULT = record("One fault.", pointer=about(TEXT, "RFC 6901, into the body"), detail=TEXT, optional={"parameter": TEXT})

SCHEMAS: Final[dict[str, Schema]] = {
    "State": {"type": "string", "enum": [state.value for state in State]},
    "Job": record(
        "One request to run a kind with its args.",
        id=ID,
        kind=TEXT,
        args=by_name(ANY),
        queue=TEXT,
        priority={"type": "integer"},
        tags=each(TEXT),
        state=ref("State"),
        attempt=about(WHOLE, "The number of the newest attempt; 0 before the first"),
        max_attempts=WHOLE,
        timeout=SECONDS,
        seq=about(WHOLE, "The number of the job's newest event"),
        cursor=CURSOR,
        created_at=TIME,
        run_at=maybe(TIME),
        started_at=maybe(TIME),
        finished_at=maybe(TIME),
        expires_at=maybe(TIME),
        progress=maybe(ref("Progress")),
        position=about(maybe(WHOLE), "The place in line; 1 is next"),
        estimated_start_at=about(maybe(TIME), "Where that can be said: as likely sooner as later"),
        estimated_finish_at=about(maybe(TIME), "Where that can be said: as likely sooner as later"),
        estimate=maybe(ref("Estimate")),
        error=maybe(ref("Error")),
        stalled=about(BOOL, "Whether its progress has stopped for many times the usual interval"),
        cancellation=maybe(ref("Receipts")),
        batch=about(maybe(ID), "The batch that it was submitted with"),
        after=each(ID, "The jobs and batches that have to complete before it"),
        after_failure={"enum": ["cancel", "run"], "description": "What becomes of it where one of them does not"},
        webhook=maybe(record("Who is told of its end.", url=TEXT, events=each(TEXT))),
        links=record("Where to go from here.", **dict.fromkeys(_LINKS, LINK)),
    ),
    "Estimate": record(
        "In which times a waiting or running job probably starts and finishes: 8 of 10 do.",
        start=about(maybe(_RANGE), "Null once it has started, and where nothing can be said"),
        finish=about(maybe(_RANGE), "Null where nothing can be said: too few jobs of its kind have completed"),
        samples=about(WHOLE, "How many completed jobs of its kind were looked at"),
        basis=about(
            {"type": "string", "enum": list(get_args(Basis))},
            "What tells: durations of its kind, its progress, or both",
        ),
    ),
    "Batch": record(
        "Jobs that were submitted together.",
        id=ID,
        state={"enum": ["queued", "running", "completed", "failed", "cancelled"]},
        created_at=TIME,
        counts=record("Its jobs by state.", **{state.value: WHOLE for state in State}),
        progress=record(
            "How far its jobs are together.",
            done=about(NUMBER, "Jobs that are over, and the fractions of those that run"),
            total=WHOLE,
            fraction={"type": "number", "minimum": 0, "maximum": 1},
            unit=TEXT,
        ),
        links=record("Where to go from here.", **dict.fromkeys(_BATCH_LINKS, LINK)),
        **{"finally": about(maybe(ID), "The job that runs when all others are over")},
    ),
    "NewBatch": record("A batch as it was stored.", jobs=each(ref("Job")), batch=ref("Batch")),
    "Results": record(
        "What came of the jobs of a batch, in the order in which they were submitted.",
        results=each(record("What came of one.", job_id=ID, state=ref("State"), result=ANY, error=maybe(ref("Error")))),
        next=about(maybe(ID), "`after` of the next page"),
    ),
    "Delivery": record("A message of a webhook.", **_DELIVERY),
    "Deliveries": record("All messages about one job, or one batch.", deliveries=each(ref("Delivery"))),
    "Endpoints": record("All endpoints.", endpoints=each(record("Where webhooks go.", **_ENDPOINT))),
    "EndpointSecret": record("An endpoint with its secret.", **_ENDPOINT, secret=about(TEXT, "`whsec_` and base64")),
    "Sharing": Sharing.model_json_schema(),
    "Share": record("A share link.", url=TEXT, expires_at=TIME),
    "Shared": record(
        "What a share link shows of a job.",
        kind=TEXT,
        state=ref("State"),
        seq=WHOLE,
        created_at=TIME,
        started_at=maybe(TIME),
        finished_at=maybe(TIME),
        progress=maybe(ref("Progress")),
        position=maybe(WHOLE),
        estimated_finish_at=maybe(TIME),
        error=maybe(record("Why it failed.", message=TEXT)),
    ),
    "Progress": record(
        "The newest position of an attempt.",
        done=NUMBER,
        total=maybe(NUMBER),
        fraction=about(maybe({"type": "number", "minimum": 0, "maximum": 1}), "Null where the total is unknown"),
        unit=maybe(TEXT),
        message=maybe(TEXT),
        rate=about(maybe(NUMBER), "Units a second"),
        eta_seconds=maybe(SECONDS),
        updated_at=TIME,
        stalled=BOOL,
    ),
    "Receipts": record(
        "The receipts of a cancellation: asked for, told to the attempt, heard by its code, carried out.",
        requested_at=TIME,
        delivered_at=maybe(TIME),
        acknowledged_at=maybe(TIME),
        stopped_at=maybe(TIME),
        killed_at=about(maybe(TIME), "Where its process had to be killed"),
    ),
    "LastWords": record(
        "What the process of an attempt left behind as it died or was killed.",
        exit_code=maybe({"type": "integer"}),
        signal=about(maybe(TEXT), "The name of the signal that ended it"),
        log=each(TEXT, "Its last log lines"),
        stack=about(maybe(TEXT), "Where its threads were, by faulthandler"),
        peak_memory=about(maybe(WHOLE), "Bytes"),
        cpu_seconds=maybe(SECONDS),
    ),
    "Error": record(
        "Why an attempt failed or the job was cancelled.",
        type=TEXT,
        message=TEXT,
        traceback=maybe(TEXT),
        optional={"attempt": WHOLE, "last_words": ref("LastWords")},
    ),
    "Problem": {
        "type": "object",
        "description": "A problem document (RFC 9457).",
        "properties": {
            "type": about(LINK, "urn:jalebi:problem:… or about:blank"),
            "title": TEXT,
            "status": {"type": "integer", "minimum": 400, "maximum": 599},
            "detail": TEXT,
            "errors": each(_FAULT, "The faults of the body, where there are some"),
            "error": maybe(ref("Error")),
        },
        "required": ["type", "title", "status", "detail"],
    },
    "Event": record(
        "A durable fact about a job, numbered without holes; all but log lines carry the job as of the event.",
        type={"type": "string", "enum": list(TYPES)},
        job_id=ID,
        seq=WHOLE,
        cursor=CURSOR,
        at=TIME,
        optional={"job": ref("Job"), "log": _LOG, "file": _FILE},
    ),
    "ProgressEvent": record(
        "The newest progress; `seq` is that of the last durable event before it.",
        type={"const": "progress"},
        job_id=ID,
        seq=WHOLE,
        at=TIME,
        progress=ref("Progress"),
    ),
    "Snapshot": record("The job as a stream begins.", type={"const": "snapshot"}, seq=WHOLE, job=ref("Job")),
    "Hello": record(
        "Where a stream begins, and where it goes on after a reset.", type={"const": "hello"}, cursor=CURSOR
    ),
    "Reset": record(
        "Events after the reader's cursor were purged: what it knows is void. Snapshots as of this cursor follow, of "
        "the matching jobs that are not over or have changed since; then Hello with this cursor, from which to resume.",
        type={"const": "reset"},
        cursor=CURSOR,
        at=TIME,
        reason=TEXT,
    ),
    "Events": record(
        "A page of events.", events=each(ref("Event")), next=about(maybe(WHOLE), "`after` of the next page")
    ),
    "AllEvents": record(
        "A page of events of all jobs; it may be short, and is the last where `next` is null.",
        events=each(ref("Event")),
        next=about(maybe(CURSOR), "`after` of the next page"),
        optional={
            "reset": record(
                "Events after the cursor were purged: list the jobs anew, and go on from this cursor.", cursor=CURSOR
            )
        },
    ),
    "Jobs": record("A page of jobs.", jobs=each(ref("Job")), next=about(maybe(TEXT), "The cursor of the next page")),
    "Kind": record(
        "A function that can be run as a job.",
        name=TEXT,
        description=TEXT,
        options=about(by_name(ANY), "As given to `@shop.job`"),
        args_schema=about({"type": "object"}, "JSON Schema (2020-12)"),
        duration=record("How long the last jobs took, in seconds.", p50=maybe(SECONDS), p95=maybe(SECONDS)),
    ),
    "Kinds": record("All kinds.", kinds=each(ref("Kind"))),
    "Queue": record(
        "A line of waiting jobs.",
        name=TEXT,
        depth=about(WHOLE, "Waiting jobs"),
        running=WHOLE,
        oldest_wait_seconds=about(maybe(SECONDS), "Of what is queued"),
        max_running=about(maybe(WHOLE), "How many may run at once; null for any number"),
        paused=BOOL,
    ),
    "Queues": record("All queues.", queues=each(ref("Queue"))),
    "Matching": record(
        "What a bulk action would touch.",
        matching=WHOLE,
        exact=about(BOOL, "False where it is at least that many"),
        sample=each(ref("Job")),
    ),
    "LogLine": record("A line of a job's log.", line=WHOLE, at=TIME, level=TEXT, message=TEXT),
    "File": record("A file kept with a job.", name=TEXT, size=WHOLE, media_type=TEXT, href=LINK),
    "Files": record("All files of a job.", files=each(ref("File"))),
    "Upload": record("A file handed in for a job's parameter.", id=ID, size=WHOLE),
    "Stats": record(
        "How many jobs are where, exactly, and how fast they go.",
        states=record("Jobs by state.", **{state.value: WHOLE for state in State}),
        rates=record("By time window.", **{"1m": _RATE, "5m": _RATE, "1h": _RATE}),
        workers=WHOLE,
        at=TIME,
    ),
    "Health": record("The server is well.", status=TEXT),
    **_with_parts("Submission", Submission),
    "EndpointBody": EndpointBody.model_json_schema(),
    "Rotation": Rotation.model_json_schema(),
    **_with_parts("BatchSubmission", BatchSubmission),
    "Cancellation": Cancellation.model_json_schema(),
    **_with_parts("BulkAction", BulkAction),
}

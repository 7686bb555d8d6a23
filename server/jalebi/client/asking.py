"""What can be asked of the server about jobs, one flow each: submit, look, wait, fetch, cancel, retry, list."""

import math
import uuid
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, TypeAlias, TypedDict
from urllib.parse import quote

import msgspec

from jalebi.client.effects import Answer, Emit, Flow, Pause, Query, Request
from jalebi.client.errors import WaitTimeout
from jalebi.client.retrying import Policy, fetch
from jalebi.client.wire import Batch, Job, Kind, LogLine, Outcome, job_of, member, parse, read

JSON: Final = {"accept": "application/json"}
_SENT: Final = {**JSON, "content-type": "application/json"}
#: Seconds for which a server holds a request back at most, and jobs on one page.
MOST_HELD: Final = 30
MOST_LISTED: Final = 200

#: One value of a filter, or some of which any will do.
Values: TypeAlias = str | Iterable[str] | None


class Options(TypedDict, total=False):
    """What a submission may say beside kind and args; what is left out is the kind's own choice.

    `delay` and `timeout` in seconds; `run_at` a datetime with its zone or a text of RFC 3339; `after` ids of jobs to
    wait for; `webhook` an address, or an object with `url` and `events`.
    """

    queue: str | None
    priority: int | None
    tags: Sequence[str] | None
    run_at: datetime | str | None
    delay: float | None
    timeout: float | None
    max_attempts: int | None
    webhook: str | Mapping[str, Any] | None
    after: Sequence[str] | None


def job_path(job_id: str, what: str = "") -> str:
    """Return the path of a job, or of something of it."""
    return f"/v1/jobs/{quote(job_id, safe='')}{what}"


def submission(kind: str, args: Mapping[str, Any] | None, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the body of a submission, without what was left out."""
    body = {"kind": kind, "args": args, **options}
    if isinstance(body.get("webhook"), str):
        body["webhook"] = {"url": body["webhook"]}
    if isinstance(body.get("run_at"), datetime):
        body["run_at"] = body["run_at"].astimezone(UTC)
    return {name: value for name, value in body.items() if value is not None}


def _post(path: str, body: Any, key: str | None, headers: Mapping[str, str] | None = None) -> Request:
    # One key for one call: however often the request is sent, it makes one job.
    keyed = {"idempotency-key": key or str(uuid.uuid4())}
    return Request("POST", path, headers={**_SENT, **keyed, **(headers or {})}, body=msgspec.json.encode(body))


def submit(policy: Policy, body: Mapping[str, Any], key: str | None, wait: float | None) -> Flow[Job]:
    """Submit a job; with `wait`, return it as soon as it is over, and after so many seconds as it stands."""
    until = policy.clock() + (wait or 0)
    held = min(MOST_HELD, math.ceil(wait)) if wait else 0
    headers = {"prefer": f"wait={held}"} if held else {}
    answer = yield from fetch(policy, _post("/v1/jobs", body, key, headers), timeout=held)
    job = job_of(parse(answer.body))
    left = until - policy.clock()
    if wait and left > 0 and not job.terminal:
        return (yield from _until_over(policy, job.id, left, policy.patience))
    return job


def submit_batch(
    policy: Policy,
    bodies: Iterable[Mapping[str, Any]],
    last: Mapping[str, Any] | None,
    key: str | None,
    webhook: str | Mapping[str, Any] | None,
) -> Flow[Batch]:
    """Submit jobs, all or none, and the one that runs when all of them are over."""

    def body_of(given: Mapping[str, Any]) -> dict[str, Any]:
        more = {name: value for name, value in given.items() if name not in {"kind", "args"}}
        return submission(given["kind"], given.get("args"), more)

    whole: dict[str, Any] = {"jobs": [body_of(one) for one in bodies]}
    if last is not None:
        whole["finally"] = body_of(last)
    if webhook is not None:
        whole["webhook"] = {"url": webhook} if isinstance(webhook, str) else webhook
    answer = yield from fetch(policy, _post("/v1/jobs/batch", whole, key))
    found = [{**raw, "wire": raw} for raw in member(answer.body, "jobs")]
    return read(member(answer.body, "batch"), Batch, jobs=found)


def batch_path(batch_id: str, what: str = "") -> str:
    """Return the path of a batch, or of something of it."""
    return f"/v1/batches/{quote(batch_id, safe='')}{what}"


def batch(policy: Policy, batch_id: str) -> Flow[Batch]:
    """Return a batch as it stands, without its jobs. Raises NotFound."""
    answer = yield from fetch(policy, Request("GET", batch_path(batch_id), headers=JSON))
    return read(parse(answer.body), Batch)


def cancel_batch(policy: Policy, batch_id: str, reason: str | None) -> Flow[Batch]:
    """Cancel every job of a batch that is not over. Raises NotFound."""
    body = msgspec.json.encode({} if reason is None else {"reason": reason})
    headers = {**JSON, "content-type": "application/json"}
    answer = yield from fetch(policy, Request("POST", batch_path(batch_id, "/cancel"), (), headers, body))
    return read(parse(answer.body), Batch)


def results(policy: Policy, batch_id: str) -> Flow[None]:
    """Emit what came of each job of a batch, in the order of submission, page by page. Raises NotFound."""
    after: str | None = ""
    while after is not None:
        query = (("limit", str(MOST_LISTED)), *((("after", after),) if after else ()))
        answer = yield from fetch(policy, Request("GET", batch_path(batch_id, "/results"), query, JSON))
        for raw in member(answer.body, "results"):
            yield Emit(read(raw, Outcome))
        after = member(answer.body, "next")


def get(policy: Policy, job_id: str) -> Flow[Job]:
    """Return a job as it stands."""
    answer = yield from fetch(policy, Request("GET", job_path(job_id), headers=JSON))
    return job_of(parse(answer.body))


def wait(policy: Policy, job_id: str, timeout: float | None, patience: float | None) -> Flow[Job]:
    """Return a job once it is over. Raises WaitTimeout."""
    job = yield from _until_over(policy, job_id, timeout, policy.patience if patience is None else patience)
    if not job.terminal:
        raise WaitTimeout(job)
    return job


def _until_over(policy: Policy, job_id: str, timeout: float | None, patience: float) -> Flow[Job]:
    """Return a job once it is over or the time is up."""
    looks = Looks(policy, job_id, patience)
    until = math.inf if timeout is None else looks.began + timeout
    while True:
        job = yield from looks.look(until)
        left = until - policy.clock()
        if job.terminal or left <= 0:
            return job
        if pause := min(left, looks.pause):
            yield Pause(pause)


class Looks:
    """Looks at one job again and again: the server holds the request back until there is a change, where it can.

    `pause` is how long to wait before the next look. A server that can't hold requests says when to come back, or is
    asked ever less often: changes that come fast are not followed one by one.
    """

    def __init__(self, policy: Policy, job_id: str, patience: float) -> None:
        self.began = policy.clock()
        self.pause = 0.0
        self._policy = policy
        self._path = job_path(job_id)
        self._patience = patience
        self._tag = ""
        self._job: Job | None = None

    def look(self, until: float) -> Flow[Job]:
        """Return the job once it has changed, or as it stands; by the time `until`, if the server keeps to it."""
        left = until - self._policy.clock()
        held = max(0, math.floor(min(MOST_HELD, left))) if self._tag else 0
        headers = {**JSON, **({"if-none-match": self._tag} if self._tag else {})}
        if held:
            headers["prefer"] = f"wait={held}"
        patience = max(0.0, min(self._patience, left))
        request = Request("GET", self._path, headers=headers)
        answer = yield from fetch(self._policy, request, timeout=held, patience=patience)
        self._schedule(answer)
        if answer.status != 304 or self._job is None:
            self._job = job_of(parse(answer.body))
        return self._job

    def _schedule(self, answer: Answer) -> None:
        first, self._tag = not self._tag, answer.headers.get("etag", self._tag)
        pace = min(1.0, max(0.05, (self._policy.clock() - self.began) / 20))
        if (answer.held and answer.status == 304) or (first and self._tag):
            self.pause = 0.0
        else:
            self.pause = pace if answer.held else (answer.retry_after or pace)


def result(policy: Policy, job_id: str) -> Flow[Any]:
    """Return what a job returned. Raises JobNotFinished, JobFailed, JobCancelled."""
    answer = yield from fetch(policy, Request("GET", job_path(job_id, "/result"), headers=JSON))
    return parse(answer.body)


def cancel(policy: Policy, job_id: str, reason: str | None) -> Flow[Job]:
    """Cancel a job, or ask a running one to stop. Raises JobFinished."""
    body = msgspec.json.encode({} if reason is None else {"reason": reason})
    answer = yield from fetch(policy, Request("POST", job_path(job_id, "/cancel"), headers=_SENT, body=body))
    return job_of(parse(answer.body))


def retry(policy: Policy, job_id: str) -> Flow[Job]:
    """Start a job over that is over. Raises JobActive."""
    # Not sent again where it may have arrived: the job may have run and ended in between.
    request = Request("POST", job_path(job_id, "/retry"), headers=JSON, again=False)
    answer = yield from fetch(policy, request)
    return job_of(parse(answer.body))


def kinds(policy: Policy) -> Flow[tuple[Kind, ...]]:
    """Return what can be submitted."""
    answer = yield from fetch(policy, Request("GET", "/v1/kinds", headers=JSON))
    return tuple(read(raw, Kind) for raw in member(answer.body, "kinds"))


def filters(**given: Any) -> Query:
    """Return filters as a query; times must have their zone."""
    found: list[tuple[str, str]] = []
    for name, value in given.items():
        if isinstance(value, datetime):
            value = value.astimezone(UTC).isoformat().replace("+00:00", "Z")
        values = () if value is None else (value,) if isinstance(value, str) else value
        found += [(name, one) for one in values]
    return tuple(found)


def listed(policy: Policy, query: Query, limit: int | None) -> Flow[None]:
    """Emit the jobs that match, newest first, page by page."""
    left, cursor = limit, None
    while left is None or left > 0:
        size = MOST_LISTED if left is None else min(MOST_LISTED, left)
        asked = (*query, ("limit", str(size)), *((("cursor", cursor),) if cursor else ()))
        answer = yield from fetch(policy, Request("GET", "/v1/jobs", asked, JSON))
        page = member(answer.body, "jobs")
        for raw in page:
            yield Emit(job_of(raw))
        cursor = member(answer.body, "next")
        if cursor is None:
            return
        if left is not None:
            left -= len(page)


def lines(policy: Policy, job_id: str, after: int) -> Flow[list[LogLine]]:
    """Return the lines that a job's log has after line `after`."""
    headers = {"accept": "application/x-ndjson"}
    answer = yield from fetch(policy, Request("GET", job_path(job_id, "/logs"), (("after", str(after)),), headers))
    return [read(parse(line), LogLine) for line in answer.body.splitlines() if line]

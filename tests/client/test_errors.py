"""What the server's problems become, and what a newer server may say."""

from typing import Any

import msgspec
import pytest

from jalebi import client
from jalebi.client.errors import PROBLEM_URN, problem_error
from jalebi.client.wire import event_of, job_of
from jalebi.errors import Problem

#: Problems of the server that have no type of their own in the client.
PLAIN = {"about:blank", "unsupported-media-type", "bulk-grew"}


def problems(root: type[Problem]) -> list[type[Problem]]:
    return [root, *(found for child in root.__subclasses__() for found in problems(child))]


def test_every_problem_of_the_server_has_a_type() -> None:
    for problem in problems(Problem):
        body = msgspec.json.encode({"type": f"{PROBLEM_URN}{problem.type}", "detail": "Why."})
        found = problem_error(int(problem.status), {}, body)
        assert str(found) == "Why."
        assert found.type == f"{PROBLEM_URN}{problem.type}"
        if problem.type not in PLAIN:
            assert f"{PROBLEM_URN}{problem.type}" in {f"{PROBLEM_URN}{urn}" for urn in type(found).urns}, problem


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (404, b"<h1>Not Found</h1>", client.NotFound),
        (401, b"", client.Unauthorized),
        (503, b"[]", client.Unavailable),
        (429, b"{}", client.RateLimited),
        (418, b"\xff", client.ProblemError),
        (409, b'{"type": "urn:jalebi:problem:not-yet-known", "detail": "New."}', client.ProblemError),
    ],
)
def test_what_is_no_problem_of_ours_goes_by_its_status(status: int, body: bytes, kind: type[Exception]) -> None:
    found = problem_error(status, {}, body)
    assert type(found) is kind
    assert found.status == status


def test_faults_of_a_request_are_listed() -> None:
    body = {"type": "urn:jalebi:problem:unknown-kind", "errors": [{"pointer": "/kind", "detail": "No."}]}
    found = problem_error(422, {}, msgspec.json.encode(body))
    assert isinstance(found, client.ValidationFailed)
    assert found.errors == ({"pointer": "/kind", "detail": "No."},)


def test_a_newer_server_is_read_with_what_is_known() -> None:
    raw = {"id": "1", "kind": "k", "state": "dreaming", "mood": {"x": 1}, "progress": {"done": 2, "phase": "new"}}
    job = job_of(raw)
    assert (job.state, job.terminal, job.wire["mood"]) == ("dreaming", False, {"x": 1})
    assert job.progress is not None
    assert job.progress.done == 2
    event = event_of({"type": "dreamt", "job_id": "1", "seq": 9, "job": raw, "more": []})
    assert (event.durable, event.terminal, event.seq) == (True, False, 9)
    assert event.job == job
    assert event.wire["more"] == []


def test_what_is_no_answer_of_a_jalebi_is_said() -> None:
    wrongs: list[Any] = [{"kind": "k"}, [], None, {"id": 1, "kind": "k", "state": "s"}]
    for wrong in wrongs:
        with pytest.raises(client.Unreadable):
            job_of(wrong)

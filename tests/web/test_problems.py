"""Every error that a caller may meet is a problem document of a known type."""

import json
import re
from http import HTTPStatus

import pytest
from starlette.exceptions import HTTPException

from jalebi import errors
from jalebi.errors import Problem, StorageError, ValidationFailed
from jalebi.web.answers import problem_answer, problem_of
from tests.support import Live
from tests.web.raw import problem

TYPES = {
    "malformed-request": 400, "unauthorized": 401, "forbidden": 403, "not-found": 404, "job-not-finished": 409,
    "job-failed": 409, "job-cancelled": 409, "job-finished": 409, "job-active": 409, "bulk-grew": 409,
    "body-too-large": 413,
    "unsupported-media-type": 415, "validation-failed": 422, "unknown-kind": 422,
    "idempotency-key-reused": 422, "queue-full": 503, "draining": 503,
    "storage-unavailable": 503,
}  # fmt: skip


def _all() -> list[type[Problem]]:
    return Problem.__subclasses__()


def test_the_types_and_their_statuses_are_those_that_callers_were_promised() -> None:
    named = {cls.type: int(cls.status) for cls in _all() if cls.type != "about:blank"}
    assert named == TYPES


def test_every_problem_is_rendered_with_its_status_title_and_type() -> None:
    for cls in _all():
        made = cls([{"pointer": "/x", "detail": "no"}]) if issubclass(cls, ValidationFailed) else cls("Because.")
        answer = problem_answer(made)
        document = json.loads(bytes(answer.body))
        assert answer.status_code == document["status"] == cls.status
        assert answer.headers["content-type"] == "application/problem+json"
        assert document["title"] == cls.title
        assert document["type"] in {f"urn:jalebi:problem:{cls.type}", "about:blank"}
        if document["type"] == "about:blank":  # RFC 9457: then the title is the status's own
            assert document["title"] == HTTPStatus(cls.status).phrase
        assert document["detail"]


def test_the_tree_at_the_top_of_the_module_names_every_problem() -> None:
    assert errors.__doc__ is not None
    named = set(re.findall(r"\w+", errors.__doc__))
    assert {cls.__name__ for cls in _all()} <= named


def test_foreign_errors_become_problems_without_their_words() -> None:
    assert problem_of(HTTPException(404)).status == 404
    teapot = problem_of(HTTPException(418, headers={"X-Tea": "black"}))
    assert (teapot.status, teapot.title, teapot.type) == (418, "I'm a Teapot", "about:blank")
    assert teapot.headers == {"X-Tea": "black"}
    assert problem_of(StorageError("The disk is gone.")).status == 500
    assert "secret" not in problem_of(RuntimeError("secret")).detail


def test_a_long_list_of_faults_is_cut() -> None:
    made = ValidationFailed([{"pointer": f"/{number}", "detail": "no"} for number in range(10_000)])
    assert len(made.errors) == errors.MOST_ERRORS


async def test_a_fault_of_the_server_is_told_as_one(idle: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    queue = (await idle.shop.open()).queue

    async def broken(_: str) -> None:
        raise RuntimeError("a secret of the house")

    monkeypatch.setattr(type(queue), "get_with_outlook", lambda _self, job_id: broken(job_id))
    answer = await idle.client.get("/v1/jobs/some")
    assert "secret" not in problem(answer, 500, "about:blank")["detail"]
    assert (await idle.client.get("/livez")).status_code == 200

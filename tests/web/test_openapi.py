"""The OpenAPI document is valid, complete, and what the running server answers."""

from typing import Any

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator
from starlette.routing import Route, WebSocketRoute

from jalebi.web import ROUTES
from jalebi.web.openapi.args import components, moved
from tests.support import Live
from tests.targets.quick import quick_shop


async def document(live: Live) -> dict[str, Any]:
    answer = await live.client.get("/openapi.json")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    return dict(answer.json())


def check(document: dict[str, Any], name: str, value: Any) -> None:
    """Validate a value against a component of the document."""
    schema = {"$ref": f"#/components/schemas/{name}", "components": document["components"]}
    Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER).validate(value)


async def test_the_document_is_valid_openapi_31(quick: Live) -> None:
    found = await document(quick)
    assert found["openapi"].startswith("3.1.")
    OpenAPIV31SpecValidator(found).validate()


async def test_every_component_is_a_valid_json_schema(quick: Live) -> None:
    found = await document(quick)
    for schema in found["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)


def _ours(path: str) -> bool:
    others = {"/ws/events", "/livez", "/readyz", "/openapi.json"}
    return path.startswith(("/v1/", "/ws/jobs/", "/share/{token}/")) or path in others


async def test_routes_and_document_name_the_same_paths_and_methods(quick: Live) -> None:
    served = set()
    for route in ROUTES:
        if isinstance(route, Route) and _ours(route.path):
            served |= {(method, route.path) for method in (route.methods or set()) - {"HEAD"}}
        elif isinstance(route, WebSocketRoute) and _ours(route.path):
            served.add(("GET", route.path))
    paths = (await document(quick))["paths"]
    documented = {(method.upper(), path) for path, methods in paths.items() for method in methods}
    assert documented == served


async def test_every_operation_has_a_name_of_its_own_and_says_what_may_go_wrong(quick: Live) -> None:
    paths = (await document(quick))["paths"]
    operations = [operation for methods in paths.values() for operation in methods.values()]
    names = [operation["operationId"] for operation in operations]
    assert len(set(names)) == len(names)
    for operation in operations:
        assert operation["summary"]
        assert "application/problem+json" in operation["responses"]["default"]["content"]


async def test_jobs_in_every_kind_of_state_are_as_documented(quick: Live, idle: Live) -> None:
    found = await document(quick)
    jobs = [
        await idle.submit("echo", tags=["a"], priority=3),
        await idle.submit("echo", delay=3600),
        await quick.until((await quick.submit("steps", args={"count": 2}))["id"], "completed"),
        await quick.until((await quick.submit("fail"))["id"], "failed"),
        await quick.until((await quick.submit("hold"))["id"], "running"),
    ]
    jobs.append((await quick.client.post(f"/v1/jobs/{jobs[-1]['id']}/cancel", json={"reason": "enough"})).json())
    jobs.append(await quick.until(jobs[-1]["id"], "cancelled"))
    jobs.append(await idle.job(jobs[0]["id"]))
    states = {job["state"] for job in jobs}
    assert states >= {"queued", "scheduled", "completed", "failed", "running", "cancelling", "cancelled"}
    for job in jobs:
        check(found, "Job", job)
    listed = (await quick.client.get("/v1/jobs?limit=2")).json()
    assert len(listed["jobs"]) == 2
    check(found, "Jobs", listed)


async def test_other_answers_are_as_documented(quick: Live) -> None:
    found = await document(quick)
    job = await quick.submit("chatty")
    await quick.until(job["id"], "completed")
    for path, name in [
        ("/v1/kinds", "Kinds"),
        ("/v1/kinds/echo", "Kind"),
        ("/v1/stats", "Stats"),
        (f"/v1/jobs/{job['id']}/files", "Files"),
        ("/livez", "Health"),
        ("/readyz", "Health"),
    ]:
        answer = await quick.client.get(path)
        assert answer.status_code == 200
        check(found, name, answer.json())
    uploaded = await quick.client.post("/v1/uploads", content=b"abc")
    check(found, "Upload", uploaded.json())


async def test_problems_are_as_documented(quick: Live) -> None:
    found = await document(quick)
    failed = await quick.until((await quick.submit("fail"))["id"], "failed")
    answers = [
        await quick.client.get("/v1/jobs/none"),
        await quick.client.get("/nowhere"),
        await quick.client.put("/v1/jobs"),
        await quick.client.get(f"/v1/jobs/{failed['id']}/result"),
        await quick.client.post("/v1/jobs", json={"kind": "echo", "more": 1}),
        await quick.client.post("/v1/jobs", json={"kind": "no"}),
        await quick.client.get("/v1/jobs?limit=0"),
    ]
    assert [answer.status_code for answer in answers] == [404, 404, 405, 409, 422, 422, 422]
    for answer in answers:
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["status"] == answer.status_code
        check(found, "Problem", answer.json())


async def test_the_args_of_every_kind_are_components_whose_references_resolve(quick: Live) -> None:
    found = await document(quick)
    assert set(found["x-kinds"]) == {kind.name for kind in quick.shop.kinds.all()}
    good = {"title": "Q3", "address": {"street": "Clock Tower Road"}}
    check(found, "args.typed", good)
    for bad in ({}, {"title": ""}, {"title": "x", "more": 1}, {"title": "x", "address": {}}):
        with pytest.raises(Exception, match="Failed validating"):
            check(found, "args.typed", bad)
    check(found, "args.odd_colon_name.of-a_kind", {"value": [1]})


def test_references_move_with_their_schema_and_words_stay() -> None:
    kinds = quick_shop().kinds.all()
    assert "$defs" in components(kinds)["args.typed"]
    schema = {
        "$defs": {"Cat": {"const": "#/$defs/Cat"}},
        "discriminator": {"propertyName": "is", "mapping": {"cat": "#/$defs/Cat"}},
        "oneOf": [{"$ref": "#/$defs/Cat"}, {"$ref": "https://example.org/dog"}],
        "properties": {"$ref": {"type": "string"}},
    }
    found = moved(schema, "#/there")
    assert found["oneOf"] == [{"$ref": "#/there/$defs/Cat"}, {"$ref": "https://example.org/dog"}]
    assert found["discriminator"]["mapping"] == {"cat": "#/there/$defs/Cat"}
    assert found["$defs"]["Cat"] == {"const": "#/$defs/Cat"}
    assert found["properties"] == {"$ref": {"type": "string"}}

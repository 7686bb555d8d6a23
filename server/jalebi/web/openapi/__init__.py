"""The OpenAPI 3.1 document of all that the server answers in JSON, with the args of the registered kinds."""

from importlib.metadata import version
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from jalebi.web.answers import json_answer
from jalebi.web.openapi.args import component, components
from jalebi.web.openapi.paths import paths
from jalebi.web.openapi.schemas import SCHEMAS
from jalebi.web.rooms import rooms_of, root_of

_ABOUT = (
    "Hand in a slow job, get a token at once, watch it being made, fetch the result. "
    "Everything that goes wrong is answered with a problem document (RFC 9457)."
)


async def document(request: Request) -> Response:
    """`GET /openapi.json`: this server as OpenAPI 3.1."""
    rooms = rooms_of(request)
    kinds = rooms.kinds.all()
    found: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {"title": "Jalebi", "version": version("jalebi"), "description": _ABOUT},
        "servers": [{"url": root_of(request) or "/"}],
        "paths": paths(),
        "components": {
            "schemas": SCHEMAS | components(kinds),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [] if rooms.settings.token is None else [{"token": []}],
        "x-kinds": {kind.name: {"$ref": f"#/components/schemas/{component(kind.name)}"} for kind in kinds},
    }
    return json_answer(found)

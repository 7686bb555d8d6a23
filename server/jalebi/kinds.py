"""The kinds of job that exist: typed functions, their options, and the JSON Schema of their parameters."""

import inspect
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated, Any, Final, Literal, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, create_model
from pydantic_core import ErrorDetails, to_json

from jalebi.context import JobContext
from jalebi.errors import KindError, UnknownKind, ValidationFailed

Isolation = Literal["loop", "process", "thread"]
OnStall = Literal["mark", "warn", "cancel", "retry"]
_ON_STALL: Final = ("mark", "warn", "cancel", "retry")
_ISOLATIONS: Final = ("loop", "process", "thread")
_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:-]{0,99}")
#: What the names of the house's own kinds begin with.
OWN: Final = "jalebi."
_RATE: Final = re.compile(r"(\d+)/([smh])")
_RATE_SECONDS: Final = {"s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True)
class Kind:
    """A named function that can be run as a job, with its options. `timeout` and a numeric `backoff` are seconds."""

    name: str
    function: Callable[..., Any]
    isolation: Isolation
    queue: str = "default"
    priority: int = 0
    timeout: float = 900.0
    max_attempts: int = 3
    backoff: float | Callable[[int], float] = 2.0
    max_running: int | None = None
    rate_limit: str | None = None
    capture: bool = False
    on_stall: OnStall = "mark"
    takes_context: bool = field(init=False, default=False)

    def __post_init__(self) -> None:
        parameters = _parameters(self.function)
        object.__setattr__(self, "takes_context", bool(parameters) and _is_context(self.function, parameters[0]))
        _check_options(self)

    @property
    def description(self) -> str:
        """The function's docstring."""
        return inspect.getdoc(self.function) or ""

    @cached_property
    def model(self) -> type[BaseModel]:
        """The pydantic model of the parameters, the context left out."""
        return _model(self)

    @cached_property
    def args_schema(self) -> dict[str, Any]:
        """The JSON Schema (2020-12) of `args`."""
        schema = self.model.model_json_schema(mode="validation")
        schema.pop("description", None)
        return schema

    @cached_property
    def upload_fields(self) -> tuple[str, ...]:
        """The parameters that take an uploaded file."""
        found = []
        for name, schema in self.args_schema.get("properties", {}).items():
            if any(part.get("format") == "upload" for part in (schema, *schema.get("anyOf", ()))):
                found.append(name)
        return tuple(found)

    @property
    def options(self) -> dict[str, Any]:
        """The options as they are shown to callers."""
        return {
            "queue": self.queue,
            "priority": self.priority,
            "timeout": self.timeout,
            "max_attempts": self.max_attempts,
            "backoff": None if callable(self.backoff) else self.backoff,
            "isolation": self.isolation,
            "max_running": self.max_running,
            "rate_limit": self.rate_limit,
            "capture": self.capture,
            "on_stall": self.on_stall,
        }

    @property
    def rate(self) -> tuple[float, float] | None:
        """How many starts are allowed in how many seconds, or None."""
        match = _RATE.fullmatch(self.rate_limit or "")
        return (float(match[1]), _RATE_SECONDS[match[2]]) if match else None

    def validate(self, args: Any, pointer: str = "/args") -> str:
        """Return `args` as JSON text with the defaults filled in.

        Raises ValidationFailed with a pointer for each wrong field; `pointer` is where the args are in the body.
        """
        try:
            # Through JSON and strictly, so that what is accepted is what the published schema says.
            text = to_json(args)
            if b"NaN" in text or b"Infinity" in text:  # it may be a value, and then it would be stored as null
                json.loads(text, parse_constant=_no_constant)
            parsed = self.model.model_validate_json(text, strict=True)
            return parsed.model_dump_json(by_alias=True)
        except ValidationError as error:
            raise ValidationFailed(
                [
                    fault(item, args, pointer)
                    for item in error.errors(include_url=False, include_context=False, include_input=False)
                ]
            ) from None
        except (ValueError, TypeError) as error:
            raise ValidationFailed([{"pointer": pointer, "detail": f"The args are not JSON: {error}"}]) from None

    def load(self, args: str) -> dict[str, Any]:
        """Return stored args as the Python values that the function takes."""
        parsed = self.model.model_validate_json(args)
        found = vars(parsed)
        values: dict[str, Any] = {alias: found[name] for name, alias in self._aliases}
        return values | parsed.model_extra if parsed.model_extra else values

    @cached_property
    def _aliases(self) -> list[tuple[str, str]]:
        return [(name, str(field.alias)) for name, field in self.model.model_fields.items()]


class Kinds:
    """The registry of one shop."""

    def __init__(self) -> None:
        self._by_name: dict[str, Kind] = {}
        self._own: dict[str, Kind] = {}  # of the house itself: nobody submits them by name

    def register(self, function: Callable[..., Any], options: Mapping[str, Any]) -> Kind:
        """Make `function` a kind. Raises KindError where its name is taken or an option is wrong."""
        chosen = dict(options)
        name = chosen.pop("name", None) or getattr(function, "__name__", "")
        by_default: Isolation = "loop" if inspect.iscoroutinefunction(function) else "process"
        isolation: Isolation = chosen.pop("isolation", None) or by_default
        kind = Kind(name=name, function=function, isolation=isolation, **chosen)
        if name in self._by_name:
            raise KindError(f"There are two kinds named {name!r}.")
        if name.startswith(OWN):
            raise KindError(f"{name!r} can't be a kind: names that begin with {OWN!r} are taken.")
        self._by_name[name] = kind
        return kind

    def add_own(self, kind: Kind) -> None:
        """Add a kind of the house, in place of an earlier one of that name."""
        self._own[kind.name] = kind

    def own(self) -> list[Kind]:
        """Return the kinds of the house."""
        return list(self._own.values())

    def known(self, name: str) -> Kind:
        """Return the kind of that name, the house's too. Raises UnknownKind."""
        return self._own.get(name) or self.named(name)

    def named(self, name: str) -> Kind:
        """Return the kind of that name. Raises UnknownKind."""
        kind = self._by_name.get(name)
        if kind is None:
            raise UnknownKind(f"There is no kind {name!r}.", errors=[{"pointer": "/kind", "detail": "unknown kind"}])
        return kind

    def of(self, function: Callable[..., Any] | str) -> Kind:
        """Return the kind made of a function, or of that name. Raises UnknownKind."""
        if isinstance(function, str):
            return self.named(function)
        for kind in self._by_name.values():
            if kind.function is function:
                return kind
        return self.named(getattr(function, "__name__", repr(function)))

    def __contains__(self, name: str) -> bool:
        return name in self._by_name

    def all(self) -> list[Kind]:
        """Return every kind, by name."""
        return [self._by_name[name] for name in sorted(self._by_name)]


class Shop:
    """What holds kinds: a `Jalebi`, as those see it who must find kinds and nothing else."""

    def __init__(self) -> None:
        self.kinds = Kinds()


class Result:
    """How a job's return value becomes JSON."""

    _adapter: TypeAdapter[Any] = TypeAdapter(Any)

    @classmethod
    def dump(cls, value: Any, limit: int) -> str:
        """Return the value as JSON text of at most `limit` bytes.

        Raises ValueError with a sentence that says what to do.
        """
        if value is None:
            return "null"
        try:
            text = cls._adapter.dump_json(value, warnings="error")
            # What pydantic writes for NaN and infinity is null; a result must not change on its way.
            json.dumps(value, allow_nan=False, default=lambda _: None)
        except (ValueError, TypeError, RecursionError) as error:
            raise ValueError(
                f"The job's result is not JSON ({_short(error)}); return plain data, or keep a file with ctx.attach."
            ) from None
        if len(text) > limit:
            raise ValueError(
                f"The job's result has {len(text)} bytes, over the limit of {limit}; keep it as a file with ctx.attach."
            )
        return text.decode()


def fault(error: ErrorDetails, value: Any, pointer: str = "") -> dict[str, str]:
    """Return a pydantic error in `value` with its place as a JSON Pointer (RFC 6901) below `pointer`.

    pydantic also names the branch of a union that it tried, which is no place in the value.
    """
    for index, part in enumerate(error["loc"]):
        if isinstance(value, Mapping):
            inside = part in value
        else:
            inside = isinstance(value, list | tuple) and isinstance(part, int) and part < len(value)
        if inside or (error["type"] == "missing" and index == len(error["loc"]) - 1):
            pointer += "/" + str(part).replace("~", "~0").replace("/", "~1")
            value = value[part] if inside else None
    if error["type"] == "extra_forbidden":
        return {"pointer": pointer, "detail": "There is no such field."}
    return {"pointer": pointer, "detail": error["msg"].removeprefix("Value error, ")}


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON value")


def _short(error: BaseException) -> str:
    return str(error).splitlines()[0][:200] if str(error) else type(error).__name__


def _parameters(function: Callable[..., Any]) -> list[inspect.Parameter]:
    try:
        return list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        raise KindError(f"{function!r} can't be a kind: it has no signature.") from None


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    try:
        return get_type_hints(function, include_extras=True)
    except Exception as error:
        raise KindError(f"The annotations of {function.__qualname__} can't be read: {error}.") from None


def _is_context(function: Callable[..., Any], parameter: inspect.Parameter) -> bool:
    if isinstance(parameter.annotation, str):
        return bool(_hints(function).get(parameter.name) is JobContext)
    return parameter.annotation is JobContext


def _model(kind: Kind) -> type[BaseModel]:
    hints = _hints(kind.function)
    fields: dict[str, Any] = {}
    extra: Literal["forbid", "allow"] = "forbid"
    for number, parameter in enumerate(_parameters(kind.function)[1 if kind.takes_context else 0 :]):
        if parameter.kind is parameter.VAR_KEYWORD:
            extra = "allow"
            continue
        default = ... if parameter.default is parameter.empty else parameter.default
        # A parameter may have a name that a model can't (model_dump, json, _x): callers know it as the alias.
        named: Any = Annotated.__class_getitem__((hints.get(parameter.name, Any), Field(alias=parameter.name)))  # type: ignore[attr-defined]
        fields[f"arg_{number}"] = (named, default)
    config = ConfigDict(extra=extra, arbitrary_types_allowed=False, protected_namespaces=())
    try:
        return create_model(f"{kind.name}_args", __config__=config, **fields)
    except Exception as error:
        raise KindError(f"The parameters of {kind.name} can't be described: {_short(error)}.") from None


def _check_options(kind: Kind) -> None:
    wrong = None
    if not _NAME.fullmatch(kind.name):
        wrong = "its name may hold letters, digits and . _ : -"
    elif kind.isolation not in _ISOLATIONS:
        wrong = f"isolation must be one of {', '.join(_ISOLATIONS)}"
    elif kind.on_stall not in _ON_STALL:
        wrong = f"on_stall must be one of {', '.join(_ON_STALL)}"
    elif kind.isolation == "loop" and not inspect.iscoroutinefunction(kind.function):
        wrong = "isolation 'loop' needs an async def"
    elif not (0 < kind.timeout <= 10**9):
        wrong = "timeout must be a number of seconds over 0"
    elif kind.max_attempts < 1:
        wrong = "max_attempts must be at least 1"
    elif not callable(kind.backoff) and kind.backoff < 0:
        wrong = "backoff must not be negative"
    elif kind.max_running is not None and kind.max_running < 1:
        wrong = "max_running must be at least 1"
    elif kind.rate_limit is not None and kind.rate is None:
        wrong = 'rate_limit is written like "5/s", "100/m" or "1000/h"'
    elif any(p.kind in {p.VAR_POSITIONAL, p.POSITIONAL_ONLY} for p in _parameters(kind.function)):
        wrong = "its parameters must have names (no *args, no /)"
    if wrong:
        raise KindError(f"{kind.name or kind.function!r} can't be a kind: {wrong}.")

"""What a handler takes and gives, read from its parameters or fields."""

from __future__ import annotations

import dataclasses
import inspect
import typing
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, NamedTuple

import msgspec

from dolgo import shape
from dolgo.errors import BadTaskType

CONTEXT = "ctx"  # a parameter of this name is given the context
FIELDS = "__dolgo_fields__"  # where a class keeps its fields once they have been looked at
FIELD = type(msgspec.field(name="name"))
MISSING: Any = inspect.Parameter.empty
Fields = dict[str, tuple[Any, Any]]  # name → (annotation, default or MISSING)


class Signature(NamedTuple):
    """A handler as the runner needs it."""

    payload: type[msgspec.Struct]
    result: shape.Description | None  # None: not annotated, or not with something JSON can be described by
    is_async: bool
    call: Callable[[Any, dict[str, Any]], Any]  # (ctx, arguments by name)
    takes_context: bool  # or else any `ctx` will do
    taken: frozenset[str]  # members of a payload that `**extra` does not get
    takes_rest: bool  # has a `**extra`


def of_function(function: Callable[..., Any], *, name: str, extra: bool) -> Signature:
    """The signature of a handler that is a function. Raises `BadTaskType` for parameters that JSON cannot fill."""
    parameters = list(inspect.signature(function).parameters.values())
    rest = [p for p in parameters if p.kind is p.VAR_KEYWORD]
    known = [p for p in parameters if p.name != CONTEXT and p.kind is not p.VAR_KEYWORD]
    for parameter in known:
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.POSITIONAL_ONLY):
            raise BadTaskType(f"parameter `{parameter.name}`: members of a payload have names, so it must take a name")
    if rest and rest[0].annotation not in (MISSING, Any, "Any", "typing.Any", object, "object"):
        raise BadTaskType(f"parameter `{rest[0].name}`: further members may be anything, so annotate it with Any")
    space = getattr(inspect.unwrap(function), "__globals__", {})
    fields = {p.name: (_evaluate(p.name, p.annotation, space), p.default) for p in known}
    takes_context = len(known) + len(rest) < len(parameters)
    payload = _struct(name, fields, forbid=not (extra or rest))
    members = payload.__struct_encode_fields__
    return Signature(
        payload=payload,
        result=_result(function, space),
        is_async=_is_async(function),
        call=_with_context(function) if takes_context else lambda ctx, arguments: function(**arguments),
        takes_context=takes_context,
        taken=frozenset([*members, CONTEXT] if takes_context else members),
        takes_rest=bool(rest),
    )


def of_class(cls: type[Any], *, name: str, extra: bool) -> Signature:
    """The signature of a handler that is a class: its fields, and what its `run` gives."""
    run = inspect.getattr_static(cls, "run")
    if not inspect.isfunction(run):
        raise BadTaskType("`run` must be a plain method")
    fields = fields_of(cls)
    return Signature(
        payload=_struct(name, fields, forbid=not extra),
        result=_result(run, inspect.unwrap(run).__globals__),
        is_async=_is_async(run),
        call=_method(cls, run),
        takes_context=CONTEXT in inspect.signature(run).parameters,
        taken=frozenset(),
        takes_rest=False,
    )


def fields_of(cls: type[Any]) -> Fields:
    """The annotated fields of a class and its bases, with their defaults."""
    known: Fields | None = vars(cls).get(FIELDS)
    if known is None:
        known = _look_for_fields(cls)
        setattr(cls, FIELDS, known)
    return known


def _look_for_fields(cls: type[Any]) -> Fields:
    fields: Fields = {}
    for base in reversed(cls.__mro__):
        space = getattr(inspect.getmodule(base), "__dict__", {})
        for name, annotation in vars(base).get("__annotations__", {}).items():
            hint = _evaluate(name, annotation, {**space, **vars(base)})
            if hint is not ClassVar and typing.get_origin(hint) is not ClassVar:
                fields[name] = (hint, MISSING)
    return {name: (hint, getattr(cls, name, MISSING)) for name, (hint, _) in fields.items()}


def bind(cls: type[Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Every field of the class: as given, or its default. Raises `TypeError` as a call with the wrong arguments does."""
    fields = fields_of(cls)
    for name in given:
        if name not in fields:
            raise TypeError(f"{cls.__name__} has no field `{name}`")
    values = dict(given)
    for name, (_, default) in fields.items():
        if name not in values:
            values[name] = _fresh(cls, name, default)
    return values


def _struct(name: str, fields: Fields, *, forbid: bool) -> type[msgspec.Struct]:
    """The payload's type: members by name, in any order."""
    members = [
        (field, hint) if default is MISSING else (field, hint, _safe(default)) for field, (hint, default) in fields.items()
    ]
    try:
        return msgspec.defstruct(name, members, kw_only=True, forbid_unknown_fields=forbid)
    except (TypeError, ValueError) as error:
        raise BadTaskType(str(error)) from error


def _is_mutable(default: Any) -> bool:
    """Whether a default may be shared by mistake. A sentinel is not copied: code compares it by identity."""
    return isinstance(default, (list, dict, set, bytearray, tuple, msgspec.Struct)) or dataclasses.is_dataclass(default)


def _safe(default: Any) -> Any:
    return msgspec.field(default_factory=shape.Fresh(default)) if _is_mutable(default) else default


def _fresh(cls: type[Any], name: str, default: Any) -> Any:
    """The value of a field that was not given."""
    if isinstance(default, FIELD):
        if default.default_factory is not msgspec.NODEFAULT:
            return default.default_factory()
        default = default.default
    if default is MISSING or default is msgspec.NODEFAULT:
        raise TypeError(f"{cls.__name__} needs its field `{name}`")
    return shape.Fresh(default)() if _is_mutable(default) else default


def _evaluate(name: str, annotation: Any, space: Mapping[str, Any]) -> Any:
    """The type an annotation means. One at a time: the context's may be imported for the type checker alone."""
    if annotation is MISSING:
        return Any
    holder = type("holder", (), {"__annotations__": {name: annotation}})
    try:
        return typing.get_type_hints(holder, globalns=dict(space), include_extras=True)[name]
    except Exception as error:  # an annotation may be any expression
        raise BadTaskType(f"`{name}`: its annotation {annotation!r} cannot be evaluated: {error}") from error


def _result(function: Callable[..., Any], space: Mapping[str, Any]) -> shape.Description | None:
    annotation = inspect.signature(function).return_annotation
    if annotation is MISSING:
        return None
    try:
        return shape.describe(_evaluate("return", annotation, space))
    except BadTaskType:
        return None  # results are not checked, only shown


def _is_async(function: Callable[..., Any]) -> bool:
    inner = inspect.unwrap(function)
    if inspect.isgeneratorfunction(inner) or inspect.isasyncgenfunction(inner):
        raise BadTaskType("a handler returns its result; it must not `yield`")
    if inspect.iscoroutinefunction(inner) and not inspect.iscoroutinefunction(function):
        raise BadTaskType("an `async def` handler is wrapped in a plain function; make the wrapper `async def` as well")
    return inspect.iscoroutinefunction(function)


def _with_context(function: Callable[..., Any]) -> Callable[[Any, dict[str, Any]], Any]:
    return lambda ctx, arguments: function(**arguments, ctx=ctx)


def _method(cls: type[Any], run: Callable[..., Any]) -> Callable[[Any, dict[str, Any]], Any]:
    parameters = list(inspect.signature(run).parameters.values())[1:]
    for parameter in parameters:
        if parameter.name != CONTEXT and parameter.default is MISSING:
            raise BadTaskType(f"`run` takes `ctx` and nothing else, not `{parameter.name}`: a payload fills the class's fields")
    if any(parameter.name == CONTEXT for parameter in parameters):
        return lambda ctx, arguments: cls(**arguments).run(ctx=ctx)
    return lambda ctx, arguments: cls(**arguments).run()

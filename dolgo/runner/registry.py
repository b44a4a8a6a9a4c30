"""Task types: the two forms they are written in, and what the rest of dolgo sees of them.

    @task(queue="pictures")                          class LongTask(Task, extra=True):
    def thumbnail(url: str, width: int = 320): …         seconds: float = 180.0
                                                         async def run(self, ctx: Context): …

Writing one registers nothing: it leaves a `Mark` on the function or class, and `discover` collects the marks of a module.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar, TypeVar, dataclass_transform, overload

import msgspec
from msgspec.structs import asdict

from dolgo import shape
from dolgo.errors import BadTaskType, InvalidPayload
from dolgo.runner.signature import Signature, bind, of_class, of_function
from dolgo.task.types import TypeInfo

OPTIONS = ("name", "queue", "priority", "extra")
NAME = re.compile(r"\w[\w.-]{0,99}")
RESERVED = "dolgo."  # names of dolgo's own types begin so; they are refused at submit
MARK = "__dolgo_task__"

F = TypeVar("F", bound=Callable[..., Any])


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What a task type says of itself beside its handler."""

    name: str
    queue: str = "default"
    priority: int = 5  # 0-9, higher first
    extra: bool = False  # unknown members of a payload are let through


class Mark:
    """What `@task` and `Task` leave on a handler. Looked into once the whole module is there: annotations may point ahead."""

    def __init__(self, handler: Callable[..., Any], options: Options) -> None:
        self.handler = handler
        self.options = options


class TaskType:
    """A task type as a child runs it."""

    def __init__(self, mark: Mark) -> None:
        """Raises `BadTaskType` when the handler's parameters cannot be described as JSON."""
        self.options = mark.options
        self.name = mark.options.name
        self.file = _file(mark.handler)
        signature = _signature(mark)
        self.is_async = signature.is_async
        self.description = inspect.cleandoc(mark.handler.__doc__ or "")
        self.info = _info(self.name, self.description, mark.options, signature)
        self._call = signature.call
        self._decoder = msgspec.json.Decoder(signature.payload)
        self._rest = msgspec.json.Decoder() if signature.takes_rest else None
        self._taken = signature.taken

    def decode(self, raw: bytes) -> dict[str, Any]:
        """The handler's arguments by name. Raises `InvalidPayload` if the payload does not fit, naming the first thing wrong."""
        try:
            arguments = asdict(self._decoder.decode(raw))
            if self._rest is not None:
                rest = self._rest.decode(raw)
                arguments.update((name, value) for name, value in rest.items() if name not in self._taken)
        except (msgspec.MsgspecError, ValueError, TypeError, RecursionError) as error:
            raise InvalidPayload(str(error)) from error
        return arguments

    def call(self, ctx: Any, arguments: dict[str, Any]) -> Any:
        """The result of a `def` handler, or the coroutine of an `async def` one."""
        return self._call(ctx, arguments)


class Registry(Mapping[str, TaskType]):
    """The task types of one process by name."""

    def __init__(self) -> None:
        self._types: dict[str, TaskType] = {}

    def add(self, *types: TaskType) -> None:
        """All of them, or none: raises `BadTaskType` naming both files if a name is taken."""
        wanted = dict(self._types)
        for task_type in types:
            there = wanted.get(task_type.name)
            if there is not None:
                raise BadTaskType(f"two task types are named `{there.name}`: in {there.file} and in {task_type.file}")
            wanted[task_type.name] = task_type
        self._types = wanted

    def __getitem__(self, name: str) -> TaskType:
        return self._types[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._types)

    def __len__(self) -> int:
        return len(self._types)


@overload
def task(handler: F, /) -> F: ...
@overload
def task(
    *, name: str | None = None, queue: str | None = None, priority: int | None = None, extra: bool | None = None
) -> Callable[[F], F]: ...
def task(handler: Any = None, /, **options: Any) -> Any:
    """The function or `Task` class itself, marked as a task type.

    `name` (the function's), `queue` ("default"), `priority` (5; 0-9, higher first), `extra` (False: unknown members are refused).
    Raises `BadTaskType` for an option that does not exist or cannot be used."""
    if handler is None:
        return lambda handler: _mark(handler, options)
    return _mark(handler, options)


@dataclass_transform(kw_only_default=True, field_specifiers=(msgspec.field,))
class Task:
    """Base of task types written as classes: annotated fields are the payload, `run` is the handler.

    Options stand in the class header; a class hands them on to those made from it, except its name. A class without `run` is a
    base for others and no task type."""

    __dolgo_header__: ClassVar[Mapping[str, Any]] = {}

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__()
        inherited = {name: value for name, value in cls.__dolgo_header__.items() if name != "name"}
        cls.__dolgo_header__ = {}
        _mark(cls, {**inherited, **options})

    def __init__(self, **fields: Any) -> None:
        for name, value in bind(type(self), fields).items():
            setattr(self, name, value)


def mark_of(thing: Any) -> Mark | None:
    """The mark a function or class bears itself; not one it got from a base class."""
    try:
        mark = vars(thing).get(MARK)
    except Exception:  # a module's members may be anything, such as a proxy for what is not there yet
        return None
    return mark if isinstance(mark, Mark) else None


def _mark(handler: Any, options: Mapping[str, Any]) -> Any:
    if isinstance(handler, type):
        return _mark_class(handler, options)
    if not inspect.isfunction(handler):
        raise BadTaskType(f"@task is for functions and Task classes, not for {handler!r}; options go by name: @task(queue=…)")
    scope = handler.__qualname__.rpartition(".")[0]
    if scope and not scope.endswith("<locals>"):
        raise BadTaskType(f"`{handler.__qualname__}` is in a class: a task type is a function by itself, or a class with `run`")
    setattr(handler, MARK, Mark(handler, _options(handler.__name__, options)))
    return handler


def _mark_class(cls: type[Any], options: Mapping[str, Any]) -> Any:
    if not issubclass(cls, Task):
        raise BadTaskType(f"class `{cls.__name__}` is no task type: let it inherit from dolgo.Task")
    cls.__dolgo_header__ = {**cls.__dolgo_header__, **options}
    made = _options(_snake(cls.__name__), cls.__dolgo_header__)
    if hasattr(cls, "run"):
        setattr(cls, MARK, Mark(cls, made))
    return cls


def _options(own: str, given: Mapping[str, Any]) -> Options:
    unknown = sorted(set(given) - set(OPTIONS))
    if unknown:
        raise BadTaskType(f"task type `{own}` has no option `{unknown[0]}`; there are: {', '.join(OPTIONS)}")
    options = {"name": own, **{name: value for name, value in given.items() if value is not None}}
    try:
        made = msgspec.convert(options, Options)
    except msgspec.ValidationError as error:
        raise BadTaskType(f"task type `{own}`: {error}") from error
    _check_options(made)
    return made


def _check_options(options: Options) -> None:
    for word, value in (("name", options.name), ("queue", options.queue)):
        if not NAME.fullmatch(value):
            raise BadTaskType(f"{value!r} is not a {word}: letters, digits, `_`, `-` and `.`, at most 100")
    if options.name.startswith(RESERVED):
        raise BadTaskType(f"`{options.name}`: names that begin with `{RESERVED}` are dolgo's own")
    if not 0 <= options.priority <= 9:
        raise BadTaskType(f"task type `{options.name}`: priority is 0 to 9, not {options.priority}")


def _snake(name: str) -> str:
    """`LongTask` → `long_task`, `HTTPRequest` → `http_request`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def _file(handler: Callable[..., Any]) -> str:
    try:
        return inspect.getfile(inspect.unwrap(handler))
    except (TypeError, OSError):  # written at a prompt
        return f"module {handler.__module__}"


def _signature(mark: Mark) -> Signature:
    try:
        if isinstance(mark.handler, type):
            return of_class(mark.handler, name=mark.options.name, extra=mark.options.extra)
        return of_function(mark.handler, name=mark.options.name, extra=mark.options.extra)
    except BadTaskType as error:
        raise BadTaskType(f"task type `{mark.options.name}`: {error}") from error


def _info(name: str, description: str, options: Options, signature: Signature) -> TypeInfo:
    try:
        payload = shape.describe(signature.payload)
    except BadTaskType as error:
        raise BadTaskType(f"task type `{name}`: {error}") from error
    defaults = {"queue": options.queue, "priority": options.priority}
    result = signature.result
    return TypeInfo(
        name=name,
        hash=shape.fingerprint(payload, result, defaults),
        description=description,
        payload=payload,
        result=result,
        options=defaults,
    )

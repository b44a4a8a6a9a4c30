"""Task types: the two forms they are written in, and what the rest of dolgo sees of them.

    @task(queue="pictures")                          class LongTask(Task, extra=True):
    def thumbnail(url: str, width: int = 320): …         seconds: float = 180.0
                                                         async def run(self, ctx: Context): …

Writing one registers nothing: it leaves a `Mark` on the function or class, and `discover` collects the marks of a module.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, TypeVar, dataclass_transform, overload

import msgspec
from msgspec.structs import asdict

from dolgo import shape
from dolgo.errors import BadTaskType, InvalidPayload
from dolgo.runner.options import Backoff, Isolation, Options, announced, options_of
from dolgo.runner.signature import Signature, bind, of_class, of_function
from dolgo.task.types import TypeInfo

MARK = "__dolgo_task__"

F = TypeVar("F", bound=Callable[..., Any])


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
        self.takes_context = signature.takes_context
        isolation = mark.options.isolation
        self.alone = isolation == "process" or not (self.is_async or isolation == "thread")  # it needs a single child
        if isolation == "thread" and self.is_async:
            raise BadTaskType(f'task type `{self.name}`: isolation="thread" is for `def` handlers; this one is `async def`')
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
    *,
    name: str | None = None,
    queue: str | None = None,
    priority: int | None = None,
    timeout: float | None = None,
    retries: int | None = None,
    backoff: float | Sequence[float] | Backoff | None = None,
    keep: float | None = None,
    isolation: Isolation | None = None,
    max_running: int | None = None,
    max_running_per_key: int | None = None,
    rate: float | None = None,
    unique: bool | None = None,
    extra: bool | None = None,
) -> Callable[[F], F]: ...
def task(handler: Any = None, /, **options: Any) -> Any:
    """The function or `Task` class itself, marked as a task type.

    The options are described in `docs/reference/task-types.md`; one that is None is not given. Durations are in seconds.
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
    setattr(handler, MARK, Mark(handler, options_of(handler.__name__, options)))
    return handler


def _mark_class(cls: type[Any], options: Mapping[str, Any]) -> Any:
    if not issubclass(cls, Task):
        raise BadTaskType(f"class `{cls.__name__}` is no task type: let it inherit from dolgo.Task")
    cls.__dolgo_header__ = {**cls.__dolgo_header__, **options}
    made = options_of(_snake(cls.__name__), cls.__dolgo_header__)
    if hasattr(cls, "run"):
        setattr(cls, MARK, Mark(cls, made))
    return cls


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
    said = announced(options)
    result = signature.result
    return TypeInfo(
        name=name,
        hash=shape.fingerprint(payload, result, said),
        description=description,
        payload=payload,
        result=result,
        options=said,
    )

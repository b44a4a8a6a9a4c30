"""Task types in both forms: their names, payloads, options, and how they are called."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import msgspec
import pytest
from msgspec import Meta

import dolgo
from dolgo import Context, SyncContext, Task, task
from dolgo.errors import BadTaskType, InvalidPayload
from dolgo.runner.registry import Registry, TaskType, mark_of

if TYPE_CHECKING:
    from nowhere import Elsewhere  # type: ignore[import-not-found]


def made(handler: Any) -> TaskType:
    """The task type that a marked handler is."""
    mark = mark_of(handler)
    assert mark is not None
    return TaskType(mark)


def run(task_type: TaskType, raw: bytes, ctx: Any = None) -> Any:
    """What the handler answers to a payload."""
    answer = task_type.call(ctx, task_type.decode(raw))
    return asyncio.run(answer) if task_type.is_async else answer


@task
def thumbnail(url: str, width: Annotated[int, Meta(ge=1)] = 320) -> dict[str, int]:
    """Scale a picture to a width.

    Keeps its proportions."""
    return {url: width}


@task(name="words.count", queue="texts", priority=9)
async def count_words(ctx: Context, text: str) -> int:
    return len(text.split()) + ctx.attempt


@task
def rest(first: int, ctx: SyncContext | None = None, **others: Any) -> Any:
    return first, others


@task(extra=True)
def lenient(first: int = 1) -> int:
    return first


class Wait(Task, extra=True, queue="slow"):
    """Wait for it."""

    seconds: float = 1.5
    tags: list[str] = ["a"]  # noqa: RUF012 - safe here, and what is tested
    made: list[int] = msgspec.field(default_factory=list)
    limit: ClassVar[int] = 3

    async def run(self, ctx: Context) -> str:
        self.tags.append("b")
        return f"{self.seconds} {self.tags} {self.made}"


class Base(Task, queue="pictures", name="base"):
    """A base for others."""

    url: str


class HTTPFetch2Disk(Base, priority=1):
    path: str = "here"

    def run(self) -> str:
        return self.url + self.path


class Later(Task):
    node: Node

    def run(self) -> str:
        return self.node.name


class Node(msgspec.Struct):
    name: str


def test_a_function_is_named_described_and_called_by_its_parameters() -> None:
    task_type = made(thumbnail)
    assert task_type.name == "thumbnail"
    assert task_type.description == "Scale a picture to a width.\n\nKeeps its proportions."
    assert task_type.file == __file__
    assert not task_type.is_async
    assert task_type.info.options == {"queue": "default", "priority": 5}
    assert task_type.info.result == {"root": {"kind": "dict", "keys": {"kind": "str"}, "values": {"kind": "int"}}, "defs": {}}
    assert run(task_type, b'{"url":"u"}') == {"u": 320}
    assert run(task_type, b'{"url":"u","width":1}') == {"u": 1}


def test_the_decorated_function_is_still_itself() -> None:
    assert thumbnail("u") == {"u": 320}


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"{}", "missing required field `url`"),
        (b'{"url":"u","height":1}', "unknown field `height`"),
        (b'{"url":"u","width":0}', "Expected `int` >= 1"),
        (b'{"url":"\xff"}', "utf-8"),
        (b'{"url"', "truncated"),
    ],
)
def test_a_payload_that_does_not_fit_is_refused(raw: bytes, reason: str) -> None:
    with pytest.raises(InvalidPayload, match=reason):
        made(thumbnail).decode(raw)


def test_a_parameter_named_ctx_is_given_the_context() -> None:
    task_type = made(count_words)
    ctx = Context("id", type="words.count", queue="texts", payload=b"{}", attempt=7)
    assert task_type.is_async
    assert task_type.name == "words.count"
    assert task_type.info.options == {"queue": "texts", "priority": 9}
    assert run(task_type, b'{"text":"a b"}', ctx) == 9
    with pytest.raises(InvalidPayload, match="unknown field `ctx`"):
        task_type.decode(b'{"text":"a","ctx":1}')


def test_a_function_with_rest_gets_what_it_did_not_name() -> None:
    assert run(made(rest), b'{"first":1,"a":{"b":[1]},"ctx":3}') == (1, {"a": {"b": [1]}})


def test_extra_lets_unknown_members_pass_and_drops_them() -> None:
    assert run(made(lenient), b'{"a":1}') == 1


def test_a_class_is_a_task_type_by_its_fields() -> None:
    task_type = made(Wait)
    assert (task_type.name, task_type.description, task_type.info.options["queue"]) == ("wait", "Wait for it.", "slow")
    assert task_type.is_async
    assert run(task_type, b'{"unknown":1}') == "1.5 ['a', 'b'] []"
    assert run(task_type, b"{}") == "1.5 ['a', 'b'] []"  # the default was not touched
    fields = task_type.info.payload["defs"]["wait"]["fields"]
    assert [(field["name"], field.get("default")) for field in fields] == [("seconds", 1.5), ("tags", ["a"]), ("made", [])]


def test_a_class_hands_its_fields_and_options_on_but_not_its_name() -> None:
    task_type = made(HTTPFetch2Disk)
    assert task_type.name == "http_fetch2_disk"
    assert task_type.info.options == {"queue": "pictures", "priority": 1}
    assert run(task_type, b'{"url":"u"}') == "uhere"


def test_a_class_without_run_is_no_task_type() -> None:
    assert mark_of(Base) is None


def test_a_class_takes_options_by_the_decorator_as_well() -> None:
    decorated = task(name="other", priority=2)(type("Made", (Wait,), {}))
    assert made(decorated).name == "other"
    assert made(decorated).info.options == {"queue": "slow", "priority": 2, "extra": True}


def test_an_instance_is_made_as_a_test_would() -> None:
    assert HTTPFetch2Disk(url="u").run() == "uhere"
    assert Wait().tags == ["a"]
    with pytest.raises(TypeError, match="needs its field `url`"):
        HTTPFetch2Disk()  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="has no field `uri`"):
        HTTPFetch2Disk(url="u", uri="u")  # type: ignore[call-arg]


def test_annotations_may_point_ahead() -> None:
    assert run(made(Later), b'{"node":{"name":"n"}}') == "n"


def test_an_unknown_option_names_the_known_ones() -> None:
    with pytest.raises(BadTaskType, match=r"`thumbnail` has no option `colour`; there are: name, .*, extra"):
        task(colour="red")(thumbnail)  # type: ignore[call-overload]
    with pytest.raises(BadTaskType, match="`bad` has no option `colour`"):
        type("Bad", (Task,), {}, colour="red")


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"priority": 10}, "priority is 0 to 9, not 10"),
        ({"priority": "high"}, "Expected `int`, got `str`"),
        ({"queue": "a b"}, "'a b' is not a queue"),
        ({"name": "a/b"}, "'a/b' is not a name"),
        ({"name": ""}, "'' is not a name"),
        ({"name": "dolgo.mine"}, "dolgo's own"),
        ({"extra": 1}, "Expected `bool`"),
    ],
)
def test_an_option_that_cannot_be_used_is_refused(options: dict[str, Any], reason: str) -> None:
    def handler() -> None: ...

    with pytest.raises(BadTaskType, match=reason):
        task(**options)(handler)


def plain(wrapped: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(wrapped)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return wrapped(*args, **kwargs)

    return wrapper


def unfit_handlers() -> Iterator[tuple[Callable[..., Any], str]]:
    def positional(a: int, /) -> None: ...
    def starred(*urls: str) -> None: ...
    def typed_rest(**rest: int) -> None: ...
    def undescribable(a: int, b: complex) -> None: ...
    def unknown(a: Elsewhere) -> None: ...
    def generator(a: int) -> Iterator[int]:
        yield a

    async def inner(a: int) -> None: ...

    yield positional, "`positional`: parameter `a`: members of a payload have names"
    yield starred, "members of a payload have names"
    yield typed_rest, "annotate it with Any"
    yield undescribable, "`undescribable`: `b`: `complex` is not a type"
    yield unknown, "`a`: its annotation 'Elsewhere' cannot be evaluated"
    yield generator, "must not `yield`"
    yield plain(inner), "make the wrapper `async def`"


@pytest.mark.parametrize(("handler", "reason"), list(unfit_handlers()))
def test_a_handler_that_no_payload_can_fill_is_refused_with_the_reason(handler: Any, reason: str) -> None:
    with pytest.raises(BadTaskType) as refused:
        made(task(handler))
    assert reason in str(refused.value)


@pytest.mark.parametrize("thing", [3, "name", functools.partial(print), len, object, print])
def test_only_functions_and_task_classes_are_marked(thing: Any) -> None:
    with pytest.raises(BadTaskType):
        task(thing)


def test_a_method_is_refused() -> None:
    with pytest.raises(BadTaskType, match="is in a class"):

        class Jobs:
            @task
            def one(self) -> None: ...


def test_run_takes_the_context_alone() -> None:
    class Asks(Task):
        def run(self, url: str) -> None: ...

    with pytest.raises(BadTaskType, match="`run` takes `ctx` and nothing else"):
        made(Asks)


def test_a_result_that_cannot_be_described_is_no_error() -> None:
    @task
    def handler() -> complex:
        return 1j

    @task
    def unknown() -> Elsewhere: ...

    assert made(handler).info.result is None
    assert made(unknown).info.result is None


def test_the_context_may_be_known_to_the_type_checker_alone() -> None:
    @task
    def handler(ctx: Elsewhere) -> None: ...

    assert run(made(handler), b"{}") is None


def test_the_hash_follows_payload_result_and_options() -> None:
    def handler(a: int) -> None: ...
    def wider(a: int, b: int = 1) -> None: ...
    def other_result(a: int) -> int: ...

    wider.__name__ = other_result.__name__ = "handler"
    same = made(task(handler)).info.hash
    assert made(task(handler)).info.hash == same
    assert len({same, *(made(task(h)).info.hash for h in (wider, other_result))}) == 3
    assert made(task(queue="other")(handler)).info.hash != same


def test_a_taken_name_is_refused_with_both_files() -> None:
    registry = Registry()
    with pytest.raises(BadTaskType) as refused:
        registry.add(made(rest), made(thumbnail), made(thumbnail))
    assert str(refused.value).count(__file__) == 2
    assert len(registry) == 0  # all or none


def test_the_public_names_are_there() -> None:
    assert set(dolgo.__all__) == {
        *("AsyncClient", "Backoff", "Client", "Context", "Fail", "Parent", "Retry", "SyncContext", "Task", "__version__", "task")
    }
    assert inspect.isfunction(dolgo.task)  # and not the package dolgo/task

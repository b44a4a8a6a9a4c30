"""`dolgo token`: made, listed and revoked in the store itself; shown once, noted always."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import pytest

from dolgo.cli.exits import Exit
from dolgo.cli.opened import opened
from dolgo.task.audit import Audit, Entry
from dolgo.task.tokens import Scope, parsed
from tests.cli.conftest import Run

STORE = "sqlite:///dolgo.db"


def noted() -> Sequence[Entry]:
    """The audit log of the store."""

    async def read() -> Sequence[Entry]:
        async with opened(STORE) as store:
            return (await Audit(store).page(0, 100))[0]

    return asyncio.run(read())


def states(alone: Run) -> dict[str, str]:
    """The tokens of the store by name, and how each stands."""
    return {token["name"]: token["state"] for token in json.loads(alone("token", "list", "--json").out)["tokens"]}


def test_a_new_token_is_printed_alone_and_kept_as_a_hash(alone: Run, at: Path) -> None:
    ran = alone("token", "create", "web", "--scope", "submit")
    assert (ran.code, ran.out.count("\n")) == (0, 1)
    id, secret = parsed(ran.out.strip()) or ("", "")
    assert len(secret) >= 32
    assert secret not in ran.err
    kept = [path.read_bytes() for path in at.iterdir()]
    assert any(id.encode() in data for data in kept)
    assert not any(secret.encode() in data for data in kept)


def test_what_a_token_may_do_is_what_was_asked_for(alone: Run, at: Path) -> None:
    limits = ["--queue", "mail", "--queue", "post", "--type", "send", "--rate", "2.5", "--expires", "30d"]
    made = json.loads(alone("token", "create", "web", "--scope", "submit", "--scope", "read", *limits, "--json").out)
    (listed,) = json.loads(alone("token", "list", "--json").out)["tokens"]
    assert {key: made[key] for key in made if key != "token"} == {key: listed[key] for key in listed if key != "state"}
    assert (listed["scopes"], listed["queues"], listed["types"], listed["rate"]) == (
        ["read", "submit"], ["mail", "post"], ["send"], 2.5,
    )  # fmt: skip
    created, expires = (datetime.fromisoformat(listed[name]) for name in ("created_at", "expires_at"))
    assert (expires - created).days == 30


def test_the_list_shows_how_each_stands_and_no_secret(alone: Run, at: Path) -> None:
    secrets = [alone("token", "create", name, "--scope", "read", *more).out.strip() for name, *more in (
        ("old", "--expires", "0"), ("gone",), ("good",),
    )]  # fmt: skip
    alone("token", "revoke", "gone")
    assert states(alone) == {"old": "expired", "gone": "revoked", "good": "valid"}
    for arguments in ((), ("--json",)):
        shown = alone("token", "list", *arguments).out
        assert not any(secret in shown or secret.split("_")[2] in shown for secret in secrets)


def test_a_token_is_revoked_by_its_name_or_its_id_and_stays_in_the_list(alone: Run, at: Path) -> None:
    id = alone("token", "create", "one", "--scope", "read").out.split("_")[1]
    other = alone("token", "create", "two", "--scope", "read").out.split("_")[1]
    assert alone("token", "revoke", id, "two")[:2] == (0, f"{id} one revoked\n{other} two revoked\n")
    assert states(alone) == {"one": "revoked", "two": "revoked"}
    assert json.loads(alone("token", "revoke", "one", "--json").out) == {"revoked": [id]}, "twice is no error"


def test_a_token_that_is_forgotten_is_not_in_the_list(alone: Run, at: Path) -> None:
    id = alone("token", "create", "one", "--scope", "read").out.split("_")[1]
    assert alone("token", "revoke", "--forget", "one")[:2] == (0, f"{id} one forgotten\n")
    assert alone("token", "list")[:2] == (0, "")


def test_a_name_that_a_valid_token_has_is_free_once_that_is_revoked(alone: Run, at: Path) -> None:
    alone("token", "create", "web", "--scope", "read")
    again = alone("token", "create", "web", "--scope", "read")
    assert (again.code, again.out) == (Exit.CONFLICT, "")
    assert "revoke that one" in again.err
    alone("token", "revoke", "web")
    assert alone("token", "create", "web", "--scope", "read").code == 0


def test_a_token_that_there_is_not_cannot_be_revoked(alone: Run, at: Path) -> None:
    alone("token", "create", "web", "--scope", "read")
    ran = alone("token", "revoke", "app")
    assert (ran.code, ran.out) == (Exit.NOT_FOUND, "")
    assert "dolgo token list" in ran.err


def test_everything_done_to_tokens_is_noted_also_when_the_next_one_fails(alone: Run, at: Path) -> None:
    id = alone("token", "create", "web", "--scope", "read").out.split("_")[1]
    ran = alone("token", "revoke", "web", "app")
    assert (ran.code, ran.out) == (Exit.NOT_FOUND, f"{id} web revoked\n")
    alone("token", "revoke", "web", "--forget")
    entries = noted()
    assert [entry.action for entry in entries] == ["create_token", "revoke_token", "forget_token"]
    assert {(entry.who, entry.ids) for entry in entries} == {("command_line", (f"{id} web",))}


@pytest.mark.parametrize(
    "arguments",
    [
        ["web"],
        ["web", "--scope", "root"],
        ["a b", "--scope", "read"],
        ["web", "--scope", "read", "--queue", "a b"],
        ["web", "--scope", "read", "--rate", "0"],
        ["web", "--scope", "read", "--rate", "nan"],
        ["web", "--scope", "read", "--expires", "soon"],
        ["web", "--scope", "read", "--store", "memory://"],
    ],
)
def test_a_token_that_cannot_be_is_refused_and_no_file_is_made(alone: Run, at: Path, arguments: list[str]) -> None:
    ran = alone("token", "create", *arguments)
    assert (ran.code, ran.out) == (Exit.USAGE, "")
    assert ran.err
    assert list(at.iterdir()) == []


def test_every_scope_can_be_given(alone: Run, at: Path) -> None:
    given = [word for scope in Scope for word in ("--scope", str(scope.value))]
    assert json.loads(alone("token", "create", "all", *given, "--json").out)["scopes"] == sorted(Scope)


@pytest.mark.parametrize("arguments", [["list"], ["revoke", "web"]])
def test_to_look_for_tokens_makes_no_file(alone: Run, at: Path, arguments: list[str]) -> None:
    ran = alone("token", *arguments)
    assert (ran.code, ran.out) == (1, "")
    assert "There is no file" in ran.err
    assert list(at.iterdir()) == []

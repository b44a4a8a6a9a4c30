"""`dolgo serve` and `dolgo worker`: the service itself."""

from __future__ import annotations

from typing import Any

import click

from dolgo.cli.options import load, setting_options


@click.command("serve")
@setting_options("serve")
def serve_command(**flags: Any) -> int:
    """Serve the HTTP interface and run tasks.

    Every option can be set in the environment (DOLGO_SLOTS=10) and in ./dolgo.toml (slots = 10) as well; what is given
    here wins.
    """
    # The composition root brings in everything: `dolgo --help` need not wait for it.
    from dolgo.main import serve

    return serve(load(flags))


@click.command("worker")
@setting_options("worker")
def worker_command(**flags: Any) -> int:
    """Run tasks, without HTTP, beside a server on the same store.

    Every option can be set in the environment (DOLGO_SLOTS=10) and in ./dolgo.toml (slots = 10) as well; what is given
    here wins.
    """
    from dolgo.main import work

    return work(load(flags))

"""`dolgo doctor`: what is wrong with a store and a broker, and what to change."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Iterator, Sequence

import click

from dolgo.cli import output
from dolgo.cli.exits import Exit
from dolgo.cli.options import load, setting_options
from dolgo.queues import examine_queue
from dolgo.setting_kinds import masked
from dolgo.settings import unknown_variables
from dolgo.store.findings import Finding, Level, Verdict, ok, warn
from dolgo.stores import examine_store
from dolgo.version import __version__

EARLIEST = 1_767_225_600.0  # 2026-01-01; a machine whose clock has lost its battery wakes up long before


@click.command("doctor")
@setting_options("doctor")
@click.option("--full", is_flag=True, help="Read a large file through.")
@click.option("--strict", is_flag=True, help="Exit with 1 for warnings too.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def doctor_command(*, full: bool, strict: bool, as_json: bool, **flags: str | None) -> int:
    """Look for what loses tasks or cannot work, in the store itself and in the broker if there is one, and say what to change.

    "bad" loses acknowledged tasks or cannot work: then it exits with 1. "warn" works as long as nothing else goes wrong.
    """
    settings = load(flags)
    url = settings.store
    found = [*_here(), *_in_store(url, full), *(examine_queue(settings.queue) if settings.queue else ())]
    if as_json:
        output.json(found)
    else:
        output.table(("level", "check", "found, and what to do"), (_cells(finding) for finding in found))
        output.talk(f"dolgo: {masked(url)}: {_sum(found)}")
    failing = {Level.BAD, Level.WARN} if strict else {Level.BAD}
    return Exit.ERROR if any(finding.level in failing for finding in found) else Exit.OK


def _cells(finding: Finding) -> tuple[str, str, str]:
    return finding.level, finding.check, f"{finding.found}. {finding.advice}" if finding.advice else finding.found


def _sum(found: Sequence[Finding]) -> str:
    bad, warnings = (sum(finding.level is level for finding in found) for level in (Level.BAD, Level.WARN))
    return f"{bad} bad, {warnings} {'warning' if warnings == 1 else 'warnings'}" if bad or warnings else "all is well"


def _in_store(url: str, full: bool) -> Sequence[Finding]:
    return examine_store(url, full=full)


def _here() -> Iterator[Finding]:
    """What can be said of this process whatever the store."""
    yield Finding("program", *ok(f"dolgo {__version__}, Python {platform.python_version()}"))
    yield Finding("environment", *_environment())
    if time.time() < EARLIEST:
        when = time.strftime("%Y-%m-%d", time.gmtime())
        yield Finding("this clock", Level.BAD, f"it says {when}", "Set it, and keep it by NTP: leases and delays go by it.")


def _environment() -> Verdict:
    strays = unknown_variables(os.environ)
    if strays:
        return warn(f"{', '.join(strays)}: no setting of dolgo", "Correct the name, or unset it.")
    return ok("no variable is misspelt")

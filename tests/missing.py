"""What a test needs of the system it runs on."""

from __future__ import annotations

import os
import shutil

import pytest


def need(program: str) -> None:
    """Skip the test at a desk that has no such program; in CI everything has to be there."""
    if shutil.which(program) is None:
        missing(f"there is no {program}")


def missing(what: str) -> None:
    """Skip at a desk; fail in CI, which has to try this."""
    if os.environ.get("CI"):
        pytest.fail(f"{what}, and CI has to try this")
    pytest.skip(what)

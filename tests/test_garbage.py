"""What a service has at its start is no business of the garbage collector any more."""

from __future__ import annotations

import subprocess
import sys

CODE = """
import gc
from dolgo import garbage
tracked = len(gc.get_objects())
garbage.spare()
print(tracked, gc.get_freeze_count(), len(gc.get_objects()), *gc.get_threshold())
"""


def test_what_is_there_is_not_looked_at_again_and_what_comes_is_looked_at_later() -> None:
    said = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, timeout=60, check=True).stdout
    tracked, frozen, left, *thresholds = map(int, said.split())
    assert frozen > tracked / 2
    assert left < tracked / 10
    assert thresholds > [700, 10, 10]

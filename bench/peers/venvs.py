"""A virtual environment for each peer, made when it is first needed, under bench/.venvs."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

HOME = Path(__file__).parents[1] / ".venvs"
REQUIREMENTS = Path(__file__).with_name("requirements")


def ensure(name: str, say: Callable[[str], None]) -> Path:
    """The folder of the programs of a peer's environment, which holds exactly what its requirements pin."""
    home, pins = HOME / name, REQUIREMENTS / f"{name}.txt"
    stamp = home / ".installed"
    if not stamp.exists() or stamp.read_text() != pins.read_text():
        say(f"installing {', '.join(pins.read_text().split())} into {home.relative_to(HOME.parents[1])}")
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(home)], check=True)
        pip = [str(home / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
        subprocess.run([*pip, "-r", str(pins)], check=True)
        stamp.write_text(pins.read_text())
    return home / "bin"

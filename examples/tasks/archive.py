"""A long job that goes on where it was when its worker was killed: each step's result is stored, and a later attempt skips it.

curl localhost:8080/tasks -d '{"type": "archive", "payload": {"source": "/usr/lib/python3.11", "target": "/tmp/archive"}}'
curl localhost:8080/tasks/ID?view=full     # its progress; kill the server half-way with `kill -9`, start it again, look once more
"""

from __future__ import annotations

import hashlib
import os
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from dolgo import SyncContext, task


@dataclass
class Packed:
    """An archive."""

    name: str
    size: int  # bytes
    sha256: str


@task
def archive(
    ctx: SyncContext,
    source: Annotated[str, Meta(min_length=1, description="A folder on the machine that runs the task.")],
    target: Annotated[str, Meta(min_length=1, description="The folder to write to; made if it is not there.")],
) -> list[Packed]:
    """Pack each folder in a folder into an archive of its own."""
    folders = ctx.step("list", folders_in, source)
    Path(target).mkdir(parents=True, exist_ok=True)
    packed: list[Packed] = []
    for number, name in enumerate(folders):
        ctx.progress(number, len(folders), name)
        stored = ctx.step(f"pack {name}", pack, Path(source, name), Path(target, f"{name}.tar.xz"))
        packed.append(msgspec.convert(stored, Packed))
    ctx.progress(len(folders), len(folders))
    return packed


def folders_in(source: str) -> list[str]:
    """Their names. A step as well, so that every attempt works through the same list."""
    return sorted(path.name for path in Path(source).iterdir() if path.is_dir())


def pack(folder: Path, archive: Path) -> dict[str, Any]:
    """The whole archive or none: a step that was cut off runs again, and somebody may be reading."""
    draft = archive.with_name(f".{archive.name}.draft")
    with tarfile.open(draft, "w:xz") as file:
        file.add(folder, folder.name)
    os.replace(draft, archive)
    content = archive.read_bytes()
    return {"name": archive.name, "size": len(content), "sha256": hashlib.sha256(content).hexdigest()}

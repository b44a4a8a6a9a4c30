"""A task type that writes a file, needs a library and logs what it did.

curl localhost:8080/tasks?wait=5 -d '{"type": "thumbnail", "payload": {"picture": "/home/me/cat.jpg", "width": 64}}'
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from msgspec import Meta

from dolgo import SyncContext, task

if TYPE_CHECKING:
    from PIL import Image


@dataclass
class Thumbnail:
    """What one gets: where the PNG file is, and its size in pixels."""

    path: str
    width: int
    height: int


@task(queue="pictures")
def thumbnail(
    ctx: SyncContext,
    picture: Annotated[str, Meta(min_length=1, description="A picture on the machine that runs the task.")],
    width: Annotated[int, Meta(ge=1, le=10_000, description="Pixels at most; a smaller picture keeps its size.")] = 320,
    target: Annotated[str | None, Meta(description="Where to write it; if not given, beside the picture.")] = None,
) -> Thumbnail:
    """Scale a picture to a width and write it as a PNG file."""
    source = Path(picture)
    written = Path(target) if target else source.with_name(f"{source.stem}.{width}.png")
    scaled = scale(source, width)
    write(scaled, written, draft=written.with_name(f".{written.name}.{ctx.id}"))
    ctx.log.info("%s is %d x %d now", written, scaled.width, scaled.height)
    return Thumbnail(str(written), scaled.width, scaled.height)


def scale(source: Path, width: int) -> Image.Image:
    """The picture upright, `width` pixels wide at most, in colours that PNG knows."""
    try:
        # Here and not at the top of the file: without Pillow the tasks fail and say why, and the type is still there.
        from PIL import Image, ImageOps
    except ImportError as error:
        raise RuntimeError("thumbnail needs Pillow where the worker runs: pip install pillow") from error
    try:
        with Image.open(source) as image:
            upright = ImageOps.exif_transpose(image)
            coloured = upright if upright.mode in ("L", "LA", "RGB", "RGBA") else upright.convert("RGBA")
    except FileNotFoundError:
        raise
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:  # what Pillow says of files it cannot read
        raise ValueError(f"{source} is no picture that can be read: {error}") from error
    if coloured.width <= width:
        return coloured
    return coloured.resize((width, max(1, round(coloured.height * width / coloured.width))), Image.Resampling.LANCZOS)


def write(image: Image.Image, path: Path, *, draft: Path) -> None:
    """The whole file or none: a task may run twice, and somebody may be reading."""
    try:
        image.save(draft, "PNG")
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)

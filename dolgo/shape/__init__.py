"""A payload type as plain data, rebuilt where its code is not: door and child agree because both decode with the same engine."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from dolgo.shape.build import build
from dolgo.shape.check import Shape
from dolgo.shape.describe import Description, Fresh, describe
from dolgo.shape.walk import problems

__all__ = ["Description", "Fresh", "Shape", "build", "describe", "fingerprint", "problems"]


def fingerprint(*descriptions: Any) -> str:
    """16 hex digits that are the same for the same descriptions, whatever the order of their keys."""
    text = json.dumps(descriptions, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]

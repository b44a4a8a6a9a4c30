"""The pieces of code that check a callback's signature do so."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dolgo.task.callbacks.secret import signatures
from tests.docs.pages import DOCS, blocks
from tests.missing import need

PAGE = DOCS / "reference" / "callbacks.md"
SECRET = "whsec_" + "AQEB" * 8
OTHER = "whsec_" + "AgIC" * 8
MAIN = """
package main

import (
	"hooks"
	"io"
	"net/http"
	"os"
)

func main() {
	header := http.Header{}
	for _, name := range []string{"webhook-id", "webhook-timestamp", "webhook-signature"} {
		header.Set(name, os.Getenv(name))
	}
	body, _ := io.ReadAll(os.Stdin)
	if hooks.Verify(os.Args[1], header, body) != nil {
		os.Exit(1)
	}
}
"""
BODY = b'{"type":"task.done"}'


def headers(secrets: list[str], at: int) -> dict[str, str]:
    signed = signatures(secrets, "an-id", at, BODY)
    return {"webhook-id": "an-id", "webhook-timestamp": str(at), "webhook-signature": signed}


def in_python(given: dict[str, str], folder: Path) -> bool:
    names: dict[str, Any] = {}
    exec(blocks(PAGE, "py")[0].text, names)
    try:
        names["verify"](SECRET, given, BODY)
    except ValueError:
        return False
    return True


def in_node(given: dict[str, str], folder: Path) -> bool:
    need("node")
    node = shutil.which("node")
    assert node is not None
    (folder / "verify.js").write_text(blocks(PAGE, "js")[0].text)
    call = f"require('./verify.js').verify({SECRET!r}, {json.dumps(given)}, Buffer.from({BODY.decode()!r}))"
    return subprocess.run([node, "-e", call], cwd=folder, capture_output=True, check=False).returncode == 0


def in_go(given: dict[str, str], folder: Path) -> bool:
    need("go")
    program = folder / "verify"
    if not program.exists():
        (folder / "cmd").mkdir()
        (folder / "cmd" / "main.go").write_text(MAIN)
        (folder / "verify.go").write_text(blocks(PAGE, "go")[0].text)
        (folder / "go.mod").write_text("module hooks\n")
        offline = {"GOPROXY": "off", "GOTOOLCHAIN": "local", "GOFLAGS": "-mod=mod", "CGO_ENABLED": "0"}
        subprocess.run(["go", "vet", "./..."], cwd=folder, env=os.environ | offline, check=True)
        subprocess.run(["go", "build", "-o", program, "./cmd"], cwd=folder, env=os.environ | offline, check=True)
    return subprocess.run([program, SECRET], input=BODY, env=given, capture_output=True, check=False).returncode == 0


@pytest.mark.timeout(300)  # a first build of Go's library takes a while
@pytest.mark.parametrize("verifies", [in_python, in_node, in_go])
def test_the_code_takes_what_was_signed_and_nothing_else(
    verifies: Callable[[dict[str, str], Path], bool], tmp_path: Path
) -> None:
    now = int(time.time())
    assert verifies(headers([SECRET], now), tmp_path)
    assert verifies(headers([OTHER, SECRET], now), tmp_path)
    assert not verifies(headers([OTHER], now), tmp_path)
    assert not verifies(headers([SECRET], now - 1_000), tmp_path)
    assert not verifies({**headers([SECRET], now), "webhook-id": "another"}, tmp_path)

"""Runners of a race that are processes of their own: asked by a line, they answer with a line of JSON."""

from __future__ import annotations

import json
import subprocess
from typing import Any


def ask(child: subprocess.Popen[str], word: str | None = None) -> Any:
    """Send a word to a runner and wait for its answer."""
    assert child.stdin and child.stdout
    if word:
        child.stdin.write(word + "\n")
        child.stdin.flush()
    line = child.stdout.readline()
    if not line:
        raise SystemExit("a runner failed; what it said stands above")
    return json.loads(line)

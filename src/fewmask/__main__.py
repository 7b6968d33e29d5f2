"""``python -m fewmask``: the command line, where the ``fewmask`` program is not on the path."""

from __future__ import annotations

from fewmask.cli import main

main()

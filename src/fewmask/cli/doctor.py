"""``fewmask doctor``: what this machine offers."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from fewmask.cli.console import console, print_json
from fewmask.cli.options import JsonOption


def doctor(as_json: JsonOption = False) -> None:
    """Print versions, GPU and memory, to send with a question."""
    from rich.table import Table

    from fewmask.run_folder import environment

    facts = environment()
    facts.pop("command")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 0
    facts |= {
        "cores": os.cpu_count(),
        "memory": f"{memory / 2**30:.1f} GiB",
        "free disk here": f"{shutil.disk_usage(Path.cwd()).free / 2**30:.1f} GiB",
    }
    if as_json:
        print_json(facts)
        return
    table = Table(show_header=False)
    for key, value in facts.items():
        for name, entry in value.items() if isinstance(value, dict) else [(key, value)]:
            table.add_row(name, "none" if entry is None else str(entry))
    console().print(table)

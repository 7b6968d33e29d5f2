"""Processes that fewmask starts look for code where it is installed, never in the folder that the user happens to stand in.

That folder may be a stranger's data set, and Python would take a file ``torch.py`` in it for torch.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping


def without_current_folder(environment: Mapping[str, str]) -> dict[str, str]:
    """An environment in which Python does not look for code in the current folder.

    An empty part of ``PYTHONPATH`` means that folder, too; hardly anybody who writes ``$PYTHONPATH:/more`` wants it.
    """
    safe = {**environment, "PYTHONSAFEPATH": "1"}
    if "PYTHONPATH" in safe:
        safe["PYTHONPATH"] = os.pathsep.join(filter(None, safe["PYTHONPATH"].split(os.pathsep)))
    return safe


def leave_current_folder() -> None:
    """For a program: let none of its processes look there, itself no longer and its children not at all.

    Loader processes, data-parallel processes and the helpers of libraries inherit the environment.
    """
    if not sys.flags.safe_path and sys.path and sys.path[0] in ("", os.getcwd()):  # noqa: PTH109 (Python's own text)
        del sys.path[0]  # as `python -m` and `python -c` put it there
    os.environ.update(without_current_folder(os.environ))

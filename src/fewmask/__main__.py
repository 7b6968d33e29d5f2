"""``python -m fewmask``: the command line, where the ``fewmask`` program is not on the path."""

from __future__ import annotations

from fewmask.safe_path import leave_current_folder

leave_current_folder()

from fewmask.cli import main  # noqa: E402 (nothing of the current folder before)

main()

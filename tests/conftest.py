"""One thread for every test: the machine may be shared, and bit-equal runs need a fixed number.

Properties are tried on the same examples every time. To search for new ones: ``pytest --hypothesis-profile search``.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported; subprocesses inherit it

import pytest
import torch
from hypothesis import settings

settings.register_profile("same", derandomize=True, deadline=None, database=None)
settings.register_profile("search", deadline=None, print_blob=True)
settings.load_profile("same")


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    torch.set_num_threads(1)

"""What is wrong with a dataset folder, all at once: findings, tables, thumbnails."""

from fewmask.data.check.findings import CheckReport, Finding
from fewmask.data.check.run import check_dataset

__all__ = ["CheckReport", "Finding", "check_dataset"]

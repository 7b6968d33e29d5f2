"""What a header claims against what the file holds: believed, a few bytes could ask for terabytes of memory."""

from __future__ import annotations

DEFLATE = 1032  # bytes that one byte of zlib or gzip can become, at most


def refuse_excess(claimed: int, stored: int, *, packed: bool, ratio: int = DEFLATE) -> None:
    """Compare sizes before anything is allocated.

    Args:
        claimed: bytes of voxels, as the header says.
        stored: bytes of the file or files that hold them.
        packed: whether they are compressed.
        ratio: bytes that one byte of that compression can become, at most; of zlib and gzip unless said.

    Raises:
        ValueError: so many voxels cannot be in there.
    """
    if claimed > stored * (ratio if packed else 1):
        raise ValueError(f"its header claims {claimed} bytes of voxels, but the file has {stored}")

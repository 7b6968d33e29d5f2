"""A writer of plain DICOM slices, from the standard and not from the library that reads them."""

from __future__ import annotations

import struct

import numpy as np

CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"
EXPLICIT_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"


def element(group, number, kind, value):
    """A data element, explicit VR little endian, padded to an even length."""
    data = value if isinstance(value, bytes) else value.encode()
    if len(data) % 2:
        data += b"\0" if kind in ("UI", "OB") else b" "
    head = struct.pack("<HH2s", group, number, kind.encode())
    long = kind in ("OB", "OW", "SQ", "UN")
    return head + (struct.pack("<HI", 0, len(data)) if long else struct.pack("<H", len(data))) + data


def numbers(values):
    return "\\".join(f"{value:.10g}" for value in values)


def short(value):
    return struct.pack("<H", value)


def write_slice(
    path,
    pixels,
    position,
    *,
    instance=1,
    series="1.2.3",
    orientation=(1, 0, 0, 0, 1, 0),
    spacing=(1.0, 1.0),
    slope=1.0,
    intercept=0.0,
    patient="P1",
    description="axial",
    sop=CT_IMAGE,
):
    """One slice; ``pixels`` ``(rows, columns)`` int16, ``spacing`` between rows and between columns; a report has no pixels."""
    meta = element(2, 2, "UI", sop) + element(2, 3, "UI", f"{series}.{instance}")
    meta += element(2, 0x10, "UI", EXPLICIT_LITTLE_ENDIAN) + element(2, 0x12, "UI", "1.2.3.4")
    meta = element(2, 1, "OB", b"\0\1") + meta
    body = [
        element(8, 0x16, "UI", sop),
        element(8, 0x18, "UI", f"{series}.{instance}"),
        element(8, 0x60, "CS", "CT"),
        element(8, 0x103E, "LO", description),
        element(0x10, 0x10, "PN", patient),
        element(0x10, 0x20, "LO", patient),
        element(0x20, 0xD, "UI", "1.2"),
        element(0x20, 0xE, "UI", series),
        element(0x20, 0x11, "IS", "1"),
        element(0x20, 0x13, "IS", str(instance)),
    ]
    if position is not None:
        body += [
            element(0x20, 0x32, "DS", numbers(position)),
            element(0x20, 0x37, "DS", numbers(orientation)),
        ]
    rows, columns = pixels.shape if pixels is not None else (0, 0)
    body += [
        element(0x28, 2, "US", short(1)),
        element(0x28, 4, "CS", "MONOCHROME2"),
        element(0x28, 0x10, "US", short(rows)),
        element(0x28, 0x11, "US", short(columns)),
        element(0x28, 0x30, "DS", numbers(spacing)),
        element(0x28, 0x100, "US", short(16)),
        element(0x28, 0x101, "US", short(16)),
        element(0x28, 0x102, "US", short(15)),
        element(0x28, 0x103, "US", short(1)),
        element(0x28, 0x1052, "DS", f"{intercept:g}"),
        element(0x28, 0x1053, "DS", f"{slope:g}"),
        element(0x7FE0, 0x10, "OW", np.ascontiguousarray(pixels if pixels is not None else 0, "<i2").tobytes()),
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    body = body if pixels is not None else body[:10]
    head = element(2, 0, "UL", struct.pack("<I", len(meta)))
    path.write_bytes(bytes(128) + b"DICM" + head + meta + b"".join(body))


def write_series(folder, volume, *, spacing=(0.8, 0.7, 2.5), origin=(-10.0, -20.0, 30.0), order=None, skip=(), **more):
    """A series of ``volume`` ``(columns, rows, slices)``: slice z lies at ``origin + z * spacing[2]`` along the third axis.

    Args:
        order: the position along z of each file, so that names and instance numbers run otherwise; None: ascending.
        skip: slices that are missing.
    """
    across = (spacing[1], spacing[0])
    for number, z in enumerate(order if order is not None else range(volume.shape[2])):
        if z in skip:
            continue
        position = (origin[0], origin[1], origin[2] + z * spacing[2])
        write_slice(
            folder / f"{number:06d}.dcm", volume[:, :, z].T, position, instance=number + 1, spacing=across, **more
        )

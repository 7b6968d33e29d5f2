"""What a DICOM object is, by its SOP class: an image, or what its class is called."""

from __future__ import annotations

import re
from functools import lru_cache

_IMAGE = re.compile(r"Image (Storage|SOP)|Enhanced US Volume Storage")
_FRAMES = re.compile(r"Enhanced|Multi-frame|Video|Tomosynthesis|X-Ray 3D|Whole Slide")
_XRAY = re.compile(r"Computed Radiography|Digital|X-Ray (Angio|Radiofl)|Breast Projection|RT Image")
# Projections, which are pictures for the eye; all other images hold what was measured.
_XRAY_MODALITIES = frozenset({"CR", "DX", "DR", "MG", "XA", "RF", "PX", "IO", "RG", "BMD", "RTIMAGE"})
_MEASURED = frozenset({"CT", "MR", "PT", "NM", "US"})


@lru_cache
def class_name(uid: str) -> str:
    """What the standard calls a SOP class, such as ``"RT Dose Storage"``; the number of one that it doesn't know."""
    from pydicom.uid import UID

    if not re.fullmatch(r"[\d.]{1,64}", uid):
        return "object without a valid SOP class"
    name = UID(uid).name
    return f"private object (SOP class {uid})" if name == uid else name.split(" (Retired")[0]


@lru_cache
def is_image(uid: str) -> bool | None:
    """Whether objects of a class are images of voxels; None: only their content can tell (private classes, none at all).

    Segmentations, doses and parametric maps have voxels too, but show no patient.
    """
    name = class_name(uid)
    if name.startswith(("private object", "object without")):
        return None
    return _IMAGE.search(name) is not None


@lru_cache
def has_frames(uid: str) -> bool:
    """Whether a class keeps its images' positions frame by frame."""
    return _FRAMES.search(class_name(uid)) is not None


def is_projection(modality: str, uid: str) -> bool:
    """Whether an image is an X-ray picture; its modality tells, or else its class."""
    if modality.upper() in _MEASURED:
        return False
    return modality.upper() in _XRAY_MODALITIES or _XRAY.match(class_name(uid)) is not None

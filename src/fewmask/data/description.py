"""``dataset.json``: what a dataset folder says of itself, in the words of nnU-Net 2 (or of 1, where they differ)."""

from __future__ import annotations

import re
import reprlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fewmask.data.formats.bitmap import JPEG
from fewmask.data.image import SUFFIXES
from fewmask.errors import DataError, nearest
from fewmask.files import read_json
from fewmask.names import check_name, is_safe

_EXAMPLE = '{"channel_names": {"0": "MRI"}, "labels": {"background": 0, "tumour": 1}, "file_ending": ".nii.gz"}'


@dataclass(frozen=True)
class Description:
    """The contents of ``dataset.json``.

    Attributes:
        name: of the data set; the folder's name where the file gives none.
        channel_names: in channel order.
        class_names: background first; label value = position.
        file_ending: of the images: what stands behind their channel numbers, such as ``.nii.gz`` or ``_img.nii.gz``.
        label_ending: of the labels: what stands behind the case ids, such as ``.seg.nrrd``.
        num_training: as stated, or None.
        patients: case id to patient, for scans that belong together.
        training_order: the published order in which cases get labels, or None.
        shortcuts: what the scans' preparation gave away; see `fewmask.data.protocols.shortcuts`.
        unrelated: whether it says ``"patients": "none"``: every scan is of another patient.
    """

    name: str
    channel_names: tuple[str, ...]
    class_names: tuple[str, ...]
    file_ending: str
    label_ending: str
    num_training: int | None = None
    patients: dict[str, str] = field(default_factory=dict)
    training_order: tuple[str, ...] | None = None
    shortcuts: tuple[str, ...] = ()
    unrelated: bool = False


def read_description(root: Path) -> Description:
    """Read and check ``root/dataset.json``.

    Raises:
        DataError: the file is missing, is not JSON, or one of its entries is not of the right kind.
    """
    path = root / "dataset.json"
    if not root.is_dir():
        raise DataError(f"{root}: is not a folder; give the path of a dataset folder")
    try:
        values = read_json(path)
    except FileNotFoundError:
        raise DataError(f"{path}: is missing; write one such as {_EXAMPLE}") from None
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read as JSON ({error}); write something such as {_EXAMPLE}") from None
    if not isinstance(values, dict):
        raise DataError(f"{path}: must hold an object; write something such as {_EXAMPLE}")
    stated, name = values.get("numTraining"), values.get("name")
    return Description(
        name=check_name(name if isinstance(name, str) else root.resolve().name, f"{path}: the name"),
        num_training=stated if isinstance(stated, int) else None,
        unrelated=values.get("patients") == "none",
        **_checked(path, values),
    )


def _checked(path: Path, values: dict[str, Any]) -> dict[str, Any]:
    """The entries that must be right; all that are wrong are told at once."""
    ending = values.get("file_ending", ".nii.gz" if "modality" in values else None)
    parts: dict[str, Callable[[], Any]] = {
        "channel_names": lambda: _channel_names(path, values.get("channel_names", values.get("modality"))),  # nnU-Net 1
        "class_names": lambda: _class_names(path, values.get("labels")),
        "file_ending": lambda: _ending(path, "file_ending", ending),
        "label_ending": lambda: _label_ending(path, ending, values.get("label_ending")),
        "patients": lambda: _patients(path, values.get("patients", {})),
        "training_order": lambda: _order(path, values.get("training_order")),
        "shortcuts": lambda: _shortcuts(path, values.get("shortcuts", [])),
    }
    made, problems = {}, []
    for name, make in parts.items():
        try:
            made[name] = make()
        except DataError as error:
            problems.append(str(error).removeprefix(f"{path}: "))
    if problems:
        raise DataError(f"{path}: {'; '.join(problems)}")
    return made


def _ending(path: Path, key: str, value: Any) -> str:
    if not isinstance(value, str):
        raise DataError(f'{path}: "{key}" must be the images\' ending, for example ".nii.gz", not {value!r}')
    suffix = next((suffix for suffix in SUFFIXES if value.lower().endswith(suffix)), None)
    if suffix is None:
        raise DataError(f'{path}: "{key}" is {value!r}, {nearest(value, SUFFIXES)}')
    if value[0] not in "._-" or not is_safe(value) or re.search(r"[/\\]|_\d{4}\.", value):
        raise DataError(
            f'{path}: "{key}" is {value!r}; write what stands behind ID or ID_0000, as in "{suffix}" or "_seg{suffix}"'
        )
    return value


def _label_ending(path: Path, ending: Any, value: Any) -> str:
    if value is None and not isinstance(ending, str):
        return ""  # the error about the images' ending says it all
    if value is None:
        return ".png" if ending.lower().endswith(JPEG) else ending
    label_ending = _ending(path, "label_ending", value)
    if label_ending.lower().endswith(JPEG):
        raise DataError(f'{path}: "label_ending" is {value!r}, but JPEG changes label values; save labels as ".png"')
    return label_ending


def _channel_names(path: Path, value: Any) -> tuple[str, ...]:
    if isinstance(value, list):
        value = {str(position): name for position, name in enumerate(value)}
    if not isinstance(value, dict) or not value or sorted(value) != sorted(str(n) for n in range(len(value))):
        raise DataError(f'{path}: "channel_names" must number the channels from 0, as in {{"0": "T1", "1": "T2"}}')
    return tuple(check_name(str(value[str(n)]), f"{path}: the channel") for n in range(len(value)))


def _class_names(path: Path, value: Any) -> tuple[str, ...]:
    example = '{"background": 0, "tumour": 1}'
    if not isinstance(value, dict) or not value:
        raise DataError(f'{path}: "labels" must give each class its value, as in {example}')
    if all(key.isdigit() and isinstance(name, str) for key, name in value.items()):  # nnU-Net 1 has value to name
        value = {name: int(key) for key, name in value.items()}
    for name, number in value.items():
        if name == "ignore":
            raise DataError(f'{path}: "labels" has an "ignore" label, which is not supported; remove it and its scans')
        if isinstance(number, list):
            raise DataError(
                f"{path}: label {name!r} is a region {number}, which is not supported; give each class one value"
            )
        if not isinstance(number, int) or isinstance(number, bool):
            raise DataError(f"{path}: label {name!r} has the value {number!r}; give whole numbers, as in {example}")
    names = sorted(value, key=value.__getitem__)
    if [value[name] for name in names] != list(range(len(names))) or not 2 <= len(names) <= 256:
        raise DataError(
            f"{path}: the label values are {reprlib.repr(sorted(value.values()))}; number two or more classes from 0 without gaps"
        )
    return tuple(check_name(name, f"{path}: the label") for name in names)


def _patients(path: Path, value: Any) -> dict[str, str]:
    if value == "none":
        return {}
    if not isinstance(value, dict) or not all(isinstance(patient, str | int) for patient in value.values()):
        raise DataError(
            f'{path}: "patients" must map case ids to patients, as in {{"scan_1": "anna", "scan_2": "anna"}}, or be "none"'
        )
    return {case: str(patient) for case, patient in value.items()}


def _order(path: Path, value: Any) -> tuple[str, ...] | None:
    if value is None:
        return None
    if not isinstance(value, list) or not all(isinstance(case, str) for case in value) or len(set(value)) != len(value):
        raise DataError(f'{path}: "training_order" must be a list of different case ids')
    return tuple(value)


def _shortcuts(path: Path, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise DataError(f'{path}: "shortcuts" must be a list of names, as in ["reference-crop"]')
    return tuple(check_name(name, f"{path}: the shortcut") for name in value)

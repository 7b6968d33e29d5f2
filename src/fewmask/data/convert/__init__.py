"""Converters: from the layout in which people download a data set to the dataset folder. One file each, registered by name."""

from fewmask.data.convert import acdc, brats2019, datalist, dicom, folder, h5, la, msd, pancreas_ct
from fewmask.data.convert.base import CONVERTERS, Content, Converter, Plan, Source, register
from fewmask.data.convert.run import Conversion, convert

__all__ = [
    "CONVERTERS",
    "Content",
    "Conversion",
    "Converter",
    "Plan",
    "Source",
    "acdc",
    "brats2019",
    "convert",
    "datalist",
    "dicom",
    "folder",
    "h5",
    "la",
    "msd",
    "pancreas_ct",
    "register",
]

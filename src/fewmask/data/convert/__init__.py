"""Converters: from the layout in which people download a data set to the dataset folder. One file each, registered by name."""

from fewmask.data.convert import (
    acdc,
    bcss,
    brats2019,
    busi,
    datalist,
    dicom,
    folder,
    glas,
    h5,
    hmeps,
    isic2018,
    la,
    msd,
    pancreas_ct,
    ph2,
    polyp,
)
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
    "bcss",
    "brats2019",
    "busi",
    "convert",
    "datalist",
    "dicom",
    "folder",
    "glas",
    "h5",
    "hmeps",
    "isic2018",
    "la",
    "msd",
    "pancreas_ct",
    "ph2",
    "polyp",
    "register",
]

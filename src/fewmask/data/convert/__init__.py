"""Converters: from the layout in which people download a data set to the dataset folder. One file each, registered by name."""

from fewmask.data.convert import la
from fewmask.data.convert.base import CONVERTERS, Content, Converter, Plan, Source, register
from fewmask.data.convert.run import Conversion, convert

__all__ = [
    "CONVERTERS",
    "Content",
    "Conversion",
    "Converter",
    "Plan",
    "Source",
    "convert",
    "la",
    "register",
]

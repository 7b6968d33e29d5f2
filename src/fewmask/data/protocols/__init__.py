"""The public data sets: where they are, how the papers use them, and which cases they train and test on.

One YAML file a data set, and lists of case ids in ``lists/``. Nothing here is code of a data set: a new one is a new file.
"""

from fewmask.data.protocols.schema import Lists, Protocol, PublicDataset
from fewmask.data.protocols.shelf import find_protocol, find_public, public_names

__all__ = ["Lists", "Protocol", "PublicDataset", "find_protocol", "find_public", "public_names"]

"""Broken NRRD, MetaImage, PNG, JPEG and TIFF files."""

import numpy as np

from corpus.faults import at, both, cut, flipped, noise, nrrd, picture, png, tiff, written
from corpus.harness import Case, each

AGAIN = "copy or export it anew"
MHD = "ObjectType = Image\nNDims = 3\nDimSize = {}\nElementType = MET_UCHAR\nElementDataFile = a_0000.raw\n"
GREY = noise((40, 36), np.uint8)
COLOUR = noise((40, 36, 3), np.uint8)
CLEAR = np.dstack([COLOUR, np.full((40, 36), 7, np.uint8)])


def scan(name, ending, fault, remedy, command="check data"):
    """A data set of one scan in this format, which the fault writes."""
    file = f"data/imagesTr/a_0000{ending}"
    return Case(
        name, both(at("data/dataset.json", dataset(ending)), at(file, fault)), command, f"a_0000{ending}", remedy
    )


def dataset(ending, channels=1):
    names = ", ".join(f'"{n}": "channel {n}"' for n in range(channels))
    text = f'{{"channel_names": {{{names}}}, "labels": {{"background": 0, "thing": 1}}, "file_ending": "{ending}"}}'

    def fault(path):
        (path.parent / "imagesTr").mkdir(parents=True)
        written(text)(path)

    return fault


# fmt: off
BROKEN = [
    scan("an NRRD cut short", ".nrrd", nrrd(content=bytes(99)), AGAIN),
    scan("an NRRD of terabytes", ".nrrd", nrrd(sizes="99999 99999 999"), AGAIN),
    scan("an NRRD of gigabytes", ".nrrd", nrrd(sizes="4000 4000 999"), AGAIN),
    scan("an NRRD of zero spacing", ".nrrd", nrrd(more="spacings: 1 0 1"), AGAIN),
    scan("an NRRD with a film", ".nrrd", nrrd(sizes="20 18 14 5", content=bytes(20 * 18 * 14 * 5)), "one 2D or 3D file"),
    scan("an NRRD without its voxels", ".nrrd", written("NRRD0004\ntype: uint8\ndimension: 3\n"), AGAIN),
    scan("an MHA of another format", ".mha", written(b"\x89PNG\r\n\x1a\n"), AGAIN),
    scan("an MHD without its voxels", ".mhd", written(MHD.format("20 18 14")), "copy that file too"),
    scan("an MHD of terabytes", ".mhd", both(written(MHD.format("99999 99999 999")), lambda path: written(bytes(9))(path.with_suffix(".raw"))),
        AGAIN),
    scan("a PNG cut short", ".png", both(picture(GREY), cut(300)), AGAIN),
    scan("a PNG with a flipped bit", ".png", both(picture(GREY), flipped(400)), AGAIN),
    scan("a PNG without a pixel", ".png", written(png(36, 40)), AGAIN),
    scan("a PNG of no width", ".png", written(png(0, 40)), AGAIN),
    scan("a PNG bomb", ".png", written(png(60000, 60000, bytes(10**6))), "pixels"),
    scan("a PNG of gigabytes", ".png", written(png(2**31 - 1, 2**31 - 1)), "pixels"),
    scan("a colour PNG of 16 bits among grey ones", ".png", written(png(2, 2, bytes(26), depth=16, colour=2)), "3 channels"),
    scan("a PNG with transparent pixels", ".png", picture(CLEAR), "without an alpha channel"),
    scan("a GIF called PNG", ".png", picture(GREY, format="GIF"), AGAIN),
    scan("PostScript called PNG", ".png", written("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"), AGAIN),
    scan("a JPEG cut short", ".jpg", both(picture(GREY), cut(-60)), AGAIN),
    scan("a CMYK JPEG among grey ones", ".jpg", picture(COLOUR, "CMYK"), "3 channels"),
    scan("a BMP cut short", ".bmp", both(picture(GREY), cut(500)), AGAIN),
    scan("a TIFF cut short", ".tif", both(tiff(GREY), cut(600)), AGAIN),
    scan("a TIFF of terabytes", ".tif", tiff(GREY, claims=(10**6, 10**6)), AGAIN),
    scan("a TIFF of gigabytes", ".tif", tiff(GREY, claims=(10**5, 10**5)), AGAIN),
    scan("a deflated TIFF cut short", ".tif", both(tiff(GREY, compression="zlib"), cut(-300)), AGAIN),
    scan("a TIFF of complex numbers", ".tif", tiff(GREY.astype(np.complex64)), "magnitude"),
    scan("a TIFF stack with a broken spacing", ".tif", both(tiff(noise((5, 9, 8), np.uint8)), lambda path: written("{")(path.with_suffix(".json"))),
        "a_0000.json: must hold"),
]
# fmt: on


@each(BROKEN)
def test_found(case, found):
    found(case)

"""An archive of a stranger unpacks to plain files inside one folder, within a budget, or not at all."""

from __future__ import annotations

import gzip
import io
import os
import shutil
import stat
import struct
import tarfile
import zipfile

import pytest

from fewmask.data.convert import convert
from fewmask.data.convert.archive import Budget, is_archive, unpacked
from fewmask.errors import DataError, FewmaskError
from layouts import everything, write_la

SMALL = Budget(bytes=2**20, files=50, ratio=10, free=1000)


def tar_of(path, *entries, mode="w:gz"):
    """A tar with (TarInfo or name, content) entries."""
    with tarfile.open(path, mode) as archive:
        for entry, content in entries:
            info = tarfile.TarInfo(entry) if isinstance(entry, str) else entry
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def zip_of(path, *entries):
    """A zip with (ZipInfo or name, content) entries, deflated."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for entry, content in entries:
            archive.writestr(entry, content)
    return path


def special(name, kind, target=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def linked(name, kind=stat.S_IFLNK):
    info = zipfile.ZipInfo(name)
    info.create_system, info.external_attr = 3, (kind | 0o777) << 16
    return info


def refused(archive, tmp_path, match, budget=SMALL):
    """Unpacking fails with one sentence and leaves nothing behind."""
    place = tmp_path / "place"
    place.mkdir(exist_ok=True)
    before = {path: content for path, content in everything(tmp_path).items() if path != archive}
    with pytest.raises(DataError, match=match) as error, unpacked(archive, place, budget=budget):
        pytest.fail("it was unpacked")
    assert "\n" not in str(error.value) and archive.name in str(error.value)
    assert {path: content for path, content in everything(tmp_path).items() if path != archive} == before


NAMES = [
    "../evil",
    "a/../../evil",
    "/tmp/evil-of-fewmask",
    "a\\..\\evil",
    "C:evil",
    "c:/evil",
    "a\nb",
    "a\x1b[31m",
    "..",
    "",
]


@pytest.mark.parametrize("name", NAMES)
def test_names_that_lead_elsewhere_in_a_tar(tmp_path, name):
    archive = tar_of(tmp_path / "a.tar.gz", ("good", b"x"), (name, b"evil"))
    refused(archive, tmp_path, "leads out of its folder or is no name")


@pytest.mark.parametrize("name", [*NAMES[:-1], "a\0b"])
def test_names_that_lead_elsewhere_in_a_zip(tmp_path, name):
    info = zipfile.ZipInfo("placeholder")
    info.filename = info.orig_filename = name  # writestr would tidy it up
    refused(
        zip_of(tmp_path / "a.zip", ("good", b"x"), (info, b"evil")),
        tmp_path,
        "leads out of its folder or is no name|damaged",
    )


@pytest.mark.parametrize(
    "entry",
    [
        special("link", tarfile.SYMTYPE, "/etc/passwd"),
        special("link", tarfile.SYMTYPE, "good"),
        special("link", tarfile.LNKTYPE, "good"),
        special("device", tarfile.CHRTYPE),
        special("device", tarfile.BLKTYPE),
        special("pipe", tarfile.FIFOTYPE),
        special("odd", b"Z"),
    ],
    ids=lambda entry: f"{entry.name} {entry.type!r}",
)
def test_links_and_devices_in_a_tar(tmp_path, entry):
    refused(tar_of(tmp_path / "a.tar", ("good", b"x"), (entry, b""), mode="w"), tmp_path, "a link or a device")


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFIFO, stat.S_IFSOCK])
def test_links_and_devices_in_a_zip(tmp_path, kind):
    refused(
        zip_of(tmp_path / "a.zip", ("good", b"x"), (linked("link", kind), b"/etc/passwd")),
        tmp_path,
        "a link or a device",
    )


def test_a_file_under_a_link_that_came_before_it(tmp_path):
    """The link itself is refused, so nothing can be written through it."""
    archive = tar_of(
        tmp_path / "a.tar", (special("out", tarfile.SYMTYPE, str(tmp_path)), b""), ("out/evil", b"x"), mode="w"
    )
    refused(archive, tmp_path, "a link or a device")
    assert not (tmp_path / "evil").exists()


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_a_tar_bomb(tmp_path, mode):
    ending = {"w": ".tar", "w:gz": ".tgz"}[mode]
    size = 2**21 if mode == "w" else 2**19  # an unpacked tar is as large as what it holds: only the total stops it
    refused(tar_of(tmp_path / f"a{ending}", ("zeros", bytes(size)), mode=mode), tmp_path, "unpacks to more than")


def test_a_bomb_in_small_parts(tmp_path):
    """No part is too large; what comes out is added up."""
    parts = [(f"zeros{number}", bytes(2**17)) for number in range(20)]
    refused(tar_of(tmp_path / "a.tar.gz", *parts), tmp_path, "unpacks to more than", Budget(2**20, 50, 10**6, 2**20))
    refused(zip_of(tmp_path / "a.zip", *parts), tmp_path, "unpacks to more than", Budget(2**20, 50, 10**6, 2**20))


def test_a_zip_bomb(tmp_path):
    refused(zip_of(tmp_path / "a.zip", ("zeros", bytes(2**19))), tmp_path, "unpacks to more than .*10 times its size")


def test_a_zip_that_lies_about_its_sizes(tmp_path):
    """Sizes in its directory are claims: what comes out is counted."""
    archive = zip_of(tmp_path / "a.zip", ("zeros", bytes(2**19)))
    data = bytearray(archive.read_bytes())
    for signature, offset in ((b"PK\x01\x02", 24), (b"PK\x03\x04", 22)):
        place = data.index(signature) + offset
        data[place : place + 4] = struct.pack("<I", 100)
    archive.write_bytes(data)
    refused(archive, tmp_path, "damaged|unpacks to more")


def test_a_bomb_of_many_files(tmp_path):
    refused(tar_of(tmp_path / "a.tar.gz", *((f"f{n}", b"") for n in range(51))), tmp_path, "more than 50 files")
    refused(zip_of(tmp_path / "a.zip", *((f"f{n}", b"") for n in range(51))), tmp_path, "more than 50 files")


def test_a_sparse_file_that_claims_a_terabyte(tmp_path):
    info = tarfile.TarInfo("big")
    header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    header[156:157] = b"S"  # GNU sparse
    header[386:410] = b"%011o\0%011o\0" % (0, 0)
    header[483:495] = b"%011o\0" % (2**32)
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header[:512])
    (tmp_path / "a.tar").write_bytes(bytes(header) + bytes(1024))
    refused(tmp_path / "a.tar", tmp_path, "a link or a device|damaged|unpacks to more")


@pytest.mark.parametrize("make", [tar_of, zip_of])
def test_a_file_that_is_there_twice(tmp_path, make):
    archive = tmp_path / ("a.tar.gz" if make is tar_of else "a.zip")
    with pytest.warns(UserWarning) if make is zip_of else pytest.MonkeyPatch.context():
        make(archive, ("a", b"first"), ("a", b"second"))
    refused(archive, tmp_path, "twice")
    make(archive, ("a", b"file"), ("a/b", b"in it"))
    refused(archive, tmp_path, "twice")


def test_a_header_that_claims_to_be_endless(tmp_path):
    """A pax header is read whole before anything is looked at."""
    info = special("pax", tarfile.XHDTYPE)
    info.size = 2**34
    with gzip.open(tmp_path / "a.tar.gz", "wb") as file:
        file.write(info.tobuf(tarfile.GNU_FORMAT) + bytes(2**21))
    refused(tmp_path / "a.tar.gz", tmp_path, "a header without end")


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_unusual_packing(tmp_path, method):
    """Decoders that take what memory the file asks for are not used."""
    with zipfile.ZipFile(tmp_path / "a.zip", "w", method) as archive:
        archive.writestr("a", b"x" * 100)
    refused(tmp_path / "a.zip", tmp_path, "packed in an unusual way")


def test_a_locked_zip(tmp_path):
    archive = zip_of(tmp_path / "a.zip", ("secret", b"x"))
    data = bytearray(archive.read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1
    archive.write_bytes(data)
    refused(archive, tmp_path, "locked by a password")


@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.tar.gz", "a.tgz"])
@pytest.mark.parametrize(
    "content",
    [b"", b"PK\x03\x04", b"not an archive" * 100, gzip.compress(b"no tar" * 1000)],
    ids=["empty", "start", "text", "gzip"],
)
def test_what_is_no_archive(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    refused(tmp_path / name, tmp_path, "is damaged or of another kind|is damaged")


def test_a_truncated_archive(tmp_path):
    content = os.urandom(5000)
    for archive in (tar_of(tmp_path / "a.tar.gz", ("a", content)), zip_of(tmp_path / "a.zip", ("a", content))):
        archive.write_bytes(archive.read_bytes()[:-2000])
        refused(archive, tmp_path, "is damaged", Budget())


def test_a_good_archive_unpacks_with_default_rights(tmp_path):
    info = tarfile.TarInfo("folder/tool")
    info.mode = 0o6777
    archive = tar_of(tmp_path / "a.tar.gz", (info, b"data"), ("./folder/other", b"more"))
    with unpacked(archive, tmp_path / "place") as folder:
        assert (folder / "folder/tool").read_bytes() == b"data" and (folder / "folder/other").read_bytes() == b"more"
        assert (folder / "folder/tool").stat().st_mode & 0o7111 == 0
    assert list((tmp_path / "place").iterdir()) == []


def test_kept_where_it_was_asked_for(tmp_path):
    archive = zip_of(tmp_path / "a.zip", ("x/a", b"data"))
    for _ in range(2):  # the second time it is there
        with unpacked(archive, tmp_path / "there", keep=True) as folder:
            assert folder == tmp_path / "there" and (folder / "x/a").read_bytes() == b"data"
    hostile = tar_of(tmp_path / "b.tar", ("../evil", b""), mode="w")
    with pytest.raises(DataError), unpacked(hostile, tmp_path / "elsewhere", keep=True):
        pass
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("kind", ["zip", "gztar"])
def test_converting_an_archive_is_converting_its_folder(tmp_path, kind):
    raw = write_la(tmp_path / "raw")
    (raw / "__MACOSX").mkdir()
    (raw / "__MACOSX/._x").write_bytes(b"junk")
    archive = shutil.make_archive(tmp_path / "la-raw", kind, raw)
    assert is_archive(tmp_path / archive)
    convert("la", tmp_path / archive, tmp_path / "out" / "la")
    convert("la", raw, tmp_path / "plain")
    made, plain = (
        {path.name: path.read_bytes() for path in (tmp_path / folder).rglob("*.*") if path.name != "conversion.json"}
        for folder in ("out/la", "plain")
    )
    assert made == plain and len(made) == 7
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["la"]
    assert convert("la", tmp_path / archive, tmp_path / "out" / "la").written == 0


def test_a_hostile_archive_converts_to_nothing(tmp_path):
    archive = tar_of(tmp_path / "a.tar", ("../evil", b""), mode="w")
    with pytest.raises(FewmaskError):
        convert("la", archive, tmp_path / "la")
    assert [path.name for path in tmp_path.iterdir()] == ["a.tar"]

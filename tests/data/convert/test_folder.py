import numpy as np
import pytest

from fewmask.data.check import check_dataset
from fewmask.data.convert import convert
from fewmask.errors import ConfigError, DataError
from layouts import rgb, write_picture_file


def write_folder(root, ending=".png", tail="", factor=255, images="images", masks="masks", count=4):
    for number in range(count):
        image, mask = rgb(number)
        write_picture_file(root / images / f"p{number}{ending}", image)
        if number:  # the first has no mask
            write_picture_file(root / masks / f"p{number}{tail}.png", (mask * factor).astype(np.uint8))
    return root


@pytest.mark.parametrize("tail", ["", "_mask", "_segmentation", "_anno"])
@pytest.mark.parametrize("factor", [1, 255])
def test_pictures_and_masks(tmp_path, tail, factor):
    raw = write_folder(tmp_path / "raw", tail=tail, factor=factor)
    data = convert("folder", raw, tmp_path / "out").dataset
    assert data.ids("unlabelled") == ["p0"] and data.ids("train", labelled=True) == ["p1", "p2", "p3"]
    assert data.channel_names == ("red", "green", "blue")
    assert data.case("p1").images[0].read_bytes() == (raw / "images/p1.png").read_bytes()
    np.testing.assert_array_equal(data.read_label("p1").data, rgb(1)[1])
    assert check_dataset(tmp_path / "out").ok


def test_photographs_stay_as_they_are(tmp_path):
    raw = write_folder(tmp_path / "raw", ".jpg", images="image", masks="mask")
    data = convert("folder", raw, tmp_path / "out").dataset
    assert data.file_ending == ".jpg" and data.description.label_ending == ".png"
    assert data.case("p2").images[0].read_bytes() == (raw / "image/p2.jpg").read_bytes()


def test_mixed_endings_and_colours_become_png(tmp_path):
    raw = write_folder(tmp_path / "raw")
    grey = rgb(7)[0][..., 0]
    write_picture_file(raw / "images/p7.bmp", grey)
    data = convert("folder", raw, tmp_path / "out").dataset
    np.testing.assert_array_equal(data.read("p7").data, [grey] * 3)
    np.testing.assert_array_equal(data.read("p1").data, rgb(1)[0].transpose(2, 0, 1))


def test_grey_of_three_equal_channels(tmp_path):
    raw = write_folder(tmp_path / "raw", count=2)
    grey = rgb(7)[0][..., :1]
    write_picture_file(raw / "images/p0.png", grey[..., 0])
    write_picture_file(raw / "images/p1.png", np.repeat(grey, 3, axis=-1))
    data = convert("folder", raw, tmp_path / "out").dataset
    assert data.channel_names == ("grey",)
    np.testing.assert_array_equal(data.read("p1").data[0], grey[..., 0])
    write_picture_file(raw / "images/p1.png", rgb(1)[0])
    with pytest.raises(DataError, match=r"p1\.png: has 3 channels where the others have 1"):
        convert("folder", raw, tmp_path / "other")


def test_values_are_remapped(tmp_path):
    raw = write_folder(tmp_path / "raw", count=2)
    mask = np.array([[0, 128], [255, 0]], np.uint8).repeat(10, 0).repeat(8, 1)
    write_picture_file(raw / "masks/p1.png", mask)
    with pytest.raises(DataError, match=r"p1\.png: holds the values 0, 128, 255, .* --set 'values="):
        convert("folder", raw, tmp_path / "a")
    settings = {"values": {0: 0, 128: 2, 255: 1}, "classes": ["back", "core", "rim"]}
    label = convert("folder", raw, tmp_path / "b", settings).dataset.read_label("p1").data
    np.testing.assert_array_equal(label, np.select([mask == 128, mask == 255], [2, 1]))
    label = convert("folder", raw, tmp_path / "c", {"threshold": 127}).dataset.read_label("p1").data
    np.testing.assert_array_equal(label, mask > 127)
    with pytest.raises(DataError, match="holds the label value 128"):
        convert("folder", raw, tmp_path / "d", {"values": {0: 0, 255: 1}})


@pytest.mark.parametrize("pair", [(128, 255), (0, 128), (1, 255)])
def test_values_of_which_nobody_told_are_not_guessed(tmp_path, pair):
    raw = write_folder(tmp_path / "raw", count=2)
    write_picture_file(raw / "masks/p1.png", np.array(pair, np.uint8).repeat(160).reshape(20, 16))
    with pytest.raises(DataError, match=r"p1\.png: holds the values"):
        convert("folder", raw, tmp_path / "a")


def test_masks_that_are_photographs_need_a_threshold(tmp_path):
    raw = write_folder(tmp_path / "raw", count=2)
    (raw / "masks/p1.png").unlink()
    write_picture_file(raw / "masks/p1.jpg", (rgb(1)[1] * 255).astype(np.uint8))
    with pytest.raises(DataError, match="JPEG"):
        convert("folder", raw, tmp_path / "a")
    label = convert("folder", raw, tmp_path / "b", {"threshold": 127}).dataset.read_label("p1").data
    assert (label != rgb(1)[1]).mean() < 0.05


def test_lists(tmp_path):
    raw = write_folder(tmp_path / "raw")
    (raw / "train.list").write_text("p2.png\np1\n")
    (raw / "test.list").write_text("p3\n")
    data = convert("folder", raw, tmp_path / "out").dataset
    assert data.ids("test") == ["p3"] and data.load_split("lists").labelled == ("p2", "p1")
    assert data.split(labelled=1, ordered=True).labelled == ("p2",)


def test_masks_without_pictures(tmp_path):
    raw = write_folder(tmp_path / "raw")
    write_picture_file(raw / "masks/p9.png", rgb(1)[1])
    with pytest.raises(DataError, match=r"p9\.png: is a mask without a picture"):
        convert("folder", raw, tmp_path / "out")


def test_another_layout(tmp_path):
    write_picture_file(tmp_path / "raw/photos/a.png", rgb()[0])
    with pytest.raises(DataError, match=r"expected pictures such as images/a\.png, .* but found photos/"):
        convert("folder", tmp_path / "raw", tmp_path / "out")


@pytest.mark.parametrize(
    "settings",
    [
        {"classes": ["a"]},
        {"values": {0: 0}, "threshold": 1},
        {"values": {1: 2}},
        {"threshold": 1, "classes": ["a", "b", "c"]},
    ],
)
def test_settings(tmp_path, settings):
    with pytest.raises(ConfigError):
        convert("folder", write_folder(tmp_path / "raw"), tmp_path / "out", settings)

import numpy as np
import pytest

from fewmask.data.check import check_dataset
from fewmask.data.convert import convert
from fewmask.data.convert.pancreas_ct import tissue_share
from fewmask.errors import DataError
from layouts import ct, write_nifti, write_pancreas

DOWN = list(range(9, -1, -1))


@pytest.mark.parametrize("order", [None, DOWN], ids=["numbered upwards", "numbered downwards"])
def test_scans_in_hu_with_their_labels(tmp_path, order):
    raw = write_pancreas(tmp_path / "raw", order=order)
    done = convert("pancreas-ct", raw, tmp_path / "pancreas")
    assert sorted(done.dataset.cases) == ["PANCREAS_0001", "PANCREAS_0002"]
    for number in (1, 2):
        values, label = ct(number)
        image = done.dataset.read(f"PANCREAS_{number:04d}")
        np.testing.assert_array_equal(image.data[0], values)
        np.testing.assert_array_equal(done.dataset.read_label(f"PANCREAS_{number:04d}").data, label)
        np.testing.assert_allclose(image.geometry.spacing, (0.8, 0.7, 2.5), atol=1e-6)
    assert check_dataset(tmp_path / "pancreas").ok


def test_duplicates_are_left_out_unless_asked_for(tmp_path):
    raw = write_pancreas(tmp_path / "raw", (1, 25, 70))
    write_nifti(raw / "TCIA_pancreas_labels-02-05-2017/label0025.nii.gz", ct(25)[1])
    done = convert("pancreas-ct", raw, tmp_path / "p")
    assert list(done.dataset.cases) == ["PANCREAS_0001"]
    assert done.notes[0].startswith("PANCREAS_0025 and PANCREAS_0070 left out")
    assert "holds 1 labelled scans where the published data set has 80" in done.missing[-1]
    assert len(convert("pancreas-ct", raw, tmp_path / "q", {"duplicates": True}).dataset) == 3


def test_a_label_beside_the_organ_is_refused_and_can_be_turned(tmp_path):
    raw = write_pancreas(tmp_path / "raw", (1,))
    values, label = ct(1)
    turned = label[:, ::-1]
    assert tissue_share(values, turned) < 0.6 <= tissue_share(values, label)
    write_nifti(raw / "TCIA_pancreas_labels-02-05-2017/label0001.nii.gz", turned)
    with pytest.raises(DataError, match=r"label0001\.nii\.gz: only \d+% of it lies in soft tissue"):
        convert("pancreas-ct", raw, tmp_path / "p")
    data = convert("pancreas-ct", raw, tmp_path / "q", {"flip": "y"}).dataset
    np.testing.assert_array_equal(data.read_label("PANCREAS_0001").data, label)


def test_scans_and_labels_that_lack_each_other(tmp_path):
    raw = write_pancreas(tmp_path / "raw", (1, 2, 3))
    labels = raw / "TCIA_pancreas_labels-02-05-2017"
    (labels / "label0002.nii.gz").rename(labels / "label0009.nii.gz")
    done = convert("pancreas-ct", raw, tmp_path / "p")
    assert sorted(done.dataset.cases) == ["PANCREAS_0001", "PANCREAS_0003"]
    assert "PANCREAS_0002: has no label" in done.missing[0] and "label0009.nii.gz: has no scan" in done.missing[1]


def test_another_layout(tmp_path):
    raw = write_pancreas(tmp_path / "raw", (1,))
    labels = raw / "TCIA_pancreas_labels-02-05-2017"
    write_nifti(labels / "label0001.nii.gz", ct(1, (14, 12, 9))[1])
    with pytest.raises(
        DataError, match=r"label0001\.nii\.gz: has the shape \(14, 12, 9\), but its scan \(14, 12, 10\)"
    ):
        convert("pancreas-ct", raw, tmp_path / "p")
    labels.rename(tmp_path / "away")
    with pytest.raises(DataError, match=r"raw: expected labels such as label0001\.nii\.gz, but found Pancreas-CT/"):
        convert("pancreas-ct", raw, tmp_path / "q")

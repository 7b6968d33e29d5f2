from __future__ import annotations

import multiprocessing
import os
import signal
import time

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fewmask.config import AugmentConfig, SamplingConfig
from fewmask.data.coded import Coded, encode
from fewmask.data.distance import signed_distances
from fewmask.data.sampling import (
    LABELLED,
    UNLABELLED,
    BatchStream,
    Streams,
    batches,
    case_at,
    explained_loaders,
    padding,
    read_patch,
)
from fewmask.errors import DataError, RunError
from helpers import blobs
from toys import MemorySource

STILL = AugmentConfig(rotate_flip=False)


def stream(source, cases, others=(), patch=(16, 16), *, augment=STILL, seed=0, rank=0, world=1, **sampling):
    return BatchStream(
        source,
        Streams(cases, others, seed),
        patch,
        SamplingConfig(**sampling),
        augment,
        channels=1,
        rank=rank,
        world=world,
    )


@pytest.fixture(scope="module")
def source():
    return MemorySource.blobs([(40, 36), (20, 33), (16, 24), (9, 50), (31, 17)])


def same(first, second):
    return all(
        torch.equal(getattr(first, name), getattr(second, name)) for name in ("labelled", "labels", "unlabelled")
    )


@pytest.mark.filterwarnings("ignore:This DataLoader will create")
@pytest.mark.parametrize("workers", [1, 3])
def test_batches_do_not_depend_on_the_number_of_workers(source, workers):
    items = stream(
        source,
        ["case_0", "case_1"],
        ["case_2", "case_3"],
        augment=AugmentConfig(intensity=0.5, rotate_degrees=10),
        foreground=0.5,
    )
    alone, loaded = list(batches(items, 2, 8, 0)), list(batches(items, 2, 8, workers))
    assert len(alone) == len(loaded) == 6
    assert all(same(*pair) for pair in zip(alone, loaded, strict=True))
    assert same(alone[0], items.batch(2)), "a batch is a function of its number"
    assert not same(alone[0], alone[1])


def test_the_seed_changes_the_batches(source):
    first, second = (stream(source, ["case_0"], seed=seed).batch(0) for seed in (0, 1))
    assert not torch.equal(first.labelled, second.labelled)


def test_the_labelled_stream_does_not_know_the_unlabelled_one(source):
    labelled = ["case_0", "case_1", "case_2"]
    alone, beside = stream(source, labelled), stream(source, labelled, ["case_3", "case_4"], unlabelled=3)
    for step in range(6):
        assert torch.equal(alone.batch(step).labelled, beside.batch(step).labelled)
        assert torch.equal(alone.batch(step).labels, beside.batch(step).labels)
        assert alone.batch(step).unlabelled.shape == (0, 1, 16, 16)
        assert beside.batch(step).unlabelled.shape == (3, 1, 16, 16)


def test_labels_of_unlabelled_cases_are_never_asked_for():
    source = MemorySource.blobs([(20, 20)] * 4)
    items = stream(source, ["case_0"], ["case_1", "case_2", "case_3"], foreground=0.5)
    for step in range(10):
        items.batch(step)
    assert set(source.asked) == {"case_0"}


def test_a_phase_without_labelled_patches(source):
    batch = stream(source, [], ["case_1"]).batch(0)
    assert batch.labelled.shape == (0, 1, 16, 16)
    assert batch.labels.shape == (0, 16, 16)
    assert batch.labels.dtype == torch.int64
    assert batch.images.shape == (2, 1, 16, 16)


@pytest.mark.parametrize(("count", "batch"), [(8, 2), (7, 2), (5, 5), (10, 4)])
def test_an_epoch_shows_each_labelled_case_at_most_once_and_drops_the_incomplete_batch(count, batch):
    length = count // batch * batch
    epochs = [[case_at(0, LABELLED, e * length + k, count, batch) for k in range(length)] for e in range(20)]
    assert all(len(set(epoch)) == length for epoch in epochs)
    assert set().union(*epochs) == set(range(count))
    assert len({tuple(epoch) for epoch in epochs}) > 10, "every epoch has its own order"


def test_the_unlabelled_stream_has_no_gaps():
    passes = [[case_at(0, UNLABELLED, p * 7 + k, 7, 1) for k in range(7)] for p in range(5)]
    assert all(sorted(one) == list(range(7)) for one in passes)


def test_fewer_labelled_cases_than_the_batch_holds(source):
    assert stream(source, ["case_0"], labelled=4).batch(3).labelled.shape == (4, 1, 16, 16)


def test_two_processes_share_one_large_batch(source):
    labelled, unlabelled = [f"case_{n}" for n in range(4)], ["case_4", "case_0", "case_1"]
    sizes = {"labelled": 2, "unlabelled": 3}
    together = stream(source, labelled, unlabelled, **{name: 2 * size for name, size in sizes.items()})
    for step in range(5):
        parts = [stream(source, labelled, unlabelled, rank=rank, world=2, **sizes).batch(step) for rank in (0, 1)]
        for name in ("labelled", "labels", "unlabelled"):
            joined = torch.cat([getattr(part, name) for part in parts])
            assert torch.equal(joined, getattr(together.batch(step), name))


@pytest.mark.parametrize(
    ("shape", "patch", "margin", "wanted"),
    [
        ((100, 120, 60), (112, 112, 80), 3, [9, 0, 13]),  # (12 // 2) + 3, none, (20 // 2) + 3
        ((101, 112), (112, 112), 3, [8, 3]),  # 11 // 2 + 3, and a side that is equal is padded too
        ((101, 112), (112, 112), 0, [6, 0]),  # without a margin an odd lack must still be filled
        ((113, 200), (112, 112), 3, [0, 0]),
    ],
)
def test_padding_is_that_of_the_field(shape, patch, margin, wanted):
    assert padding(shape, patch, margin) == wanted
    assert all(side + 2 * pad >= size for side, pad, size in zip(shape, wanted, patch, strict=True))


def test_read_patch_equals_cutting_the_padded_volume():
    rng = np.random.default_rng(0)
    for shape, patch in [((2, 7, 9), (10, 6)), ((1, 5, 12, 8), (8, 8, 8)), ((1, 3, 3, 3), (16, 16, 16))]:
        volume = rng.normal(size=shape).astype(np.float32)
        for margin in (0, 3):
            pad = padding(shape[1:], patch, margin)
            padded = np.pad(volume, [(0, 0), *[(p, p) for p in pad]])
            for _ in range(20):
                start = [int(rng.integers(side - size + 1)) for side, size in zip(padded.shape[1:], patch, strict=True)]
                window = tuple(slice(s, s + size) for s, size in zip(start, patch, strict=True))
                np.testing.assert_array_equal(read_patch(volume, start, patch, pad), padded[(slice(None), *window)])


@pytest.mark.parametrize(("shape", "patch"), [((9, 40), (16, 16)), ((12, 20, 40), (16, 16, 16))])
@pytest.mark.parametrize("margin", [0, 3])
def test_every_voxel_of_a_patch_comes_from_the_volume_or_is_zero(shape, patch, margin):
    """Image and label hold their own position, so that where a patch comes from can be read off it."""
    numbers = np.arange(1, np.prod(shape) + 1, dtype=np.float32).reshape(shape)
    source = MemorySource({"a": numbers[None]}, {"a": (numbers % 251).astype(np.uint8)})
    items = stream(source, ["a"], ["a"], patch, margin=margin)
    starts = set()
    for step in range(30):
        batch = items.batch(step)
        assert batch.labelled.shape == (2, 1, *patch)
        inside = batch.labelled[:, 0] > 0
        assert inside.any()
        assert torch.equal(batch.labels, torch.where(inside, batch.labelled[:, 0].long() % 251, 0))
        starts.add(float(batch.labelled.max()))
    assert len(starts) > 5, "patches come from many places"


@settings(max_examples=60)
@given(data=st.data(), dims=st.sampled_from([2, 3]), margin=st.integers(0, 4), foreground=st.sampled_from([0.0, 1.0]))
def test_any_patch_of_any_scan_is_a_piece_of_it(data, dims, margin, foreground):
    """Scans smaller and larger than the patch: the patch's part inside the scan is contiguous, the rest is zero."""
    sizes = st.tuples(*[st.integers(1, 9)] * dims)
    shape, patch = data.draw(sizes), data.draw(sizes)
    numbers = np.arange(1, np.prod(shape) + 1, dtype=np.float32).reshape(shape)
    label = np.zeros(shape, np.uint8)
    label[tuple(data.draw(st.integers(0, side - 1)) for side in shape)] = 1
    items = stream(
        MemorySource({"a": numbers[None]}, {"a": label}), ["a"], (), patch, margin=margin, foreground=foreground
    )
    batch = items.batch(data.draw(st.integers(0, 1000)))
    assert batch.labelled.shape == (2, 1, *patch)
    for image, mask in zip(batch.labelled[:, 0].numpy(), batch.labels.numpy(), strict=True):
        inside = np.argwhere(image > 0)
        assert len(inside) or not foreground, "a patch around a voxel of the scan holds it"
        for place in inside:
            origin = np.unravel_index(int(image[tuple(place)]) - 1, shape)
            assert all((np.argwhere(image == numbers[origin])[0] == place).tolist())
            assert mask[tuple(place)] == label[origin]
        if len(inside):
            low, high = inside.min(0), inside.max(0) + 1
            first = np.unravel_index(int(image[tuple(low)]) - 1, shape)
            piece = tuple(slice(f, f + n) for f, n in zip(first, high - low, strict=True))
            np.testing.assert_array_equal(image[tuple(map(slice, low, high))], numbers[piece])
        assert mask.sum() == 1 or not foreground


@settings(max_examples=40)
@given(
    seed=st.integers(0, 2**32),
    count=st.integers(1, 9),
    batch=st.integers(1, 4),
    world=st.integers(1, 4),
    step=st.integers(0, 500),
)
def test_any_number_of_processes_share_one_large_batch(seed, count, batch, world, step):
    """What is drawn depends on the whole batch alone, however many processes take their shares of it."""
    cases = tuple(f"case_{n}" for n in range(count))
    source = MemorySource({case: np.full((1, 4, 4), n, np.float32) for n, case in enumerate(cases)})
    source.labels = {case: np.zeros((4, 4), np.uint8) for case in cases}

    def drawn(size, rank=0, world=1):
        taken = stream(
            source, cases, cases, (4, 4), seed=seed, rank=rank, world=world, labelled=size, unlabelled=size, margin=0
        )
        return [part[:, 0, 0, 0] for part in (taken.batch(step).labelled, taken.batch(step).unlabelled)]

    shares = [drawn(batch, rank, world) for rank in range(world)]
    for whole, *parts in zip(drawn(batch * world), *shares, strict=True):
        assert torch.equal(whole, torch.cat(parts))
    if count >= batch * world:
        assert len(set(drawn(batch * world)[0].tolist())) == batch * world, "no case twice in a batch"


@pytest.mark.parametrize(
    "changes", [{}, {"intensity": 1.0}, {"rotate_degrees": 20.0}], ids=["turns", "intensity", "rotation"]
)
@pytest.mark.parametrize("shape", [(24, 20, 22), (12, 20, 22)], ids=["inside", "padded"])
def test_coded_volumes_give_the_same_batches_bit_for_bit(shape, changes):
    """Also a scan that is one grey all over, and whatever part of its volume a patch is a view of."""
    whole = {"case_0": np.rint(blobs(shape)[0]), "case_1": np.full((1, *shape), 0.3, np.float32)}
    labels = {name: (image[0] > 100).astype(np.uint8) for name, image in whole.items()}
    coded = {name: Coded(*encode(image)) for name, image in whole.items()}
    first, second = (
        BatchStream(
            MemorySource(images, labels),
            Streams(list(whole), list(whole), 0),
            (16, 16, 16),
            SamplingConfig(),
            AugmentConfig(**changes),
            channels=1,
            strong=True,
        )
        for images in (whole, coded)
    )
    for step in range(4):
        one, other = first.batch(step), second.batch(step)
        assert same(one, other)
        assert torch.equal(one.unlabelled_strong, other.unlabelled_strong)
        tensors = (one.labelled, one.labels, one.unlabelled, one.unlabelled_strong)
        assert all(tensor.is_contiguous() for tensor in tensors), "whatever turned the patch"


class Touched:
    """An array that remembers how many values were read from it."""

    def __init__(self, array):
        self.array, self.read = array, 0
        self.shape, self.ndim, self.dtype = array.shape, array.ndim, array.dtype

    def __getitem__(self, index):
        part = self.array[index]
        self.read += part.size
        return part

    def __array__(self, *args, **kwargs):
        raise AssertionError("the whole volume was loaded")


def test_a_patch_reads_its_own_voxels_only():
    scan = MemorySource.blobs([(64, 64, 64)])
    source = MemorySource({"a": Touched(scan.images["case_0"])}, {"a": Touched(scan.labels["case_0"])})
    stream(source, ["a"], ["a"], (16, 16, 16)).batch(0)
    assert source.images["a"].read == 4 * 16**3
    assert source.labels["a"].read == 2 * 16**3


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_the_foreground_share_is_honoured_and_classes_have_equal_chances(share):
    label = np.zeros((64, 64), np.uint8)
    label[20:40, 20:40], label[50, 12] = 1, 2  # one class of 400 voxels, one of a single voxel
    items = stream(MemorySource({"a": np.zeros((1, 64, 64), np.float32)}, {"a": label}), ["a"], foreground=share)
    centres = [int(patch[8, 8]) for step in range(300) for patch in items.batch(step).labels]
    found = [centres.count(value) / len(centres) for value in (1, 2)]
    by_chance = (1 - share) * 400 / 49**2  # of a free patch's centre; the single voxel is next to nothing
    assert found[1] == pytest.approx(share / 2, abs=0.06)
    assert found[0] == pytest.approx(share / 2 + by_chance, abs=0.07)


def test_a_foreground_voxel_at_the_border_keeps_the_patch_inside():
    label = np.zeros((40, 40), np.uint8)
    label[0, 39] = 1
    items = stream(MemorySource({"a": np.ones((1, 40, 40), np.float32)}, {"a": label}), ["a"], foreground=1.0)
    batch = items.batch(0)
    assert batch.labels[:, 0, 15].tolist() == [1, 1]
    assert (batch.labelled == 1).all()


def test_a_foreground_voxel_of_a_padded_volume_is_centred():
    label = np.zeros((16, 16), np.uint8)
    label[2, 13] = 1
    source = MemorySource({"a": np.ones((1, 16, 16), np.float32)}, {"a": label})
    assert (stream(source, ["a"], foreground=1.0, margin=8).batch(0).labels[:, 8, 8] == 1).all()


def test_a_case_without_foreground_is_sampled_anywhere():
    source = MemorySource({"a": np.ones((1, 40, 40), np.float32)}, {"a": np.zeros((40, 40), np.uint8)})
    assert (stream(source, ["a"], foreground=1.0).batch(0).labelled == 1).all()


@pytest.mark.parametrize("workers", [0, 1])
def test_a_broken_case_is_named_whatever_the_workers(workers):
    class Broken(MemorySource):
        def image(self, case):
            raise DataError(f"{case}.nii.gz: cannot be read")

    with pytest.raises(DataError, match=r"case_0\.nii\.gz: cannot be read"):
        list(batches(stream(Broken({}), ["case_0"]), 0, 3, workers))


def test_strong_views_share_the_geometry():
    source = MemorySource.blobs([(40, 36)])
    items = BatchStream(
        source, Streams(["case_0"], ["case_0"], 0), (16, 16), SamplingConfig(), AugmentConfig(), channels=1, strong=True
    )
    batch = items.batch(0)
    assert batch.unlabelled_strong.shape == batch.unlabelled.shape
    assert batch.unlabelled_strong.dtype == torch.float32
    assert not torch.equal(batch.unlabelled_strong, batch.unlabelled)
    pairs = zip(batch.unlabelled.flatten(1).numpy(), batch.unlabelled_strong.flatten(1).numpy(), strict=True)
    assert all(np.corrcoef(weak, strong)[0, 1] > 0.8 for weak, strong in pairs)


class Slow(torch.utils.data.Dataset):
    """Items that take longer than a signal to arrive."""

    def __getitem__(self, index):
        time.sleep(0.2)
        return index


def test_a_dead_loader_is_explained_where_torch_missed_the_signal():
    """Torch learns of it by the system's signal or by looking; only the signal tells it the cause."""
    others = multiprocessing.active_children()
    loaded = batches(Slow(), 0, 50, 1)
    next(loaded)
    [worker] = (child for child in multiprocessing.active_children() if child not in others)
    handler = signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    try:
        os.kill(worker.pid, signal.SIGKILL)
        said = "killed by signal: Killed .most likely the system had no memory left"
        with pytest.raises(RunError, match=said), explained_loaders():
            list(loaded)
    finally:
        signal.signal(signal.SIGCHLD, handler)


def test_distance_maps_belong_to_the_patches_as_they_are_turned(source):
    made = stream(source, ["case_0", "case_1"], augment=AugmentConfig())
    made.distances = 2
    plain = stream(source, ["case_0", "case_1"], augment=AugmentConfig())
    for step in range(3):
        batch = made.batch(step)
        wanted = np.stack([signed_distances(label, 2) for label in batch.labels.numpy()])
        assert same(batch, plain.batch(step)) and plain.batch(step).distances is None
        np.testing.assert_array_equal(batch.distances.numpy(), wanted)

"""The files of the public data sets: valid, complete, and with the published cases."""

import hashlib
import re

import pytest

from fewmask.config import load_experiment, merge, validate
from fewmask.data.protocols import PublicDataset, find_protocol, find_public, public_names
from fewmask.data.protocols.shelf import FOLDER, protocol_settings, read_list
from fewmask.data.protocols.shortcuts import SENTENCES, stamp, taken
from fewmask.errors import ConfigError
from fewmask.recipes import recipe_names, recipe_path

PROTOCOLS = [f"{name}/{protocol}" for name in public_names() for protocol in find_public(name).protocols]
RECIPES = [name for name in recipe_names() if name.split("/")[0] in public_names()]

# MD5 of the published files, one id a line
PUBLISHED = {
    "la-train": "ded9b3bf69cd44ddeda212e30a9f5b00",
    "la-test": "c8b450d0ab549f4c1e8bcecec45f0209",
    "brats2019-train": "e7646d07c8729e5ac2fd7d5246e64ccb",
    "brats2019-validation": "d6704e4a06035e65726e05f91858ecc6",
    "brats2019-test": "2508210cf92644b309c4c99301d3e957",
}
COUNTS = {
    "acdc-train": 70,
    "acdc-validation": 10,
    "acdc-test": 20,
    "pancreas-ct-mcf-train": 62,
    "pancreas-ct-mcf-test": 20,
    "pancreas-ct-mc-net-train": 62,
    "pancreas-ct-mc-net-test": 20,
    "pancreas-ct-upcol-train": 62,
    "pancreas-ct-upcol-test": 18,
    "busi-train": 517,
    "busi-test": 130,
    "polyp-test": 222,
}


def test_every_data_set_of_the_papers_is_there():
    names = "la pancreas-ct brats2019 acdc glas ph2 hmeps polyp isic2018 bcss busi"
    assert set(names.split()) == set(public_names())


@pytest.mark.parametrize("name", PROTOCOLS)
def test_protocol_is_a_config(name):
    experiment = load_experiment(changes=protocol_settings(name))
    known, protocol = find_protocol(name)
    assert protocol.about and protocol.labelled and protocol.lists in known.lists
    sizes = (experiment.sampling.patch_size, experiment.inference.stride)
    dims = 2 if known.name == "acdc" else known.dims  # the papers train on its slices
    assert all(len(size) == dims for size in sizes)


@pytest.mark.parametrize("name", public_names())
def test_honest_protocol_takes_no_shortcut(name):
    known, honest = find_protocol(f"{name}/honest")
    lists = known.lists[honest.lists]
    assert honest.shortcuts == lists.shortcuts == () and not isinstance(honest.validation, str)
    assert known.dims == 2 or load_experiment(changes=known.settings_of(honest)).evaluation.unit == "mm"


@pytest.mark.parametrize("name", PROTOCOLS)
def test_what_is_said_of_a_paper_is_not_said_of_our_runs_alone(name):
    """`differs` stands under the runs that follow a protocol; what is true of the published figures stands beside all runs."""
    protocol = find_protocol(name)[1]
    assert not [sentence for sentence in protocol.differs if "paper" in sentence]
    assert protocol.notes == (*protocol.published, *protocol.differs)


def broken(**changes):
    values = find_public("la").model_dump(mode="json")
    return merge(values, changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"protocols": {"paper": {"shortcuts": ["voxel-units"]}}}, "reference-crop must be among"),
        ({"protocols": {"paper": {"shortcuts": ["reference-crop"]}}}, "voxel-units must be among"),
        ({"protocols": {"paper": {"selection": "best-on-test"}}}, "best-on-test must be among"),
        ({"protocols": {"paper": {"validation": "lists"}}}, "extra-validation must be among"),
        ({"protocols": {"paper": {"metrics": ["hausdorff"]}}}, "no metric hausdorff"),
        ({"protocols": {"paper": {"lists": "mine"}}}, "no lists 'mine'"),
        ({"protocols": {"honest": {"settings": {"evaluation": {"unit": "voxel"}}}}}, "voxel-units must be among"),
        ({"lists": {"ua-mt": {"shortcuts": ["shared-origin"]}}}, "honest protocol takes no shortcut"),
        ({"settings": {"sampling": {"pach_size": [1]}}}, "did you mean 'patch_size'"),
    ],
)
def test_a_file_that_hides_a_shortcut_is_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        validate(PublicDataset, broken(**changes), "la")
    validate(PublicDataset, broken(), "la")


@pytest.mark.parametrize("name", sorted(path.stem for path in (FOLDER / "lists").glob("*.txt")))
def test_lists_are_the_published_ones(name):
    text = (FOLDER / "lists" / f"{name}.txt").read_bytes()
    names = read_list(name)
    assert len(set(names)) == len(names)
    if name in PUBLISHED:
        assert hashlib.md5(text).hexdigest() == PUBLISHED[name]
    else:
        assert len(names) == COUNTS[name]


@pytest.mark.parametrize("name", public_names())
def test_parts_of_lists_do_not_overlap_and_files_exist(name):
    for lists in find_public(name).lists.values():
        files = [part for part in (lists.train, lists.validation, lists.test) if isinstance(part, str)]
        cases = [case for part in files if part != "imagesTs" for case in read_list(part)]
        assert len(set(cases)) == len(cases)


def test_the_first_published_cases():
    assert read_list("brats2019-train")[:3] == ["BraTS19_TCIA02_370_1", "BraTS19_CBICA_ASA_1", "BraTS19_TCIA12_470_1"]
    assert read_list("brats2019-train")[24] == "BraTS19_TCIA01_131_1"
    assert read_list("brats2019-train")[49] == "BraTS19_CBICA_AVV_1"
    assert read_list("acdc-train")[:3] == ["patient099", "patient038", "patient050"]
    assert sorted(read_list("pancreas-ct-mc-net-train") + read_list("pancreas-ct-mc-net-test")) == sorted(
        read_list("pancreas-ct-mcf-train") + read_list("pancreas-ct-mcf-test")
    )
    benign = [name for name in read_list("busi-train") + read_list("busi-test") if name.startswith("benign")]
    assert len(benign) == 437
    sources = [name.split("_")[0] for name in read_list("polyp-test")]
    assert {source: sources.count(source) for source in sources} == {"kvasir": 100, "clinicdb": 62, "cvc300": 60}


@pytest.mark.parametrize("recipe", RECIPES)
def test_recipe_keeps_to_its_protocol(recipe):
    """The protocol is the data set's ``paper``, unless a comment names another, or none for a setting of our own."""
    text = recipe_path(recipe).read_text(encoding="utf-8")
    named = re.search(r"^# Protocol: ([\w/-]+)", text, re.MULTILINE)
    protocol = named[1] if named else f"{recipe.split('/')[0]}/paper"
    if protocol == "none":
        return
    experiment = load_experiment(recipe_path(recipe))
    with_protocol = load_experiment(recipe_path(recipe), protocol_settings(protocol))
    assert experiment == with_protocol


def test_unknown_names_are_told_with_the_nearest():
    with pytest.raises(ConfigError, match="no public data set 'lla': did you mean 'la'"):
        find_protocol("lla/paper")
    with pytest.raises(ConfigError, match="no protocol 'la/papr': did you mean 'la/paper'"):
        find_protocol("la/papr")
    with pytest.raises(ConfigError, match="no protocol 'la'"):
        find_protocol("la")


def test_what_is_never_done_is_not_stamped():
    assert taken(["voxel-units", "best-on-test", "reference-crop"]) == ("reference-crop", "voxel-units")
    assert stamp([]) is None
    assert stamp(["voxel-units", "future"]) == f"shortcuts taken: {SENTENCES['voxel-units']}; future"


@pytest.mark.parametrize("name", public_names())
def test_every_data_set_has_recipes_of_the_plain_methods(name):
    assert {f"{name}/{method}" for method in ("supervised", "mean-teacher", "ua-mt", "cps")} <= set(recipe_names())

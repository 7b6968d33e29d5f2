"""Broken settings, recipes and options: exit code 2, whatever the verb."""

from corpus.faults import at, folder, nothing, written
from corpus.harness import TRAIN, Case, each

BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


def option(name, words, where, remedy):
    """Words on the command line that cannot be meant."""
    return Case(name, nothing, f"{TRAIN} {words}", where, remedy, code=2)


def recipe(name, content, remedy):
    """A YAML file of the user's own."""
    return Case(name, at("my.yaml", written(content)), f"{TRAIN} --recipe my.yaml", "my.yaml", remedy, code=2)


# fmt: off
OPTIONS = [
    option("a typo in a key", "--set train.iteratons=5", "train.iteratons", "did you mean 'iterations'?"),
    option("a typo in a section", "--set tran.lr=1", "tran", "did you mean 'train'?"),
    option("a typo in a method's setting", "--method ua-mt --set method.pases=3", "pases", "did you mean 'passes'"),
    option("a setting of another method", "--set method.passes=3", "passes", "valid:"),
    option("no value", "--set train.lr", "train.lr", "write KEY=VALUE"),
    option("no key", "--set =5", "=5", "write KEY=VALUE"),
    option("a section as a value", "--set train=5", "train", "dictionary"),
    option("a key below a value", "--set train.lr.x=5", "train.lr", "number"),
    option("an empty part of a key", "--set train..lr=5", "train", "unknown key"),
    option("half a list", "--set sampling.patch_size=[16,16", "[16,16", "not valid YAML"),
    option("a tag that builds an object", "--set 'train.lr=!!python/object/apply:os.abort []'", "train.lr", "not valid YAML"),
    option("10 000 open brackets", f"--set train.lr={'[' * 10_000}", "train.lr", "not valid YAML"),
    option("a learning rate of 0", "--set train.lr=0", "train.lr", "greater than 0"),
    option("a learning rate of NaN", "--set train.lr=.nan", "train.lr", "finite number"),
    option("a learning rate without end", "--set train.lr=1e999", "train.lr", "finite number"),
    option("a momentum of 1", "--set train.momentum=1", "train.momentum", "less than 1"),
    option("no iteration", "--set train.iterations=0", "train.iterations", "greater than or equal to 1"),
    option("half an iteration", "--set train.iterations=1.5", "train.iterations", "integer"),
    option("a seed of 2^32", "--seed 4294967296", "train.seed", "less than 4294967296"),
    option("an unknown optimiser", "--set train.optimiser=sdg", "train.optimiser", "'sgd', 'adam' or 'adamw'"),
    option("a window from high to low", "--set preprocess.normalisation=window --set preprocess.window=[9,1]", "preprocess", "[lowest, highest]"),
    option("a spacing for two axes", "--set preprocess.spacing=[1,1]", "preprocess.spacing", "3 positive numbers"),
    option("a spacing of 0", "--set preprocess.spacing=[1,1,0]", "preprocess.spacing", "3 positive numbers"),
    option("a size and a spacing", "--set preprocess.size=[9,9,9] --set preprocess.spacing=median", "preprocess", "not both"),
    option("a patch of two axes", "--set sampling.patch_size=[16,16]", "sampling.patch_size", "give 3"),
    option("a patch off the networks' grid", "--set sampling.patch_size=[20,16,16]", "sampling.patch_size", "nearest: [16, 16, 16]"),
    option("a patch of no voxels", "--set sampling.patch_size=[0,16,16]", "sampling.patch_size", "multiple of 16"),
    option("a stride beyond the patch", "--set inference.stride=[99,9,9] --set sampling.patch_size=[16,16,16]", "inference.stride", "from 1 to"),
    option("an unknown method", "--method cpss", "cpss", "did you mean 'cps'?"),
    option("a method's name that is a number", "--set method.name=7", "method.name", "string"),
    option("an unknown network", "--set network.name=unet", "unet", "did you mean"),
    option("a network of the wrong dimensions", "--set network.name=unet-2d", "UNet2D", "set network.name"),
    option("an unknown recipe", "--recipe la/uamt", "la/uamt", "did you mean 'la/ua-mt'"),
    option("a recipe that is not there", "--recipe absent.yaml", "absent.yaml", "give a YAML file"),
    option("a split and a budget", "--split a --labelled 2", "--split", "not both"),
    option("a budget in words", "--labelled many", "--labelled 'many'", "give a number of cases"),
    option("a budget of 0", "--labelled 0", "labelled is 0", "give a number of cases"),
    option("a budget of 150 %", "--labelled 150%", "--labelled '150%'", "or a share such as"),
    option("a budget of NaN", "--labelled nan", "--labelled 'nan'", "give a number of cases"),
    Case("a budget of 10^30", nothing, f"{TRAIN} --labelled {10**30}", "heart", "ask for fewer"),
    option("fp16 without a GPU", "--set train.precision=fp16 --set train.accelerator=cpu", "train.precision", "use fp32"),
    Case("a network of 10^9 channels", nothing, f"{TRAIN} --set network.width={10**9}", "network.width", "use a smaller"),
    option("more devices than there are", "--set train.devices=10000 --set train.accelerator=cpu", "train.devices", "at most"),
    Case("no output", nothing, "train heart", "--output", "runs/first", code=2),
    Case("an unknown device", nothing, "predict runs/heart heart/imagesTs out --device quantum", "quantum", "cpu or cuda", 2),
    Case("an unknown ending", nothing, "export runs/heart model.onnx", "model.onnx", "use the ending .pt2", 2),
    Case("a negative tolerance", nothing, "evaluate runs/heart/predictions heart/labelsTs --nsd -1", "the surface Dice tolerance", "0 or more", 2),
    Case("a tolerance of NaN", nothing, "evaluate runs/heart/predictions heart/labelsTs --nsd nan", "the surface Dice tolerance", "0 or more", 2),
    Case("half a regular expression", nothing, "split heart --patients (", "patients '('", "try '(.+)_scan'", 2),
]
RECIPES = [
    recipe("half a YAML file", "train: {lr: 0.1", "is not valid YAML"),
    recipe("a list", "- train\n", "must hold 'key: value' pairs"),
    recipe("a number", "7", "must hold 'key: value' pairs"),
    recipe("binary noise", bytes(range(256)), "is not valid YAML"),
    recipe("a tab for indentation", "train:\n\tlr: 0.1\n", "is not valid YAML"),
    recipe("one section twice", "train: {lr: 0.1}\ntrain: {iterations: 9}\n", "twice"),
    recipe("one setting twice", "train:\n  lr: 0.1\n  lr: 0.2\n", "twice"),
    recipe("a day that no month has", "train: {lr: 2024-13-45}\n", "is not valid YAML"),
    recipe("a key that is a number", "1: 2\n", "Keys should be strings"),
    recipe("a key that is a list", "? [a, b]\n: 2\n", "is not valid YAML"),
    recipe("a section that is empty", "augment:\n", "augment: Input should be a valid dictionary"),
    recipe("a typo", "train: {learning_rate: 0.1}\n", "unknown key 'train.learning_rate'"),
    recipe("a file with a tag that builds an object", "train: !!python/object/apply:os.abort []\n", "is not valid YAML"),
    recipe("a YAML bomb", BOMB, "write the value out"),
    recipe("a mapping within itself", "train: &t {lr: *t}\n", "write the value out"),
    recipe("10 000 open brackets in a file", "[" * 10_000, "is not valid YAML"),
    Case("a folder as a recipe", at("my.yaml", folder), f"{TRAIN} --recipe my.yaml", "my.yaml", "give a YAML file", 2),
]
# fmt: on


@each(OPTIONS + RECIPES)
def test_refused(case, refused):
    refused(case)

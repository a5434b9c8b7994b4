"""Budgets of a launch on the modelled GPU, derived from the shapes and the number format of its tensors and from the
tile of its kernel. tools/check-speed compares them with what the simulated GPU counts.

A row is one of `pixtape profile --json`, or a part of one whose launches do the work of two kernels: launches of one
kernel in one layer. Numbers of a row are of all of its launches together, but for `blocks`.
"""

import math
import re
import tomllib
from dataclasses import dataclass, replace
from pathlib import Path

MODEL = tomllib.loads((Path(__file__).resolve().parent.parent / "src/profile/gpu.toml").read_text())
MULTIPROCESSORS = MODEL["multiprocessors"]["value"]
SECTOR = 32

# The plain kernels: oracles of the faster ones, and what runs where no other one can. They have no budgets; no step of
# a recipe may need one.
PLAIN = re.compile(r"conv_(fprop|dgrad|wgrad)_(any|4x4s2)|norm_act_(forward|grad)|bias_grad|adam_update")

# By recipe, the largest modelled time of a step in microseconds, 2 to 3 % above what it has, and the most launches.
STEP_US = {"pytorch-gan": 2150, "block-ck": 2760, "isola": 2960}
LAUNCHES = {"pytorch-gan": 90, "block-ck": 139, "isola": 108}

# Kernels that only copy or fill. No step of a recipe may need one either.
COPIES = re.compile(r"copy|fill|fill_bf16")

# Counts may exceed what was derived by this much: borders of tiles and pictures, biases, statistics of channels.
SLACK = 1.1
# The same for shares that may fall short.
SHORT = 0.9

# These three, and the shares `useful` of the tiles below, follow from no shape: they hold kernels to about what those
# had on 2026-11-29.
#
# Instructions of a warp for a parameter of each thread that is updated behind its gradient.
ADAM_SLOTS = 20
# The least share of issue slots that are useful multiply-adds, of kernels without a tile.
LEAST_USEFUL = 0.4
# Instructions of a warp that a kernel without products may issue for a sector of its tensors.
STREAM_SLOTS = 7.5
# Launches that move less than this are ready before their grid, and instructions that are no products, matter: about a
# microsecond of all multiprocessors.
SMALL_BYTES = 2e6


@dataclass
class Tile:
    """The tile of a convolution kernel: how its work is padded and how often it reads its inputs."""

    kernel: str
    # Multiply-adds of the tile for one step of the sum, and the floats that it brings for them.
    products: int
    floats: int
    # Padded lengths: (which tensor, dimension, multiple). The output is the first tensor that a launch writes; `a` and
    # `b` are the first two that it reads.
    padding: tuple
    # The least share of issue slots that are useful multiply-adds, padding aside: of the patch kernels' inner loops it
    # is 0.81 to 0.93, of short sums less, whose loads, exchange of sums and stores weigh more.
    useful: float
    # dgrad of stride 2 works on the pixels of one parity.
    parity: bool = False


def patch(kernel, taps, stride, depth, parity=False, side=8):
    """A tile of conv_patch.cuh: a square of pixels of the output by 64 of its channels; `depth` input channels at a
    time."""
    patch_side = (side - 1) * stride + taps
    products, floats = taps * taps * side * side * 64, patch_side * patch_side + taps * taps * 64
    padding = (("out", 1, side), ("out", 2, side), ("out", 3, 64), ("a", 3, depth))
    return Tile(kernel, products, floats, padding, 0.72 if side == 8 else 0.5, parity)


def wgrad_patch(kernel, stride, outputs):
    """A tile of conv_wgrad_patch.cuh: 4x4 taps of 16 by `outputs` channels; 8x8 pixels of dy (a) and their x (b) at a
    time."""
    side = 7 * stride + 4
    products, floats = 64 * 16 * 16 * outputs, side * side * 16 + 64 * outputs
    return Tile(kernel, products, floats, (("a", 1, 8), ("a", 2, 8), ("b", 3, 16), ("a", 3, outputs)), 0.76)


def narrow(kernel, outputs):
    """A tile of conv_narrow.cu: 8x16 pixels of the output by all of its channels, with 3x3 taps."""
    products, floats = 9 * 128 * outputs, 10 * 18 + 9 * outputs
    return Tile(kernel, products, floats, (("out", 1, 8), ("out", 2, 16), ("out", 3, outputs)), 0.72)


def dgrad_few(kernel, outputs):
    """A tile of conv_dgrad_few.cu: 16x16 pixels of dx by all of its channels, which meet 10x10 pixels of dy."""
    products, floats = 4 * 256 * outputs, 100 + 16 * outputs
    return Tile(kernel, products, floats, (("out", 1, 16), ("out", 2, 16), ("out", 3, outputs)), 0.5)


# By the kernel's name. conv_few.cu has the tile of conv_patch.cuh, but few input channels: a sum is short, and issue
# slots go to its beginning and end.
TILES = [
    patch("conv_fprop_patch_4x4s2", 4, 2, 8),
    patch("conv_fprop_patch_4x4s2_small", 4, 2, 8, side=4),
    patch("conv_fprop_patch_4x4s1", 4, 1, 8),
    patch("conv_dgrad_patch_4x4s2", 2, 1, 32, parity=True),
    patch("conv_dgrad_patch_4x4s2_small", 2, 1, 32, parity=True, side=4),
    patch("conv_dgrad_patch_4x4s1", 4, 1, 8),
    patch("conv_dgrad_patch_3x3s1", 3, 1, 16),
    wgrad_patch("conv_wgrad(_adam)?_patch_4x4s2_32", 2, 32),
    wgrad_patch("conv_wgrad(_adam)?_patch_4x4s2_64", 2, 64),
    wgrad_patch("conv_wgrad(_adam)?_patch_4x4s1_32", 1, 32),
    wgrad_patch("conv_wgrad(_adam)?_patch_4x4s1_64", 1, 64),
    narrow("conv_fprop_narrow_4", 4),
    narrow("conv_fprop_narrow_8", 8),
    narrow("conv_fprop_narrow_12", 12),
    narrow("conv_fprop_narrow_16", 16),
    dgrad_few("conv_dgrad_few_4", 4),
    dgrad_few("conv_dgrad_few_8", 8),
    replace(patch("conv_fprop_few", 4, 2, 1), useful=0.4),
]


@dataclass
class Waiver:
    """A budget that a kernel does not hold, the limit that it has instead, and the reason."""

    kernel: str
    layer: str
    budget: str
    limit: float
    reason: str

    def covers(self, row, budget):
        names = [(self.budget, budget), (self.kernel, row["kernel"]), (self.layer, row["layer"])]
        return all(re.fullmatch(pattern, name) for pattern, name in names)


@dataclass
class Budget:
    """A bound on a count of a launch: at most `limit`, or at least, if `least`."""

    name: str
    found: float
    limit: float
    # The line of source that leaves the budget, as file and line; empty where the whole grid does.
    line: str = ""
    least: bool = False

    def holds(self):
        # So written that a count that is no number fails.
        return self.found >= self.limit if self.least else self.found <= self.limit

    def text(self):
        return f"{self.name} {self.found:.3g}, {'at least' if self.least else 'at most'} {self.limit:.3g}"


def elements(operand):
    return math.prod(operand["shape"])


def size(operand):
    """Bytes of a tensor."""
    return elements(operand) * operand["element"]


def sector_share(operand):
    """The share of the sectors of a tensor's pixels that are the tensor's: less than 1 in a narrow channel slice."""
    channels, stride = operand["shape"][3] * operand["element"], operand["stride"] * operand["element"]
    if stride == channels:
        return 1.0
    # Pixels that are narrower than a sector share it with their neighbours.
    touched = stride if stride <= SECTOR else SECTOR * math.ceil(channels / SECTOR)
    return channels / touched


def moved(operand):
    """Bytes of the sectors of a tensor that a launch moves if it moves each once. It reads and writes what it updates,
    and what blocks exchange: sums that lie in a row, of which no other launch knows."""
    twice = operand["access"] == "update" or (operand["access"] == "write" and operand["shape"][:3] == [1, 1, 1])
    return size(operand) / sector_share(operand) * (2 if twice else 1)


def traffic(row, operand):
    """As moved. Activations of fewer images than the result's are read again for the images behind."""
    images = next(o["shape"][0] for o in row["operands"] if o["access"] != "read")
    is_gradient = row["kernel"].startswith("norm_act_grad") and operand["access"] == "read"
    has_images = operand["shape"][:3] != [1, 1, 1]
    return moved(operand) * (images / operand["shape"][0] if is_gradient and has_images else 1)


def epilogue(row):
    """The tensors that the epilogue of a convolution reads: they stand behind its result."""
    result = next(i for i, operand in enumerate(row["operands"]) if operand["access"] != "read")
    return [operand for operand in row["operands"][result:] if operand["access"] == "read"]


def tile_of(row):
    return next((tile for tile in TILES if re.fullmatch(tile.kernel, row["kernel"])), None)


def filled(row, tile):
    """The share of a tile's products that are not padding."""
    reads = [operand for operand in row["operands"] if operand["access"] == "read"]
    writes = [operand for operand in row["operands"] if operand["access"] != "read"]
    tensors = {"a": reads[0], "b": reads[1], "out": writes[0]}
    share = 1.0
    for name, dimension, multiple in tile.padding:
        length = tensors[name]["shape"][dimension]
        if tile.parity and dimension in (1, 2):
            length //= 2
        share *= length / (math.ceil(length / multiple) * multiple)
    return share


def worst(row, excess):
    """The line of source with the largest excess."""
    return max(row["lines"], key=excess)["line"] if row["lines"] else ""


def budgets(row):
    """The budgets of a row."""
    operands, launches = row["operands"], row["launches"]
    tile = tile_of(row)
    bytes_once = launches * sum(traffic(row, operand) for operand in operands)
    found = []
    if row["coalesced"] is not None:
        share = sum(size(operand) for operand in operands) / sum(size(o) / sector_share(o) for o in operands)
        line = worst(row, lambda line: line["sectors"] - line["least_sectors"])
        found.append(Budget("coalesced", row["coalesced"], SHORT * share, line, least=True))
    if row["shared_excess"] is not None:
        line = worst(row, lambda line: line["wavefronts"] - line["least_wavefronts"])
        found.append(Budget("shared_excess", row["shared_excess"], SLACK, line))
    least = bytes_once
    if tile:
        # Inputs come once for each tile; what is written, and the sums that blocks share, as they are.
        inputs = row["flop"] / 2 / filled(row, tile) * tile.floats / tile.products * operands[0]["element"]
        written = launches * sum(moved(operand) for operand in operands if operand["access"] != "read")
        least = inputs + written + launches * sum(map(moved, epilogue(row)))
    found.append(Budget("l2_excess", row["l2_bytes"] / least, SLACK, worst(row, lambda line: line["l2_sectors"])))
    if bytes_once >= SMALL_BYTES * launches:
        rounds = math.ceil(row["blocks"] / MULTIPROCESSORS)
        found.append(Budget("waves", row["blocks"] / (rounds * MULTIPROCESSORS), SHORT, least=True))
    line = worst(row, lambda line: line["requests"])
    if tile:
        found.append(Budget("padding", filled(row, tile), SHORT, least=True))
    if row["flop"]:
        updated = sum(elements(o) for o in operands if o["access"] == "update" and o["shape"][:3] != [1, 1, 1]) / 3
        products = row["issue_slots"] - launches * updated / 32 * ADAM_SLOTS
        useful = row["flop"] / 64 / products / (filled(row, tile) if tile else 1)
        found.append(Budget("useful_slots", useful, tile.useful if tile else LEAST_USEFUL, line, least=True))
    elif bytes_once >= SMALL_BYTES * launches:
        found.append(Budget("slots_per_sector", row["issue_slots"] / (bytes_once / SECTOR), STREAM_SLOTS, line))
    return found


SMALL = r"generator\.(down[678]|up[123])"
ANY = ".*"

# The budgets that are not held, each with what holds instead. One that batch 1 does not need any more fails the check.
WAIVERS = [
    Waiver(
        "norm_act(_grad)?_held_.*",
        ANY,
        "waves",
        0.12,
        "a block has all pixels of its channels, so that one launch does what full grids need two for",
    ),
    Waiver(
        "norm_act_grad_held_4096",
        ANY,
        "l2_excess",
        1.35,
        "the input of 4096 pixels does not fit in shared memory beside its gradient, and is read twice",
    ),
    Waiver(
        "conv_dgrad_few_4",
        r"discriminator\.conv1",
        "coalesced",
        0.69,
        "the weights of three of six input channels: half of each sector is of the others",
    ),
    Waiver("conv_dgrad_few_4", r"discriminator\.conv1", "l2_excess", 1.16, "as above"),
    Waiver(
        "conv_(fprop|dgrad)_patch_4x4s2_small",
        SMALL,
        "padding",
        1 / 16,
        "images of 2x2 pixels and of one in tiles of 4x4: they are weights to be read, and hardly any products",
    ),
    Waiver(
        "conv_wgrad_adam_patch_4x4s2_64",
        SMALL,
        "padding",
        1 / 64,
        "images of 4x4 pixels and less in tiles of 8x8: reading and writing weights and moments takes longer",
    ),
    Waiver("conv_fprop_dot", ANY, "l2_excess", 7.1, "a pixel is read for each tap, of a small map"),
    Waiver("conv_fprop_dot", ANY, "useful_slots", 0.3, "a warp adds up its lanes for each output"),
    Waiver("conv_fprop_dot", ANY, "waves", 0.85, "a map of 30x30 is 113 blocks"),
    Waiver("conv_(dgrad|wgrad_adam)_dot", ANY, "l2_excess", 3, "the weights of all taps and the sums of all blocks"),
    Waiver(
        "conv_(dgrad|wgrad_adam)_dot",
        ANY,
        "useful_slots",
        0.06,
        "a pixel has one multiply-add for each tap and channel, and its taps are looked for in the map",
    ),
    Waiver("conv_dgrad_map", ANY, "l2_excess", 12.5, "a pixel is read for each of its taps, in several rows"),
    Waiver("conv_dgrad_map", ANY, "useful_slots", 0.17, "a warp adds up its lanes for each output"),
    Waiver("conv_(fprop|wgrad_adam)_map", ANY, "coalesced", 0.7, "taps of a pixel lie in four rows, 12 bytes apart"),
    Waiver("conv_(fprop|wgrad_adam)_map", ANY, "l2_excess", 2.1, "the map and the weights of all blocks"),
    Waiver("conv_(fprop|wgrad_adam)_map", ANY, "useful_slots", 0.03, "a sum is of 16 products"),
    Waiver("conv_dgrad_few_[48]", ANY, "padding", 0.75, "three channels of four, or six of eight"),
    Waiver("conv_wgrad_adam_few_[36]", ANY, "shared_excess", 1.45, "the groups' sums are exchanged once a block"),
    Waiver("bias_grad_shared", "", "waves", 0.5, "a few blocks more than multiprocessors, which have room for several"),
    Waiver("upsample_shuffle_tanh(_grad)?", "generator.last", "coalesced", 0.48, "twelve channels become three of six"),
    Waiver("upsample_shuffle_tanh(_grad)?", "generator.last", "l2_excess", 1.45, "as above"),
    Waiver("upsample_shuffle_tanh", "generator.last", "slots_per_sector", 9, "an index and a tanh for each element"),
    Waiver(
        "losses_grad",
        "losses",
        "slots_per_sector",
        9.3,
        "counted by the longest of its loops, that of a cross-entropy, which few of the elements run",
    ),
    Waiver("upsample_fold(_grad)?", "generator.last", "l2_excess", 2, "a weight is in the sums of several blocks"),
    Waiver("losses_grad", "losses", "coalesced", 0.88, "maps of a few hundred pixels, whose ends share sectors"),
    Waiver("conv_wgrad_narrow_12", "generator.last", "l2_excess", 1.7, "the input is read for each row of taps"),
    Waiver("conv_dgrad_patch_3x3s1", "generator.last", "padding", 0.75, "12 channels of dy in chunks of 16"),
    Waiver("conv_dgrad_patch_3x3s1", "generator.last", "useful_slots", 0.53, "a single chunk: nothing overlaps"),
]

# More of them for batches of several pairs, where tensors are large enough for more budgets; these come first.
BATCH_WAIVERS = [
    Waiver(
        "norm_act_held_(64|256)",
        ANY,
        "slots_per_sector",
        12.5,
        "one or two pixels a thread: the sums of its block are as many instructions",
    ),
    Waiver("norm_act_grad_held_64", ANY, "slots_per_sector", 15, "as above"),
    Waiver("conv_fprop_dot", ANY, "l2_excess", 9.5, "as at batch 1, and fewer pixels are left in L1"),
    Waiver("conv_dgrad_few_4", r"discriminator\.conv1", "coalesced", 0.67, "as at batch 1"),
    Waiver("conv_(fprop|wgrad_adam)_map", ANY, "coalesced", 0.63, "as at batch 1, with more borders of rows"),
]

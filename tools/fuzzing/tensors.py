"""Safetensors: checkpoints, imports and exports with another header, other data, or both."""

import json
import struct

from . import common, settings
from .common import Case, TINY, chance, number

DTYPES = ("F32", "F16", "BF16", "F64", "I64", "I8", "U8", "BOOL", "F8_E4M3", "F4", "f32", "", "C64")
NUMBERS = (
    "0", "1", "-1", "1e3", "1.5", "18446744073709551615", "18446744073709551616", "9" * 400, "NaN", "", " 1", "+1",
    "\u0661", "0x1", "five",
)


def parts(data):
    """The header and the tensors' bytes."""
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8:8 + length])
    if not isinstance(header, dict):
        raise ValueError("the header is no object")
    return header, data[8 + length:]


def joined(text, data):
    return struct.pack("<Q", len(text)) + text + data


def change_strings(rng, about):
    """One of the strings beside the tensors."""
    key = rng.choice(sorted(about)) if about else "format"
    change = rng.randrange(6)
    if change == 0:
        about.pop(key, None)
    elif change == 5 and "pixtape.step" in about:
        # A consistent position: the built-in facades have 400 steps an epoch.
        epoch, step = rng.choice((0, 1, 2**20, 2**32, 2**54)), rng.choice((0, 5, 399))
        about |= {
            "pixtape.epoch": str(epoch), "pixtape.step-in-epoch": str(step), "pixtape.step": str(400 * epoch + step),
        }
    elif change == 1:
        about[key] = rng.choice((*NUMBERS, *common.NAMES))
    elif change == 2 and "pixtape.config" in about:
        about["pixtape.config"] = settings.changed(rng, about["pixtape.config"])
    elif change == 3 and "pixtape.generator" in about:
        about["pixtape.generator"] = settings.changed(rng, about["pixtape.generator"])
    else:
        about[rng.choice((
            "pixtape.new", "pixtape.imported-from", "pixtape.direction", "pixtape.history", "format", common.name(rng),
        ))] = rng.choice((
            common.name(rng), "[]", "[" * 5000, '[{"epoch":1,"step":1,"mean":{"l1":1e400,"psnr":null,"ssim":0}}]', "pt",
            "a-to-b",
        ))


def change_tensor(rng, header):
    # Values that were replaced by something else already are left out.
    names = sorted(name for name in header if name != "__metadata__" and isinstance(
        header[name], dict,
    ) and "shape" in header[name])
    name = rng.choice(names) if names else "x"
    tensor = header.setdefault(name, {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]})
    change = rng.randrange(8)
    if change == 0:
        tensor["dtype"] = rng.choice(DTYPES)
    elif change == 1 and tensor["shape"]:
        at = rng.randrange(len(tensor["shape"]))
        tensor["shape"][at] = rng.choice((number(rng, 64, 64), -1, 0, 1.5, "4", None))
    elif change == 2:
        tensor["shape"] = rng.choice((
            [], tensor["shape"] * 2, tensor["shape"] + [1], [2**32, 2**32], [0, 2**63],
            list(reversed(tensor["shape"])), [1] * 5000,
        ))
    elif change == 3 and isinstance(tensor["data_offsets"], list) and len(tensor["data_offsets"]) == 2:
        at = rng.randrange(2)
        tensor["data_offsets"][at] = rng.choice((number(rng, 244036, 64), -1))
    elif change == 4:
        tensor["data_offsets"] = rng.choice((
            header[rng.choice(names)]["data_offsets"] if names else [0], [8, 0], [0, 0], [1], [], None,
        ))
    elif change == 5:
        header[rng.choice((*names, common.name(rng), "generator." + common.name(rng)))] = header.pop(name)
    elif change == 6:
        del header[name]
    else:
        header[name] = rng.choice((None, [], "text", {}, {"dtype": "F32"}, {**tensor, "more": 1}))


def header_text(rng, header):
    text = json.dumps(header, ensure_ascii=chance(rng, 0.5)).encode(errors="surrogatepass")
    change = rng.randrange(12)
    if change == 0:
        return text[:-1] + b"," + text[1:]
    if change == 1:
        return text[:-1] + b',"x":' + rng.choice((
            b"[" * 100000, b'{"a":' * 100000, b"1e999", b"[" * 100 + b"]" * 100,
        )) + b"}"
    if change == 2:
        return text + b" " * rng.choice((1, 7, 100000))
    if change == 3:
        return rng.choice((
            b"", b"{}", b"[]", b"null", b"\xff\xfe" + text, b"\xef\xbb\xbf" + text, text + b"\0", text * 2,
        ))
    if change == 4:
        return common.garble(rng, text)
    return text


def mutated(rng, data):
    try:
        header, values = parts(data)
    except (ValueError, RecursionError):
        # The header has been changed before.
        return common.garble(rng, data)
    for _ in range(rng.choice((0, 1, 1, 1, 2, 3))):
        if chance(rng, 0.5) and isinstance(header.get("__metadata__"), dict):
            change_strings(rng, header["__metadata__"])
        elif chance(rng, 0.05):
            header["__metadata__"] = rng.choice((None, [], {}, {"a": 1}, {"a": None}, "text"))
        else:
            change_tensor(rng, header)
    if chance(rng, 0.2):
        special = struct.pack("<f", rng.choice((float("nan"), float("inf"), 3e38, 1e-45)))
        at = rng.randrange(max(len(values) // 4, 1)) * 4
        count = rng.choice((1, 1000, (len(values) - at) // 4))
        values = values[:at] + special * count + values[at + 4 * count:]
    if chance(rng, 0.1):
        values = rng.choice((common.cut(rng, values), values + b"more", b""))
    data = joined(header_text(rng, header), values)
    if chance(rng, 0.05):
        data = struct.pack("<Q", number(rng, int.from_bytes(data[:8], "little"), 64)) + data[8:]
    if chance(rng, 0.05):
        data = rng.choice((common.cut, common.garble))(rng, data)
    return data


def build(rng, seeds, folder):
    """A mutated checkpoint, imported weights, or tensors of another program, given to each command that takes one."""
    source = rng.choice(("run/checkpoints/step-00000004.safetensors",) * 3 + ("imported.safetensors",))
    data = mutated(rng, seeds.read(source))
    name = common.file_name(rng, "x.safetensors")
    if chance(rng, 0.03):
        common.special(rng, folder / name)
    else:
        (folder / name).write_bytes(data)
    name = f"./{name}"
    command = rng.randrange(8)
    if command < 2:
        return Case(["inspect", name, *rng.choice(([], ["--memory"], ["--steps"]))])
    if command == 2:
        seeds.copy("pairs", folder / "pairs")
        return Case(
            ["evaluate", name, "--data", "pairs", "--threads", "1", *rng.choice(([], ["--json"], ["--out", "out"]))],
            out="out(/.*)?",
        )
    if command == 3:
        return Case(["export", name, "--onnx", "x.onnx"], out="x.onnx")
    if command == 4:
        network = rng.choice(("generator", "discriminator"))
        return Case(["export", name, "--network", network, "--safetensors", "out.safetensors"], out="out.safetensors")
    if command == 5:
        # A run may end in its first step, when the weights are too large.
        command = ["train", *TINY, "--start-from", name, "--steps", "1", "--out", "out"]
        return Case(command, own="out(/.*)?")
    if command == 6:
        return Case(["import", name, "--out", "out.safetensors"], out="out.safetensors")
    seeds.copy("pairs", folder / "pairs")
    flags = rng.choice(([], ["--tile"], ["--pairs"], ["--dropout", "off"]))
    return Case(["translate", name, "pairs/0.png", "--out", "out", "--threads", "1", *flags], out="out(/.*)?")

"""Trains with PyTorch and with pixtape, from the same weights on the same pictures, and compares the losses by step.

    python train_beside.py PIXTAPE [--device cuda] [--pixtape-device cuda]

Without dropout and augmentation both compute the same function. PyTorch runs in float64, which is the truth here, and
in float32, whose distance from float64 is the cost of float32; pixtape may have a few times that distance. Prints a row
a step, then one JSON line; exits with 1 if pixtape is further away.
"""

import argparse
import csv
import ctypes
import json
import math
import struct
import subprocess
import sys
import tempfile
import zlib
from pathlib import Path

import torch

from models import Discriminator, GeneratorUNet
from train_step import ADAM, pytorch_gan as train_step

# Multiple of the distance of PyTorch's float32 that is allowed, and the distance that is always allowed, by step (see
# README.md, "What the tolerances rest on").
FACTOR = 10
FLOORS = [5e-6, 1e-4, 1e-3]


def write_png(path, pixels):
    """Writes `pixels`, [height, width, 3] of uint8, as a picture."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    height, width, _ = pixels.shape
    rows = b"".join(b"\0" + bytes(row.flatten().tolist()) for row in pixels)
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows, 1)) + chunk(b"IEND", b"")
    )


def write_safetensors(path, tensors):
    header, offset = {}, 0
    for name, values in tensors.items():
        size = values.numel() * 4
        header[name] = {"dtype": "F32", "shape": list(values.shape), "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for values in tensors.values():
            # A PyTorch may be installed without NumPy.
            values = values.detach().to("cpu", torch.float32).contiguous()
            file.write(ctypes.string_at(values.data_ptr(), values.numel() * values.element_size()))


def pictures(count, size):
    """Pairs of pictures of uint8, [count, 2, size, size, 3]: patches with some noise over them."""
    coarse = torch.rand(2 * count, 3, 8, 8)
    smooth = torch.nn.functional.interpolate(coarse, size=(size, size), mode="bilinear")
    values = (0.9 * smooth + 0.1 * torch.rand_like(smooth)) * 255
    return values.round().to(torch.uint8).permute(0, 2, 3, 1).reshape(count, 2, size, size, 3)


def networks(args):
    generator = GeneratorUNet(ngf=args.width, depth=min(8, args.size.bit_length() - 1), dropout=0.0)
    return generator, Discriminator(ndf=args.width)


def with_pytorch(args, weights, pairs, dtype):
    """The rows [d, adv, pixel]."""
    made = dict(zip(("generator", "discriminator"), networks(args)))
    for key, network in made.items():
        network.load_state_dict({name: weights[f"{key}.{name}"] for name in network.state_dict()})
        network.to(device=args.device, dtype=dtype)
    adams = [torch.optim.Adam(network.parameters(), **ADAM) for network in made.values()]
    images = pairs.permute(0, 1, 4, 2, 3).to(args.device, dtype) / 127.5 - 1
    rows = []
    for step in range(args.steps):
        condition, image = images[step % len(images)].unsqueeze(1)
        losses = train_step(*made.values(), *adams, condition, image)
        rows.append([loss.item() for loss in losses])
    return rows


def with_pixtape(args, folder):
    settings = {
        "data": folder / "pairs",
        "start-from": folder / "weights.safetensors",
        "out": folder / "run",
        "device": args.pixtape_device,
        "image-size": args.size,
        "ngf": args.width,
        "ndf": args.width,
        "dropout": 0,
        "augment": "none",
        "shuffle": "false",
        "steps": args.steps,
        "sample-every": 100 * args.steps,
    }
    flags = [f"--{name}={value}" for name, value in settings.items()]
    done = subprocess.run([args.pixtape, "train", *flags], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode != 0:
        sys.exit(f"pixtape train failed: {done.stdout.strip()}")
    with (folder / "run/losses.csv").open() as file:
        return [[float(row[name]) for name in ("d", "adv", "pixel")] for row in csv.DictReader(file)]


def differences(rows, truth):
    """Per step, the largest relative difference; infinity if a value is not finite."""

    def difference(a, b):
        return abs(a - b) / abs(b) if math.isfinite(a) else math.inf

    return [max(difference(a, b) for a, b in zip(*pair)) for pair in zip(rows, truth)]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pixtape", help="the program")
    parser.add_argument("--device", default="cuda", help="PyTorch's")
    parser.add_argument("--pixtape-device", default="cuda")
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--steps", type=int, default=6)
    args = parser.parse_args()

    torch.manual_seed(1)
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    pairs = pictures(3, args.size)
    weights = {}
    for key, network in zip(("generator", "discriminator"), networks(args)):
        for name, p in network.named_parameters():
            weights[f"{key}.{name}"] = torch.zeros_like(p) if name.endswith("bias") else torch.randn_like(p) * 0.02
    truth, float32 = (with_pytorch(args, weights, pairs, dtype) for dtype in (torch.float64, torch.float32))
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        (folder / "pairs").mkdir()
        write_safetensors(folder / "weights.safetensors", weights)
        for i, pair in enumerate(pairs):
            write_png(folder / f"pairs/{i}.png", torch.cat(tuple(pair), 1))
        ours = with_pixtape(args, folder)
    if len(ours) != args.steps:
        sys.exit(f"pixtape wrote {len(ours)} rows of losses, not {args.steps}")

    theirs, far = differences(float32, truth), differences(ours, truth)
    allowed = [max(FACTOR * max(theirs[: i + 1]), FLOORS[min(i, len(FLOORS) - 1)]) for i in range(args.steps)]
    print("step   d, adv, pixel in float64                  float32 strays   pixtape strays   allowed")
    for i, (row, a, b, limit) in enumerate(zip(truth, theirs, far, allowed)):
        print(f"{i + 1:4}   {row[0]:12.7f} {row[1]:12.7f} {row[2]:12.7f} {a:16.1e} {b:16.1e} {limit:9.1e}")
    passed = all(b <= limit for b, limit in zip(far, allowed))
    print(json.dumps({"passed": passed, "steps": args.steps, "pixtape": far, "float32": theirs, "allowed": allowed}))
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())

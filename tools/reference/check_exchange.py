"""Round trips: generators of PyTorch through `pixtape import`, runs of pixtape through `pixtape export`.

    cargo build --release && tools/reference/.venv/bin/python tools/reference/check_exchange.py [target/release/pixtape]

Each generator is saved by `torch.save` in both forms, imported, and translates a picture as PyTorch does, with
statistics of the picture and with stored ones; exported again it has every bit of its weights. Each recipe's run,
exported, loads into the published class with strict=True and makes the same picture there, as does its ONNX file in
onnxruntime. Needs the packages of `requirements.txt`, and pillow, onnx and onnxruntime.
"""

import copy
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from PIL import Image
from safetensors.torch import load_file

import block_ck
import isola
import models
from copies import fill, with_batch_norm, without_dropout

PIXTAPE = Path(sys.argv[1] if len(sys.argv) > 1 else "target/release/pixtape").resolve()
SIDE, DEPTH, WIDTH = 64, 6, 8

# Two float32 implementations with sums in different orders are less than a millionth apart here.
CLOSE = 2e-6
# At 8 bits that moves a value to the neighbouring level where it is next to the middle between two: this share of them.
MOST_LEVELS = 1
MOST_SHARE = 2 * 127.5 * CLOSE



def pixtape(*words):
    done = subprocess.run([PIXTAPE, *map(str, words)], capture_output=True, text=True)
    assert done.returncode == 0, f"{words}: {done.stderr}"
    return done.stdout


def tensor_of(path):
    pixels = torch.from_numpy(np.asarray(Image.open(path).convert("RGB")).astype(np.float32))
    return (pixels / 127.5 - 1).permute(2, 0, 1)[None]


def output(network, x, running=False):
    """The output in float32, with the stored statistics of batch norms or with those of the picture."""
    network = copy.deepcopy(network).requires_grad_(False)
    return (network.eval() if running else without_dropout(network))(x)


def compare_picture(what, path, y):
    """Compares `y` as a picture with the one that translate has written."""
    expected = torch.round((tensor_of(path) + 1) * 127.5)
    difference = (torch.round((y + 1) * 127.5) - expected).abs()
    share = (difference > 0).float().mean().item()
    print(f"  {what}: {share:.3%} of the values differ, the most by {difference.max().item():.0f}")
    assert expected.std() >= 5, "the picture has no structure"
    assert difference.max().item() <= MOST_LEVELS and share <= MOST_SHARE


def published():
    """name -> generator, and the class that takes it back."""
    size = {"ngf": WIDTH, "depth": DEPTH}
    affine = isola.UnetGenerator(norm="instance-affine", **size)
    yield "isola-batch", isola.UnetGenerator(norm="batch", **size), affine
    yield "isola-instance", isola.UnetGenerator(norm="instance", **size), isola.UnetGenerator(norm="instance", **size)
    yield "pytorch-gan", models.GeneratorUNet(**size), models.GeneratorUNet(**size)
    yield "pytorch-gan-batch", with_batch_norm(models.GeneratorUNet(**size)), None
    yield "block-ck", block_ck.Generator(**size), block_ck.Generator(**size)


def check_import(folder, picture):
    x = tensor_of(picture)
    for name, network, back in published():
        fill(network, name)
        state = network.state_dict()
        wrapped = {f"module.{key}": value for key, value in state.items()}
        for form, what, options in [
            ("zip", state, {}),
            ("legacy", wrapped, {"_use_new_zipfile_serialization": False}),
            ("protocol-5", {"netG": state, "epoch": 7}, {"pickle_protocol": 5}),
        ]:
            torch.save(what, folder / "it.pth", **options)
            batch = any(key.endswith("running_var") for key in state)
            for running in [False, True] if batch else [False]:
                flags = ["--running-stats"] if running else []
                pixtape("import", folder / "it.pth", "--out", folder / "it.safetensors", *flags)
                pixtape("translate", folder / "it.safetensors", picture, "--out", folder / "out", "--dropout", "off")
                what = f"{name}, {form}" + (", stored statistics" if running else "")
                compare_picture(what, folder / "out" / picture.name, output(network, x, running))
        pixtape("import", folder / "it.pth", "--out", folder / "it.safetensors")
        pixtape("export", folder / "it.safetensors", "--safetensors", folder / "bare.safetensors")
        exported = load_file(folder / "bare.safetensors")
        if back:
            back.load_state_dict(exported, strict=True)
        assert all(torch.equal(values, state[key]) for key, values in exported.items())
        print(f"  {name}: {len(exported)} tensors come back with every bit")


def check_runs(folder, picture):
    x = tensor_of(picture)
    size = {"ngf": WIDTH, "depth": DEPTH}
    for name, flags, generator, discriminator in [
        ("pytorch-gan", [], models.GeneratorUNet(**size), models.Discriminator(ndf=WIDTH)),
        ("block-ck", [], block_ck.Generator(**size), block_ck.Discriminator(ndf=WIDTH)),
        ("isola", [], isola.UnetGenerator(**size), isola.NLayerDiscriminator(ndf=WIDTH)),
        (
            "isola",
            ["--norm", "instance-affine"],
            isola.UnetGenerator(norm="instance-affine", **size),
            isola.NLayerDiscriminator(norm="instance-affine", ndf=WIDTH),
        ),
    ]:
        run = folder / "-".join(["run", name, *flags])
        small = ["--image-size", SIDE, "--ngf", WIDTH, "--ndf", WIDTH, "--lr", 0.01, "--steps", 20]
        pixtape("train", "--recipe", name, *flags, *small, "--out", run)
        pixtape("translate", run, picture, "--out", folder / "out", "--dropout", "off")
        pixtape("export", run, "--safetensors", folder / "g.safetensors", "--onnx", folder / "g.onnx")
        pixtape("export", run, "--safetensors", folder / "d.safetensors", "--network", "discriminator")
        generator.load_state_dict(load_file(folder / "g.safetensors"), strict=True)
        discriminator.load_state_dict(load_file(folder / "d.safetensors"), strict=True)
        y = output(generator, x)
        compare_picture(f"run of {name} {' '.join(flags)}", folder / "out" / picture.name, y)

        onnx.checker.check_model(folder / "g.onnx", full_check=True)
        session = onnxruntime.InferenceSession(folder / "g.onnx", providers=["CPUExecutionProvider"])
        (ours,) = session.run(["output"], {"input": x.numpy()})
        difference = np.abs(ours - y.numpy()).max()
        print(f"  its ONNX file: at most {difference:.1e} from PyTorch")
        assert difference <= CLOSE


def main():
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        picture = folder / "picture.png"
        rows, columns = np.mgrid[0:SIDE, 0:SIDE]
        waves = [np.sin(rows / 5) + np.cos(columns / 9), np.sin((rows + columns) / 7), np.cos(rows * columns / 300)]
        Image.fromarray(np.uint8(127 + 60 * np.stack(waves, -1))).save(picture)
        check_import(folder, picture)
        check_runs(folder, picture)


if __name__ == "__main__":
    main()

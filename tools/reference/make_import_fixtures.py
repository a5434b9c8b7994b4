"""Files as `torch.save` writes them, with the outputs of their networks for one picture -> tests/fixtures/import/.

Depth 5 and 2 channels, so that a file has some 60 KB; the picture is `values("x")`, 32x32. Dropout is off. "NAME.y" is
the output with statistics of the image at hand, "NAME.running.y" that with the stored ones of a batch norm.

    isola-batch.pth         zip; the authors' unet with batch norm, trained on several GPUs (names begin with "module.")
    pytorch-gan.pth         legacy; channels_last, so that no weight lies in order
    pytorch-gan-batch.pth   zip, protocol 4, f16; a copy with batch norm and a transposed last layer
    block-ck.pth            legacy; a training checkpoint: bf16, every tensor a view of one storage, under "generator"
    discriminator.pth       zip
"""

import copy
import os

import torch
from torch import nn

import block_ck
import isola
from copies import fill, with_batch_norm, with_transposed_end, without_dropout
from fixture import FIXTURES, save, spread, tensor
from models import Discriminator, GeneratorUNet

FOLDER = "import"
DEPTH, WIDTH, SIZE = 5, 2, 32


def views_of_one_storage(state):
    """The same tensors in one after the other, from the second element of a storage on."""
    flat = torch.cat([torch.zeros(1, dtype=torch.bfloat16)] + [t.flatten() for t in state.values()])
    views, start = {}, 1
    for name, t in state.items():
        views[name] = flat[start : start + t.numel()].view(t.shape)
        start += t.numel()
    return views


def write(name, what, **options):
    path = FIXTURES / FOLDER / f"{name}.pth"
    torch.save(what, path, **options)
    print(f"{path.name}: {path.stat().st_size:,} bytes")


def outputs(name, network):
    """{"NAME.y", and "NAME.running.y" of a batch norm} in float64 and float32."""
    results = []
    for dtype in (torch.float64, torch.float32):
        # Copied, because a training batch norm changes its running statistics.
        network_in_dtype = without_dropout(copy.deepcopy(network).to(dtype)).requires_grad_(False)
        x = tensor("x", (1, 3, SIZE, SIZE), dtype)
        y = {f"{name}.y": network_in_dtype(x)}
        if any(isinstance(module, nn.BatchNorm2d) for module in network.modules()):
            network_in_dtype = copy.deepcopy(network).to(dtype).requires_grad_(False).eval()
            y[f"{name}.running.y"] = network_in_dtype(x)
        results.append(y)
    return results


def main():
    os.makedirs(FIXTURES / FOLDER, exist_ok=True)
    size = {"ngf": WIDTH, "depth": DEPTH}

    isola_batch = fill(isola.UnetGenerator(norm="batch", **size), "isola")
    write("isola-batch", nn.DataParallel(isola_batch).state_dict())

    pytorch_gan = fill(GeneratorUNet(**size), "pytorch-gan").to(memory_format=torch.channels_last)
    write("pytorch-gan", pytorch_gan.state_dict(), _use_new_zipfile_serialization=False)

    batch = fill(with_transposed_end(with_batch_norm(GeneratorUNet(**size)), WIDTH), "pytorch-gan-batch").half()
    write("pytorch-gan-batch", batch.state_dict(), pickle_protocol=4)

    block = fill(block_ck.Generator(**size), "block-ck").bfloat16()
    checkpoint = {
        "epoch": 3,
        "generator": views_of_one_storage(block.state_dict()),
        "optimizer": {"state": {0: {"step": torch.tensor(7.0)}}, "param_groups": [{"lr": 2e-4, "betas": (0.5, 0.999)}]},
    }
    write("block-ck", checkpoint, _use_new_zipfile_serialization=False)

    write("discriminator", fill(Discriminator(ndf=WIDTH), "discriminator").state_dict())

    networks = {"isola-batch": isola_batch, "pytorch-gan": pytorch_gan, "pytorch-gan-batch": batch, "block-ck": block}
    f64, f32 = {}, {}
    for name, network in networks.items():
        for results, of_dtype in zip(outputs(name, network), (f64, f32)):
            of_dtype.update(results)
    about = {
        "torch": torch.__version__,
        "size": SIZE,
        "f32_spread": {key: spread(f32[key], f64[key]) for key in f64},
    }
    save(f"{FOLDER}/expected.safetensors", f64, about)
    for key, value in f64.items():
        rms = value.square().mean().sqrt().item()
        print(f"  {key:28} rms {rms:.2f}  spread {about['f32_spread'][key]:.1e}")


if __name__ == "__main__":
    main()

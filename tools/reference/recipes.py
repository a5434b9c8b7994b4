"""Every recipe, and variants of them, by the name that the fixtures have for them."""

from functools import partial

from torch import nn

import block_ck
import isola
import models
import train_step
from pix2pixhd import MultiscaleDiscriminator

PYTORCH_GAN = (models.GeneratorUNet, models.Discriminator, train_step.pytorch_gan)
BLOCK_CK = (block_ck.Generator, block_ck.Discriminator, train_step.block_ck)


def isola_like(n_layers=3, **options):
    norm = options.get("norm", "instance")
    discriminator = partial(isola.NLayerDiscriminator, n_layers=n_layers, norm=norm)
    if n_layers == 0:
        discriminator = partial(isola.PixelDiscriminator, norm=norm)
    return partial(isola.UnetGenerator, **options), discriminator, train_step.isola


def at_scales(recipe, count, step):
    """A recipe with discriminators at several scales."""
    generator, discriminator, _ = recipe

    def make(*args, **options):
        return MultiscaleDiscriminator(partial(discriminator, *args, **options), count)

    return generator, make, step


# name -> generator, discriminator, step
RECIPES = {
    "pytorch-gan": PYTORCH_GAN,
    "block-ck": BLOCK_CK,
    "isola": isola_like(),
    "isola-affine": isola_like(norm="instance-affine"),
    "isola-encoder-decoder": isola_like(skips=False),
    "isola-1": isola_like(0),
    "isola-1-affine": isola_like(0, norm="instance-affine"),
    "isola-16": isola_like(1),
    "isola-34": isola_like(2),
    "isola-142": isola_like(4),
    "isola-286": isola_like(5),
    "isola-scales": at_scales(isola_like(2), 3, train_step.isola_scales),
    "pytorch-gan-scales": at_scales(PYTORCH_GAN, 2, train_step.pytorch_gan_scales),
}


def cancelled_biases(network):
    """Names of the biases that a norm follows: it subtracts them again, so their gradient is zero but for rounding."""
    names = []
    for prefix, sequential in network.named_modules():
        if not isinstance(sequential, nn.Sequential):
            continue
        layers = list(sequential.named_children())
        for (name, layer), (_, after) in zip(layers, layers[1:]):
            is_norm = isinstance(after, (nn.InstanceNorm2d, nn.BatchNorm2d))
            if is_norm and getattr(layer, "bias", None) is not None:
                names.append(f"{prefix}.{name}.bias")
    return names


def is_gain(network, name):
    """True if a parameter is the gain of a norm."""
    module, _, kind = name.rpartition(".")
    return kind == "weight" and isinstance(network.get_submodule(module), (nn.InstanceNorm2d, nn.BatchNorm2d))

"""One training step of each recipe, as its source writes it.

Each updates both networks and returns (d, adv, pixel) or (d, adv, pixel, feature), which are from before the update of
the network they belong to.
"""

import torch
import torch.nn.functional as F

from pix2pixhd import feature_matching, ssim

LAMBDA_PIXEL = 100
LAMBDA_FEATURE = 10
ADAM = {"lr": 2e-4, "betas": (0.5, 0.999), "eps": 1e-8}


def mse_to(prediction, target):
    return F.mse_loss(prediction, torch.full_like(prediction, target))


def bce_to(prediction, target):
    return F.binary_cross_entropy(prediction, torch.full_like(prediction, target))


def logits_to(prediction, target):
    return F.binary_cross_entropy_with_logits(prediction, torch.full_like(prediction, target))


def generator_loss(generator, discriminator, condition, image, loss=mse_to):
    """(fake, adv, pixel); the generator minimises adv + LAMBDA_PIXEL * pixel."""
    fake = generator(condition)
    return fake, loss(discriminator(fake, condition), 1.0), F.l1_loss(fake, image)


def discriminator_loss(discriminator, condition, image, fake, loss=mse_to):
    real = loss(discriminator(image, condition), 1.0)
    return 0.5 * (real + loss(discriminator(fake.detach(), condition), 0.0))


def update(optimiser, loss):
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()


def pytorch_gan(generator, discriminator, optimiser_g, optimiser_d, condition, image, masks=None):
    """The generator first, then the discriminator on the same fake."""
    fake, adv, pixel = generator_loss(generator, discriminator, condition, image)
    update(optimiser_g, adv + LAMBDA_PIXEL * pixel)
    d = discriminator_loss(discriminator, condition, image, fake)
    update(optimiser_d, d)
    return d, adv, pixel


def block_ck(generator, discriminator, optimiser_g, optimiser_d, condition, image, masks=None):
    """The discriminator first, then the generator on a fake made anew. (The source forgets to detach, and clears what
    that leaves in the generator before it uses its gradients.)"""
    if masks:
        masks.forward = 0
    d = discriminator_loss(discriminator, condition, image, generator(condition), bce_to)
    update(optimiser_d, d)
    if masks:
        masks.forward = 1
    _, adv, pixel = generator_loss(generator, discriminator, condition, image, bce_to)
    update(optimiser_g, adv + LAMBDA_PIXEL * pixel)
    return d, adv, pixel


def isola(generator, discriminator, optimiser_g, optimiser_d, condition, image, masks=None):
    """The discriminator first, then the generator on the same fake, with the updated discriminator."""
    fake = generator(condition)
    d = discriminator_loss(discriminator, condition, image, fake, logits_to)
    update(optimiser_d, d)
    adv, pixel = logits_to(discriminator(fake, condition), 1.0), F.l1_loss(fake, image)
    update(optimiser_g, adv + LAMBDA_PIXEL * pixel)
    return d, adv, pixel


def of_maps(outputs, target, loss):
    """The sum over the scales."""
    return sum(loss(of_scale[-1], target) for of_scale in outputs)


def isola_scales(generator, discriminator, optimiser_g, optimiser_d, condition, image, masks=None):
    """`isola` with discriminators at several scales and feature matching."""
    fake = generator(condition)
    on_real, on_fake = discriminator(image, condition), discriminator(fake.detach(), condition)
    d = 0.5 * (of_maps(on_real, 1.0, logits_to) + of_maps(on_fake, 0.0, logits_to))
    update(optimiser_d, d)
    on_real, on_fake = discriminator(image, condition), discriminator(fake, condition)
    adv, pixel, feature = of_maps(on_fake, 1.0, logits_to), F.l1_loss(fake, image), feature_matching(on_fake, on_real)
    update(optimiser_g, adv + LAMBDA_PIXEL * pixel + LAMBDA_FEATURE * feature)
    return d, adv, pixel, feature


def pytorch_gan_scales(generator, discriminator, optimiser_g, optimiser_d, condition, image, masks=None):
    """`pytorch-gan` with discriminators at several scales, feature matching and 1 - SSIM in place of L1."""
    fake = generator(condition)
    on_real, on_fake = discriminator(image, condition), discriminator(fake, condition)
    adv, pixel, feature = of_maps(on_fake, 1.0, mse_to), 1 - ssim(fake, image), feature_matching(on_fake, on_real)
    update(optimiser_g, adv + LAMBDA_PIXEL * pixel + LAMBDA_FEATURE * feature)
    on_fake = discriminator(fake.detach(), condition)
    d = 0.5 * (of_maps(on_real, 1.0, mse_to) + of_maps(on_fake, 0.0, mse_to))
    update(optimiser_d, d)
    return d, adv, pixel, feature

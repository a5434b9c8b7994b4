"""One training step of each recipe, as its source writes it.

Each updates both networks and returns (d, adv, pixel), which are from before the update of the network they belong to.
"""

import torch
import torch.nn.functional as F

LAMBDA_PIXEL = 100
ADAM = {"lr": 2e-4, "betas": (0.5, 0.999), "eps": 1e-8}


def mse_to(prediction, target):
    return F.mse_loss(prediction, torch.full_like(prediction, target))


def bce_to(prediction, target):
    return F.binary_cross_entropy(prediction, torch.full_like(prediction, target))


def logits_to(prediction, target):
    return F.binary_cross_entropy_with_logits(prediction, torch.full_like(prediction, target))


def generator_loss(generator, discriminator, condition, image):
    """(fake, adv, pixel); the generator minimises adv + LAMBDA_PIXEL * pixel."""
    fake = generator(condition)
    return fake, mse_to(discriminator(fake, condition), 1.0), F.l1_loss(fake, image)


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
    fake = generator(condition)
    adv, pixel = bce_to(discriminator(fake, condition), 1.0), F.l1_loss(fake, image)
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

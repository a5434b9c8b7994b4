"""One training step of the `pytorch-gan` recipe, as its source writes it."""

import torch
import torch.nn.functional as F

PIXEL_WEIGHT = 100
ADAM = {"lr": 2e-4, "betas": (0.5, 0.999), "eps": 1e-8}


def mse_to(prediction, target):
    return F.mse_loss(prediction, torch.full_like(prediction, target))


def generator_loss(generator, discriminator, condition, image):
    """(fake, adv, pixel); the generator minimises adv + PIXEL_WEIGHT * pixel."""
    fake = generator(condition)
    return fake, mse_to(discriminator(fake, condition), 1.0), F.l1_loss(fake, image)


def discriminator_loss(discriminator, condition, image, fake):
    real = mse_to(discriminator(image, condition), 1.0)
    return 0.5 * (real + mse_to(discriminator(fake.detach(), condition), 0.0))


def train_step(generator, discriminator, optimiser_g, optimiser_d, condition, image):
    """Updates both networks, the generator first. Returns (d, adv, pixel), each from before its network's update."""
    optimiser_g.zero_grad()
    fake, adv, pixel = generator_loss(generator, discriminator, condition, image)
    (adv + PIXEL_WEIGHT * pixel).backward()
    optimiser_g.step()

    optimiser_d.zero_grad()
    d = discriminator_loss(discriminator, condition, image, fake)
    d.backward()
    optimiser_d.step()
    return d, adv, pixel

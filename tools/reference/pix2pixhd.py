"""pix2pixHD (Wang et al., 2018): discriminators at several scales, feature matching; and SSIM as a loss."""

import torch
import torch.nn.functional as F
from torch import nn


class MultiscaleDiscriminator(nn.Module):
    """`count` discriminators; each further one sees a picture of half the size. Returns for each scale the outputs of
    its inner blocks, and its map."""

    def __init__(self, make, count):
        super().__init__()
        self.scales = nn.ModuleList(make() for _ in range(count))

    def named(self):
        """The discriminators by the names that a checkpoint has for them."""
        return {f"discriminator{i + 1 if i else ''}": scale for i, scale in enumerate(self.scales)}

    def forward(self, image, condition):
        outputs = []
        for i, scale in enumerate(self.scales):
            if i:
                image, condition = halved(image), halved(condition)
            outputs.append(features_and_map(scale, image, condition))
        return outputs


def halved(image):
    return F.avg_pool2d(image, 3, stride=2, padding=1, count_include_pad=False)


def features_and_map(discriminator, image, condition):
    """The output of every LeakyReLU, then the map."""
    features = []
    hooks = [
        layer.register_forward_hook(lambda *call: features.append(call[2]))
        for layer in discriminator.modules()
        if isinstance(layer, nn.LeakyReLU)
    ]
    map_ = discriminator(image, condition)
    for hook in hooks:
        hook.remove()
    return [*features, map_]


def feature_matching(fake, real):
    """The loss as pix2pixHD weighs it: 4 / features of a scale for each of its features, the mean over the scales."""
    loss = 0
    for of_fake, of_real in zip(fake, real):
        distances = [F.l1_loss(a, b.detach()) for a, b in zip(of_fake[:-1], of_real[:-1])]
        loss = loss + 4 / len(distances) * sum(distances) / len(fake)
    return loss


def ssim(x, y):
    """Mean structural similarity (Wang et al., 2004) of pictures in [-1, 1]."""
    n, c, h, w = x.shape
    window = torch.exp(-0.5 * ((torch.arange(11, dtype=x.dtype) - 5) / 1.5) ** 2)
    window = torch.outer(window, window) / window.sum() ** 2

    def mean(image):
        return F.conv2d(image.reshape(n * c, 1, h, w), window[None, None])

    c1, c2 = (0.01 * 2) ** 2, (0.03 * 2) ** 2
    mx, my = mean(x), mean(y)
    vx, vy, cov = mean(x * x) - mx * mx, mean(y * y) - my * my, mean(x * y) - mx * my
    return ((2 * mx * my + c1) * (2 * cov + c2) / ((mx * mx + my * my + c1) * (vx + vy + c2))).mean()

"""The networks of the `block-ck` recipe, with the state_dict names of its source."""

import torch
from torch import nn

from models import InjectedDropout


class BlockCK(nn.Module):
    """Convolution, norm, dropout, activation: down halves and has a leaky ReLU, up doubles and has a ReLU."""

    def __init__(self, c_in, c_out, is_down, normalize=True, dropout=()):
        super().__init__()
        conv = nn.Conv2d if is_down else nn.ConvTranspose2d
        norm = [nn.InstanceNorm2d(c_out)] if normalize else []
        activation = nn.LeakyReLU(0.2) if is_down else nn.ReLU()
        self.model = nn.Sequential(conv(c_in, c_out, 4, 2, 1), *norm, *dropout, activation)

    def forward(self, x):
        return self.model(x)


class Generator(nn.Module):
    """`depth` halvings; the first depth - 5 blocks of the way up drop out. `masks` is a MaskSource, or None."""

    def __init__(self, in_channels=3, out_channels=3, ngf=64, depth=8, dropout=0.5, masks=None):
        super().__init__()
        self.depth = depth
        width = [in_channels] + [ngf * min(2**i, 8) for i in range(depth)]
        self.downs, self.ups = [], []
        for level in range(1, depth + 1):
            self.downs.append(f"down_{level}_C{width[level]}")
            block = BlockCK(width[level - 1], width[level], True, 1 < level < depth)
            self.add_module(self.downs[-1], block)
        for index, level in enumerate(range(depth - 1, 0, -1)):
            layers = []
            if index < depth - 5 and dropout > 0:
                layers = [InjectedDropout(dropout, index, masks) if masks else nn.Dropout(dropout)]
            self.ups.append(f"up_{level}_C{'D' if level >= 4 else ''}{width[level]}")
            c_in = width[depth] if level == depth - 1 else 2 * width[level + 1]
            self.add_module(self.ups[-1], BlockCK(c_in, width[level], False, dropout=layers))
        self.conv = nn.ConvTranspose2d(2 * ngf, out_channels, 4, 2, 1)

    def forward(self, x):
        skips = []
        for name in self.downs:
            x = self.get_submodule(name)(x)
            skips.append(x)
        skips.pop()
        for name in self.ups:
            x = torch.cat((self.get_submodule(name)(x), skips.pop()), 1)
        return torch.tanh(self.conv(x))


class Discriminator(nn.Module):
    """Probabilities of cat(image, condition), spread by a dilated transposed convolution: a map of 70x70 at 256x256."""

    def __init__(self, channels=6, ndf=64):
        super().__init__()
        layers = [nn.Conv2d(channels, ndf, 4, 2, 1), nn.LeakyReLU(0.2)]
        for i in range(3):
            c = ndf * 2**i
            layers += [nn.Conv2d(c, 2 * c, 4, 2, 1), nn.InstanceNorm2d(2 * c), nn.LeakyReLU(0.2)]
        layers += [nn.ConvTranspose2d(8 * ndf, 1, 4, stride=4, dilation=3), nn.Sigmoid()]
        self.model = nn.Sequential(*layers)

    def forward(self, image, condition):
        return self.model(torch.cat((image, condition), 1))


if __name__ == "__main__":
    from models import count

    assert count(Generator()) == 54_409_603
    assert count(Discriminator()) == 2_767_809
    pair = torch.zeros(1, 3, 256, 256), torch.zeros(1, 3, 256, 256)
    assert Discriminator()(*pair).shape == (1, 1, 70, 70)
    print(*(f"{name:32} {list(t.shape)}" for name, t in Generator().state_dict().items()), sep="\n")

"""The networks of the `isola` recipe, with the state_dict names of the authors' release for PyTorch."""

import torch
from torch import nn

from models import InjectedDropout

# Norm layers by name. With one that is not affine, convolutions have a bias; the authors' batch norm is affine.
NORMS = {
    "instance": nn.InstanceNorm2d,
    "instance-affine": lambda c: nn.InstanceNorm2d(c, affine=True),
    "batch": nn.BatchNorm2d,
}


class UnetBlock(nn.Module):
    """One level with all that lie within it: cat(x, model(x)), or without skips model(x) alone."""

    def __init__(self, c_in, c_inner, c_out, norm, inside=None, outermost=False, skips=True, dropout=()):
        super().__init__()
        bias = norm == "instance"
        self.joins = skips and not outermost
        down = nn.Conv2d(c_in, c_inner, 4, 2, 1, bias=bias)
        c_up = c_inner if inside is None or not skips else 2 * c_inner
        up = nn.ConvTranspose2d(c_up, c_out, 4, 2, 1, bias=bias or outermost)
        # The source activates in place, which changes the skip as well; the skip is rectified on the way up anyway.
        leaky, relu = nn.LeakyReLU(0.2), nn.ReLU()
        if outermost:
            layers = [down, inside, relu, up, nn.Tanh()]
        elif inside is None:
            layers = [leaky, down, relu, up, NORMS[norm](c_out)]
        else:
            layers = [leaky, down, NORMS[norm](c_inner), inside, relu, up, NORMS[norm](c_out), *dropout]
        self.model = nn.Sequential(*layers)

    def forward(self, x):
        y = self.model(x)
        return torch.cat((x, y), 1) if self.joins else y


class UnetGenerator(nn.Module):
    """`depth` halvings; the depth - 5 blocks around the innermost drop out. `masks` is a MaskSource, or None."""

    def __init__(
        self, in_channels=3, out_channels=3, ngf=64, depth=8, dropout=0.5, norm="instance", skips=True, masks=None
    ):
        super().__init__()
        width = [in_channels] + [ngf * min(2**i, 8) for i in range(depth)]
        block = UnetBlock(width[depth - 1], width[depth], width[depth - 1], norm, skips=skips)
        for level in range(depth - 1, 1, -1):
            layers = []
            if level > 4 and dropout > 0:
                layer = depth - 1 - level
                layers = [InjectedDropout(dropout, layer, masks) if masks else nn.Dropout(dropout)]
            block = UnetBlock(width[level - 1], width[level], width[level - 1], norm, block, False, skips, layers)
        self.model = UnetBlock(in_channels, ngf, out_channels, norm, block, True, skips)

    def forward(self, x):
        return self.model(x)


class NLayerDiscriminator(nn.Module):
    """Discriminates cat(condition, image). Receptive field of n layers: 16, 34, 70, 142, 286 for n = 1 to 5."""

    def __init__(self, channels=6, ndf=64, n_layers=3, norm="instance"):
        super().__init__()
        bias = norm == "instance"
        layers = [nn.Conv2d(channels, ndf, 4, 2, 1), nn.LeakyReLU(0.2)]
        c = ndf
        for n in range(1, n_layers + 1):
            c_out = ndf * min(2**n, 8)
            stride = 2 if n < n_layers else 1
            layers += [nn.Conv2d(c, c_out, 4, stride, 1, bias=bias), NORMS[norm](c_out), nn.LeakyReLU(0.2)]
            c = c_out
        self.model = nn.Sequential(*layers, nn.Conv2d(c, 1, 4, 1, 1))

    def forward(self, image, condition):
        return self.model(torch.cat((condition, image), 1))


class PixelDiscriminator(nn.Module):
    """Discriminates every pixel of cat(condition, image) on its own."""

    def __init__(self, channels=6, ndf=64, norm="instance"):
        super().__init__()
        bias = norm == "instance"
        self.net = nn.Sequential(
            nn.Conv2d(channels, ndf, 1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(ndf, 2 * ndf, 1, bias=bias),
            NORMS[norm](2 * ndf),
            nn.LeakyReLU(0.2),
            nn.Conv2d(2 * ndf, 1, 1, bias=bias),
        )

    def forward(self, image, condition):
        return self.net(torch.cat((condition, image), 1))


if __name__ == "__main__":
    from models import count

    assert count(UnetGenerator()) == 54_409_603 and count(UnetGenerator(norm="batch")) == 54_413_955
    assert count(NLayerDiscriminator()) == 2_767_809 and count(NLayerDiscriminator(norm="batch")) == 2_768_705
    pair = torch.zeros(1, 3, 256, 256), torch.zeros(1, 3, 256, 256)
    for n, side in [(1, 126), (2, 62), (3, 30), (4, 14), (5, 6)]:
        assert NLayerDiscriminator(n_layers=n)(*pair).shape == (1, 1, side, side)
    assert PixelDiscriminator()(*pair).shape == (1, 1, 256, 256)
    print(*(f"{name:60} {list(t.shape)}" for name, t in UnetGenerator(norm="batch").state_dict().items()), sep="\n")

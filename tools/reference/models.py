"""The networks of the `pytorch-gan` recipe, built like the widely copied source so that state_dict names agree.

Beyond the source: depth, widths and channels are parameters, and dropout can take its masks from Philox, which makes a
PyTorch run with dropout repeatable on the Rust side.
"""

from dataclasses import dataclass

import torch
from torch import nn


@dataclass
class MaskSource:
    """Position in the run, read by every injected dropout layer. Advance `step` between training steps."""

    seed: int
    step: int = 0
    forward: int = 0


class InjectedDropout(nn.Module):
    """Dropout number `layer` (in forward order, from 0), with the mask that pixtape draws for the same position."""

    def __init__(self, p, layer, source):
        super().__init__()
        self.p, self.layer, self.source = p, layer, source

    def forward(self, x):
        # Imported here, so that networks without this layer need no NumPy.
        from philox import keep_mask

        n, c, h, w = x.shape
        s = self.source
        mask = keep_mask(s.seed, s.step, s.forward, self.layer, (n, h, w, c), self.p)
        return x * torch.from_numpy(mask).to(x.dtype)


class UNetDown(nn.Module):
    def __init__(self, c_in, c_out, normalize, dropout):
        super().__init__()
        layers = [nn.Conv2d(c_in, c_out, 4, 2, 1, bias=False)]
        if normalize:
            layers.append(nn.InstanceNorm2d(c_out))
        self.model = nn.Sequential(*layers, nn.LeakyReLU(0.2), *dropout)

    def forward(self, x):
        return self.model(x)


class UNetUp(nn.Module):
    def __init__(self, c_in, c_out, dropout):
        super().__init__()
        conv = nn.ConvTranspose2d(c_in, c_out, 4, 2, 1, bias=False)
        self.model = nn.Sequential(conv, nn.InstanceNorm2d(c_out), nn.ReLU(inplace=True), *dropout)

    def forward(self, x, skip):
        return torch.cat((self.model(x), skip), 1)


class GeneratorUNet(nn.Module):
    """`depth` halvings. `masks` is a MaskSource for injected dropout, or None for PyTorch's own."""

    def __init__(self, in_channels=3, out_channels=3, ngf=64, depth=8, dropout=0.5, masks=None):
        super().__init__()
        self.depth = depth
        layer = 0

        def dropout_if(wanted):
            nonlocal layer
            if not wanted or dropout == 0:
                return []
            layer += 1
            return [InjectedDropout(dropout, layer - 1, masks) if masks else nn.Dropout(dropout)]

        width = [in_channels] + [ngf * min(2**i, 8) for i in range(depth)]
        for i in range(1, depth + 1):
            down = UNetDown(width[i - 1], width[i], 1 < i < depth, dropout_if(i >= 4))
            self.add_module(f"down{i}", down)
        for j in range(1, depth):
            # up_j returns to the size of down_(depth - j); all but the first see the skip of the level before as well.
            c_in = width[depth] if j == 1 else 2 * width[depth - j + 1]
            self.add_module(f"up{j}", UNetUp(c_in, width[depth - j], dropout_if(j <= depth - 4)))
        self.final = nn.Sequential(
            nn.Upsample(scale_factor=2),
            nn.ZeroPad2d((1, 0, 1, 0)),
            nn.Conv2d(2 * ngf, out_channels, 4, padding=1),
            nn.Tanh(),
        )

    def forward(self, x):
        skips = []
        for i in range(1, self.depth + 1):
            x = self.get_submodule(f"down{i}")(x)
            skips.append(x)
        for j in range(1, self.depth):
            x = self.get_submodule(f"up{j}")(x, skips[self.depth - j - 1])
        return self.final(x)


class Discriminator(nn.Module):
    """Discriminates cat(image, condition). `channels` is the sum of both."""

    def __init__(self, channels=6, ndf=64):
        super().__init__()

        def block(c_in, c_out, normalize=True):
            norm = [nn.InstanceNorm2d(c_out)] if normalize else []
            return [nn.Conv2d(c_in, c_out, 4, stride=2, padding=1), *norm, nn.LeakyReLU(0.2, inplace=True)]

        self.model = nn.Sequential(
            *block(channels, ndf, normalize=False),
            *block(ndf, 2 * ndf),
            *block(2 * ndf, 4 * ndf),
            *block(4 * ndf, 8 * ndf),
            nn.ZeroPad2d((1, 0, 1, 0)),
            nn.Conv2d(8 * ndf, 1, 4, padding=1, bias=False),
        )

    def forward(self, image, condition):
        return self.model(torch.cat((image, condition), 1))


def load_values(network, prefix, scale):
    """Sets every parameter to `values("<prefix>.<state_dict name>", shape, scale)`, and gains of norms to 1 + values of
    scale 1/4."""
    from philox import values
    from recipes import is_gain

    with torch.no_grad():
        for name, tensor in network.named_parameters():
            around, scale_here = (1.0, 0.25) if is_gain(network, name) else (0.0, scale)
            drawn = values(f"{prefix}.{name}", tuple(tensor.shape), scale_here)
            tensor.copy_(torch.from_numpy(drawn).double() + around)


def count(network):
    return sum(p.numel() for p in network.parameters())


if __name__ == "__main__":
    generator, discriminator = GeneratorUNet(), Discriminator()
    for network in (generator, discriminator):
        for name, tensor in network.state_dict().items():
            print(f"{name:24} {list(tensor.shape)}")
        print(f"{type(network).__name__}: {count(network):,} parameters\n")
    assert count(generator) == 54_404_099
    assert count(discriminator) == 2_767_808
    assert discriminator(torch.zeros(1, 3, 256, 256), torch.zeros(1, 3, 256, 256)).shape == (1, 1, 16, 16)

"""Generators as the widely used PyTorch programs define them: same modules in the same places, so that state_dict names, shapes
and files are theirs.

`UnetGenerator` is the authors' `unet_256` (depth 8) and `unet_128` (depth 7), with batch norm as their files have it or with
instance norm. `BlockCkGenerator` is the re-implementation with `BlockCK`. The third, `GeneratorUNet`, is in `models.py`; here is
what copies of it make of its norm and of its last layer.
"""

import torch
from torch import nn

from models import GeneratorUNet


class SkipBlock(nn.Module):
    """One level of the authors' U-Net: down, the levels below, up; beside its input unless it is the outermost."""

    def __init__(self, outer, inner, inputs=None, below=None, outermost=False, norm=nn.BatchNorm2d, dropout=False):
        super().__init__()
        self.outermost = outermost
        # A batch norm brings a bias of its own.
        bias = norm is not nn.BatchNorm2d
        down = nn.Conv2d(inputs or outer, inner, 4, 2, 1, bias=bias)
        up_inputs = 2 * inner if below else inner
        if outermost:
            layers = [down, below, nn.ReLU(True), nn.ConvTranspose2d(up_inputs, outer, 4, 2, 1), nn.Tanh()]
        else:
            up = [nn.ReLU(True), nn.ConvTranspose2d(up_inputs, outer, 4, 2, 1, bias=bias), norm(outer)]
            middle = [norm(inner), below] if below else []
            layers = [nn.LeakyReLU(0.2, True), down, *middle, *up, *([nn.Dropout(0.5)] if dropout else [])]
        self.model = nn.Sequential(*layers)

    def forward(self, x):
        return self.model(x) if self.outermost else torch.cat([x, self.model(x)], 1)


class UnetGenerator(nn.Module):
    def __init__(self, in_channels=3, out_channels=3, ngf=64, depth=8, norm=nn.BatchNorm2d, dropout=True):
        super().__init__()
        widths = [ngf * min(2**i, 8) for i in range(depth)]
        block = None
        for level in reversed(range(1, depth)):
            drops = dropout and 3 < level < depth - 1
            block = SkipBlock(widths[level - 1], widths[level], below=block, norm=norm, dropout=drops)
        self.model = SkipBlock(out_channels, ngf, in_channels, block, outermost=True, norm=norm)

    def forward(self, x):
        return self.model(x)


class BlockCk(nn.Module):
    def __init__(self, inputs, outputs, norm=True, encoder=True, dropout=False):
        super().__init__()
        conv = nn.Conv2d if encoder else nn.ConvTranspose2d
        layers = [conv(inputs, outputs, 4, stride=2, padding=1)]
        layers += [nn.InstanceNorm2d(outputs)] if norm else []
        layers += [nn.Dropout(0.5)] if dropout else []
        self.model = nn.Sequential(*layers, nn.LeakyReLU(0.2) if encoder else nn.ReLU())

    def forward(self, x, skip=None):
        y = self.model(x)
        return y if skip is None else torch.cat((y, skip), 1)


class BlockCkGenerator(nn.Module):
    def __init__(self, in_channels=3, out_channels=3, ngf=64, depth=8, dropout=True):
        super().__init__()
        widths = [in_channels] + [ngf * min(2**i, 8) for i in range(depth)]
        self.downs, self.ups = [], []
        for level in range(1, depth + 1):
            self.downs.append(f"down_{level}_C{widths[level]}")
            self.add_module(self.downs[-1], BlockCk(widths[level - 1], widths[level], norm=1 < level < depth))
        for level in reversed(range(1, depth)):
            inputs = widths[level + 1] * (1 if level + 1 == depth else 2)
            self.ups.append(f"up_{level}_{'CD' if level >= 4 else 'C'}{widths[level]}")
            block = BlockCk(inputs, widths[level], encoder=False, dropout=dropout and level >= 5)
            self.add_module(self.ups[-1], block)
        self.conv = nn.ConvTranspose2d(2 * ngf, out_channels, 4, 2, 1)

    def forward(self, x):
        skips = []
        for name in self.downs:
            x = self.get_submodule(name)(x)
            skips.append(x)
        skips.pop()
        for name in self.ups:
            x = self.get_submodule(name)(x, skips.pop())
        return torch.tanh(self.conv(x))


def with_batch_norm(network):
    """The network with every instance norm replaced by a batch norm, as copies of GeneratorUNet have it."""
    for name, module in list(network.named_modules()):
        if isinstance(module, nn.InstanceNorm2d):
            parent, _, place = name.rpartition(".")
            setattr(network.get_submodule(parent), place, nn.BatchNorm2d(module.num_features))
    return network


def with_transposed_end(network, ngf, out_channels=3):
    """GeneratorUNet with one transposed convolution for a last layer, as other copies have it."""
    network.final = nn.Sequential(nn.ConvTranspose2d(2 * ngf, out_channels, 4, 2, 1), nn.Tanh())
    return network


def without_dropout(network):
    """Dropout off, and nothing else changed: norms keep using the statistics of the image at hand."""
    for module in network.modules():
        if isinstance(module, nn.Dropout):
            module.eval()
    return network


def fill(network, tag):
    """Sets weights and statistics to `values` by name, away from what a fresh network has: gains of 0.75 to 1.25, running means
    of -0.25 to 0.25, running variances of 0.25 to 1.75."""
    from philox import values

    of_kind = {"running_mean": (0, 0.25), "running_var": (1, 0.75), "gain": (1, 0.25)}
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            if not tensor.is_floating_point():
                continue
            kind = name.rpartition(".")[2]
            kind = "gain" if kind == "weight" and tensor.ndim == 1 else kind
            middle, reach = of_kind.get(kind, (0, 0.125))
            tensor.copy_(middle + torch.from_numpy(values(f"{tag}.{name}", tuple(tensor.shape), reach)))
    return network


if __name__ == "__main__":
    for network, expected in [
        (UnetGenerator(), 54_413_955),
        (UnetGenerator(norm=nn.InstanceNorm2d), 54_409_603),
        (BlockCkGenerator(), 54_409_603),
        (with_batch_norm(GeneratorUNet()), None),
    ]:
        count = sum(p.numel() for p in network.parameters())
        print(f"{type(network).__name__}: {count:,} parameters")
        assert expected in (count, None)

"""Networks as users of PyTorch have them: copies that differ from the published classes, and weights and statistics
of trained networks."""

import torch
from torch import nn


def with_batch_norm(network):
    """The network with every instance norm replaced by a batch norm, as copies of GeneratorUNet have it."""
    for name, module in list(network.named_modules()):
        if isinstance(module, nn.InstanceNorm2d):
            parent, _, child = name.rpartition(".")
            setattr(network.get_submodule(parent), child, nn.BatchNorm2d(module.num_features))
    return network


def with_transposed_end(network, ngf, out_channels=3):
    """GeneratorUNet with a transposed convolution as its last layer, as other copies have it."""
    network.final = nn.Sequential(nn.ConvTranspose2d(2 * ngf, out_channels, 4, 2, 1), nn.Tanh())
    return network


def without_dropout(network):
    """Switches dropout off and leaves norms unchanged: they keep using the statistics of the image at hand."""
    for module in network.modules():
        if isinstance(module, nn.Dropout):
            module.eval()
    return network


def fill(network, tag):
    """Sets weights and statistics to `values` by name, other than those of a fresh network: gains of 0.75 to 1.25,
    running means of -0.25 to 0.25, running variances of 0.25 to 1.75."""
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

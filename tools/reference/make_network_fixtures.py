"""Both networks at 32x32, forward and backward, computed in float64 -> tests/fixtures/networks.safetensors.

Depth 5, ngf = ndf = 8, batch 2, no dropout. Parameters, inputs ("g.x", "d.x") and upstream gradients ("g.dy", "d.dy") are
`values` by name. With parameters of scale 1/16 every activation stays between 0.03 and 1 in root mean square, so neither
tanh nor the norms' epsilon hides an error.
"""

import torch

from fixture import save, spread, tensor
from models import CANCELLED_BIASES, Discriminator, GeneratorUNet, load_values

PARAMETER_SCALE = 2.0**-4
BATCH, SIZE, DEPTH, WIDTH = 2, 32, 5, 8


def back_propagate(prefix, network, x, y):
    """{"g.y", "g.dx", "g.grad.<state_dict name>", ...} for the upstream gradient "g.dy"."""
    y.backward(tensor(f"{prefix}.dy", y.shape, y.dtype))
    grads = {f"{prefix}.grad.{name}": p.grad for name, p in network.named_parameters()}
    return {f"{prefix}.y": y, f"{prefix}.dx": x.grad, **grads}


def compute(dtype):
    generator = GeneratorUNet(ngf=WIDTH, depth=DEPTH, dropout=0).to(dtype)
    load_values(generator, "generator", PARAMETER_SCALE)
    x = tensor("g.x", (BATCH, 3, SIZE, SIZE), dtype, grad=True)
    results = back_propagate("g", generator, x, generator(x))

    discriminator = Discriminator(ndf=WIDTH).to(dtype)
    load_values(discriminator, "discriminator", PARAMETER_SCALE)
    x = tensor("d.x", (BATCH, 6, SIZE, SIZE), dtype, grad=True)
    return results | back_propagate("d", discriminator, x, discriminator(x[:, :3], x[:, 3:]))


def main():
    f64, f32 = compute(torch.float64), compute(torch.float32)
    # These gradients are zero but for rounding, so a relative spread says nothing: record float32's rounding noise instead.
    cancelled = [f"d.grad.{name}" for name in CANCELLED_BIASES]
    about = {
        "torch": torch.__version__,
        "size": SIZE,
        "depth": DEPTH,
        "ngf": WIDTH,
        "ndf": WIDTH,
        "batch": BATCH,
        "parameter_scale": PARAMETER_SCALE,
        "f32_spread": {key: spread(f32[key], f64[key]) for key in f64 if key not in cancelled},
        "f32_noise_of_zero_gradients": {key: f32[key].abs().max().item() for key in cancelled},
    }
    save("networks.safetensors", f64, about)
    for key, value in f64.items():
        note = f"spread {about['f32_spread'][key]:.1e}" if key in about["f32_spread"] else "zero but for rounding"
        print(f"  {key:32} max {value.abs().max().item():.2e}  {note}")


if __name__ == "__main__":
    main()

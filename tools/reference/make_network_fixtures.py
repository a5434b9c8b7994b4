"""The networks of every recipe, forward and backward, computed in float64 -> tests/fixtures/networks*.safetensors.

No dropout. Parameters, inputs ("g.x", "d.x") and upstream gradients ("g.dy", "d.dy") are `values` by name, gains of
norms 1 + values of scale 1/4. With parameters of scale 1/16 and ngf = ndf = 8 every activation stays between 0.03 and 1
in root mean square, so neither tanh nor the norms' epsilon hides an error. Smaller networks have parameters of scale
1/8.
"""

import torch

from fixture import save, spread, tensor
from models import load_values
from recipes import RECIPES, cancelled_biases


def about(size, depth, width, batch, inputs, outputs, parameter_scale, networks="gd"):
    return {
        "size": size,
        "depth": depth,
        "width": width,
        "batch": batch,
        "inputs": inputs,
        "outputs": outputs,
        "parameter_scale": parameter_scale,
        "networks": networks,
    }


# Discriminators with other receptive fields come without the generator, which is the same, and need larger images.
CASES = {
    "pytorch-gan": about(32, 5, 8, 2, 3, 3, 2.0**-4),
    "block-ck": about(32, 5, 4, 2, 3, 3, 2.0**-3),
    "isola": about(32, 5, 4, 2, 3, 3, 2.0**-3),
    "isola-affine": about(32, 5, 4, 2, 1, 2, 2.0**-3),
    "isola-encoder-decoder": about(32, 5, 4, 2, 4, 1, 2.0**-3, "g"),
    "isola-1": about(32, 5, 4, 2, 3, 3, 2.0**-3, "d"),
    "isola-1-affine": about(32, 5, 4, 2, 3, 3, 2.0**-3, "d"),
    "isola-16": about(32, 5, 4, 2, 3, 3, 2.0**-3, "d"),
    "isola-34": about(32, 5, 4, 2, 3, 3, 2.0**-3, "d"),
    "isola-142": about(64, 5, 4, 1, 1, 1, 2.0**-3, "d"),
    "isola-286": about(128, 5, 2, 1, 1, 1, 2.0**-3, "d"),
    "isola-scales": about(64, 5, 4, 2, 1, 1, 2.0**-3, "s"),
}


def back_propagate(prefix, network, x, y):
    """{"g.y", "g.dx", "g.grad.<state_dict name>", ...} for the upstream gradient "g.dy"."""
    y.backward(tensor(f"{prefix}.dy", y.shape, y.dtype))
    grads = {f"{prefix}.grad.{name}": p.grad for name, p in network.named_parameters()}
    return {f"{prefix}.y": y, f"{prefix}.dx": x.grad, **grads}


def compute(name, dtype):
    """The results, and the names of those that are zero but for rounding."""
    case, (make_generator, make_discriminator, _) = CASES[name], RECIPES[name]
    size, width, inputs, outputs = (case[key] for key in ("size", "width", "inputs", "outputs"))
    results, cancelled = {}, []
    if "g" in case["networks"]:
        generator = make_generator(inputs, outputs, ngf=width, depth=case["depth"], dropout=0).to(dtype)
        load_values(generator, "generator", case["parameter_scale"])
        x = tensor("g.x", (case["batch"], inputs, size, size), dtype, grad=True)
        results |= back_propagate("g", generator, x, generator(x))
        cancelled += [f"g.grad.{name}" for name in cancelled_biases(generator)]
    if "d" in case["networks"]:
        discriminator = make_discriminator(inputs + outputs, ndf=width).to(dtype)
        load_values(discriminator, "discriminator", case["parameter_scale"])
        x = tensor("d.x", (case["batch"], inputs + outputs, size, size), dtype, grad=True)
        # In the order in which the network joins its two arguments.
        front, back = x[:, :1], x[:, 1:]
        y = discriminator(back, front) if name.startswith("isola") else discriminator(front, back)
        results |= back_propagate("d", discriminator, x, y)
        cancelled += [f"d.grad.{name}" for name in cancelled_biases(discriminator)]
    if "s" in case["networks"]:
        discriminators = make_discriminator(inputs + outputs, ndf=width).to(dtype)
        x = tensor("s.x", (case["batch"], inputs + outputs, size, size), dtype, grad=True)
        for key, discriminator in discriminators.named().items():
            load_values(discriminator, key, case["parameter_scale"])
            cancelled += [f"s.grad.{key}.{name}" for name in cancelled_biases(discriminator)]
        # Everything that the losses see: the features and the map of every scale.
        seen = {
            f"s.y{scale}.{index}": y
            for scale, of_scale in enumerate(discriminators(x[:, 1:], x[:, :1]))
            for index, y in enumerate(of_scale)
        }
        upstream = [tensor(name.replace(".y", ".dy"), y.shape, dtype) for name, y in seen.items()]
        torch.autograd.backward(list(seen.values()), upstream)
        results |= seen | {"s.dx": x.grad}
        for key, discriminator in discriminators.named().items():
            results |= {f"s.grad.{key}.{name}": p.grad for name, p in discriminator.named_parameters()}
    return results, cancelled


def main():
    for name, case in CASES.items():
        (f64, cancelled), (f32, _) = compute(name, torch.float64), compute(name, torch.float32)
        # These gradients are zero but for rounding, which makes a relative spread meaningless: float32's rounding noise
        # is recorded.
        notes = {
            "torch": torch.__version__,
            **case,
            "f32_spread": {key: spread(f32[key], f64[key]) for key in f64 if key not in cancelled},
            "f32_noise_of_zero_gradients": {key: f32[key].abs().max().item() for key in cancelled},
        }
        save(f"networks-{name}.safetensors", f64, notes)
        print(f"  largest spread {max(notes['f32_spread'].values()):.1e}, rms of outputs",
              *(f"{key} {f64[key].square().mean().sqrt().item():.2f}" for key in ("g.y", "d.y") if key in f64))


if __name__ == "__main__":
    main()

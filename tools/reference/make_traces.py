"""The losses of ten training steps of every recipe, in float64 and many times in float32 -> tests/fixtures/traces.json.

Everything is `values` by name: parameters of scale 1/8 (gains of norms 1 + values of scale 1/4), images
"trace.input.<step>" and "trace.target.<step>" of scale 1. Dropout takes its masks from Philox (seed 7, the 0-based
step, forward 0, or 1 for a fake that is made anew). Biases in front of a norm are frozen: they change no output, but
Adam would turn the rounding noise in their zero gradients into steps of the full learning rate.

Training amplifies rounding: Adam's first step is the sign of the gradient, so of 850,000 parameters a few whose
gradient is near zero step the other way, a ReLU whose input is near zero falls on the other side, and the small maps
of the innermost norms amplify that. The distance of the float32 runs from float64 is therefore the distance that two
correct implementations may have. Three implementations are too few to meet the rare flips: the same training is run
many times more from parameters that are up to one unit in the last place off, which is the same training with other
rounding. (At scale 1/16 the runs stray about ten times as far.) Minutes.
"""

import json

import torch

from fixture import FIXTURES, tensor
from models import MaskSource, load_values
from pix2pixhd import MultiscaleDiscriminator
from recipes import RECIPES, cancelled_biases
from train_step import ADAM, LAMBDA_FEATURE, LAMBDA_PIXEL

STEPS, WIDTH, SEED, PARAMETER_SCALE = 10, 8, 7, 2.0**-3
DEPTH_OF_SIZE = {64: 6, 256: 8}
PROBES = 4
TRACES = [
    ("pytorch-gan", 64, 0.0),
    ("pytorch-gan", 64, 0.5),
    ("pytorch-gan", 256, 0.0),
    ("pytorch-gan", 256, 0.5),
    ("block-ck", 64, 0.5),
    ("block-ck", 256, 0.5),
    ("isola", 64, 0.5),
    ("isola", 256, 0.5),
    ("isola-affine", 64, 0.5),
    ("isola-scales", 64, 0.5),
    ("pytorch-gan-scales", 64, 0.5),
]
# Three float32 implementations whose sums run in different orders: threads, and oneDNN or PyTorch's own kernels.
FLOAT32_RUNS = [(1, True), (2, True), (2, False)]
# Runs from parameters nearby.
NEARBY_RUNS = 24


def move_by_an_ulp(network, seed):
    draws = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in network.parameters():
            p.mul_(1 + torch.randint(-1, 2, p.shape, generator=draws).to(p.dtype) * 2.0**-23)


def run(recipe, size, dropout, dtype, threads=1, onednn=True, nearby=None):
    """Ten steps: the rows of losses, the final parameters by full name, and the names of the frozen ones."""
    torch.set_num_threads(threads)
    make_generator, make_discriminator, train_step = RECIPES[recipe]
    masks = MaskSource(SEED)
    generator = make_generator(ngf=WIDTH, depth=DEPTH_OF_SIZE[size], dropout=dropout, masks=masks).to(dtype)
    discriminator = make_discriminator(ndf=WIDTH).to(dtype)
    several = isinstance(discriminator, MultiscaleDiscriminator)
    networks = {"generator": generator, **(discriminator.named() if several else {"discriminator": discriminator})}
    frozen = []
    for number, (key, network) in enumerate(networks.items()):
        load_values(network, key, PARAMETER_SCALE)
        if nearby is not None:
            move_by_an_ulp(network, 2 * nearby + number)
        for name in cancelled_biases(network):
            network.get_parameter(name).requires_grad_(False)
            frozen.append(f"{key}.{name}")
    both = (generator, discriminator)
    optimisers = [torch.optim.Adam([p for p in network.parameters() if p.requires_grad], **ADAM) for network in both]
    rows = []
    torch.backends.mkldnn.set_flags(onednn)
    for masks.step in range(STEPS):
        pair = [tensor(f"trace.{role}.{masks.step}", (1, 3, size, size), dtype) for role in ("input", "target")]
        losses = train_step(*both, *optimisers, *pair, masks)
        rows.append([loss.item() for loss in losses])
    return rows, {f"{key}.{name}": p for key, net in networks.items() for name, p in net.named_parameters()}, frozen


def relative_differences(a, b):
    """Per step, the largest relative difference of two runs' rows."""
    return [max(abs(x - y) / abs(y) for x, y in zip(*rows)) for rows in zip(a, b)]


def summary(p, float32_ends):
    """A final parameter tensor: largest |p|, a few elements by flat PyTorch index, and the spread of float32."""
    flat = p.flatten()
    indices = [i * (len(flat) - 1) // (PROBES - 1) for i in range(PROBES)]
    drift = max((end.double() - p).abs().max().item() for end in float32_ends)
    values = [flat[i].item() for i in indices]
    return {"max_abs": flat.abs().max().item(), "indices": indices, "values": values, "f32_drift": drift}


def trace(recipe, size, dropout):
    f64, end, frozen = run(recipe, size, dropout, torch.float64)
    runs = [run(recipe, size, dropout, torch.float32, *how) for how in FLOAT32_RUNS]
    nearby = [run(recipe, size, dropout, torch.float32, nearby=seed) for seed in range(NEARBY_RUNS)]
    spread = [max(step) for step in zip(*(relative_differences(rows, f64) for rows, _, _ in runs + nearby))]
    print(f"{recipe} {size}, dropout {dropout}: first row {f64[0]}, last row {f64[-1]}")
    print("  float32 from float64:", *(f"{x:.0e}" for x in spread), flush=True)
    return {
        "recipe": recipe,
        "size": size,
        "depth": DEPTH_OF_SIZE[size],
        "dropout": dropout,
        "frozen": frozen,
        "f64": f64,
        "f32_spread": spread,
        "final_parameters": {name: summary(p, [ends[name] for _, ends, _ in runs]) for name, p in end.items()},
    }


def main():
    about = {
        "torch": torch.__version__,
        "steps": STEPS,
        "batch": 1,
        "ngf": WIDTH,
        "ndf": WIDTH,
        "lambda_pixel": LAMBDA_PIXEL,
        "lambda_feature": LAMBDA_FEATURE,
        "lr": ADAM["lr"],
        "beta1": ADAM["betas"][0],
        "beta2": ADAM["betas"][1],
        "eps": ADAM["eps"],
        "seed": SEED,
        "parameter_scale": PARAMETER_SCALE,
        "row": ["d", "adv", "pixel", "feature"],
    }
    path = FIXTURES / "traces.json"
    path.write_text(json.dumps({**about, "traces": [trace(*which) for which in TRACES]}, indent=1) + "\n")
    print(f"{path.name}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()

"""The losses of ten training steps, in float64 and three ways in float32 -> tests/fixtures/traces.json.

Everything is `values` by name: parameters of scale 1/8, images "trace.input.<step>" and "trace.target.<step>" of scale 1.
Dropout takes its masks from Philox (seed 7, the 0-based step, forward 0). D's biases in front of a norm are frozen: they
change no output, but Adam would turn the rounding noise in their zero gradients into steps of the full learning rate.

Training amplifies rounding: Adam's first step is the sign of the gradient, so of 850,000 parameters a few whose gradient
is near zero step the other way, and the small maps of the innermost norms amplify that. How far the float32 runs stray from
float64 is therefore how far two correct implementations may drift apart. (At scale 1/16 they stray about ten times as far.)
"""

import json

import torch

from fixture import FIXTURES, tensor
from models import CANCELLED_BIASES, Discriminator, GeneratorUNet, MaskSource, load_values
from train_step import ADAM, PIXEL_WEIGHT, train_step

STEPS, WIDTH, SEED, PARAMETER_SCALE = 10, 8, 7, 2.0**-3
DEPTH_OF_SIZE = {64: 6, 256: 8}
PROBES = 4
# Three float32 implementations whose sums run in different orders: name -> (threads, oneDNN or PyTorch's own kernels).
FLOAT32_RUNS = {"onednn_1_thread": (1, True), "onednn_2_threads": (2, True), "native": (2, False)}


def run(size, dropout, dtype, threads=2, onednn=True):
    """Ten steps: the rows [d, adv, pixel] and the parameters at the end by full name."""
    torch.set_num_threads(threads)
    masks = MaskSource(SEED)
    generator = GeneratorUNet(ngf=WIDTH, depth=DEPTH_OF_SIZE[size], dropout=dropout, masks=masks).to(dtype)
    discriminator = Discriminator(ndf=WIDTH).to(dtype)
    load_values(generator, "generator", PARAMETER_SCALE)
    load_values(discriminator, "discriminator", PARAMETER_SCALE)
    for name in CANCELLED_BIASES:
        discriminator.get_parameter(name).requires_grad_(False)
    optimiser_g = torch.optim.Adam(generator.parameters(), **ADAM)
    optimiser_d = torch.optim.Adam([p for p in discriminator.parameters() if p.requires_grad], **ADAM)
    rows = []
    torch.backends.mkldnn.set_flags(onednn)
    for masks.step in range(STEPS):
        pair = [tensor(f"trace.{role}.{masks.step}", (1, 3, size, size), dtype) for role in ("input", "target")]
        losses = train_step(generator, discriminator, optimiser_g, optimiser_d, *pair)
        rows.append([loss.item() for loss in losses])
    networks = {"generator": generator, "discriminator": discriminator}
    return rows, {f"{key}.{name}": p for key, network in networks.items() for name, p in network.state_dict().items()}


def relative_differences(a, b):
    """Per step, the largest relative difference of two runs' rows."""
    return [max(abs(x - y) / abs(y) for x, y in zip(*rows)) for rows in zip(a, b)]


def summary(p, float32_ends):
    """A final parameter tensor: its largest |p|, a few elements by flat PyTorch index, and how far float32 ends from it."""
    flat = p.flatten()
    indices = [i * (len(flat) - 1) // (PROBES - 1) for i in range(PROBES)]
    drift = max((end.double() - p).abs().max().item() for end in float32_ends)
    values = [flat[i].item() for i in indices]
    return {"max_abs": flat.abs().max().item(), "indices": indices, "values": values, "f32_drift": drift}


def trace(size, dropout):
    f64, end = run(size, dropout, torch.float64)
    f32 = {name: run(size, dropout, torch.float32, *how) for name, how in FLOAT32_RUNS.items()}
    spreads = [relative_differences(rows, f64) for rows, _ in f32.values()]
    print(f"{size}, dropout {dropout}: first row {f64[0]}, last row {f64[-1]}")
    for name, spread in zip(f32, spreads):
        print(f"  {name:16} from float64:", *(f"{x:.0e}" for x in spread))
    return {
        "size": size,
        "depth": DEPTH_OF_SIZE[size],
        "dropout": dropout,
        "f64": f64,
        "f32": {name: rows for name, (rows, _) in f32.items()},
        "f32_spread": [max(step) for step in zip(*spreads)],
        "final_parameters": {name: summary(p, [ends[name] for _, ends in f32.values()]) for name, p in end.items()},
    }


def envelope(spreads):
    """Per step, the largest spread of any trace up to and including that step."""
    worst = [max(step) for step in zip(*spreads)]
    return [max(worst[: i + 1]) for i in range(len(worst))]


def main():
    traces = [trace(size, dropout) for size in DEPTH_OF_SIZE for dropout in (0.0, 0.5)]
    about = {
        "torch": torch.__version__,
        "steps": STEPS,
        "batch": 1,
        "ngf": WIDTH,
        "ndf": WIDTH,
        "pixel_weight": PIXEL_WEIGHT,
        "lr": ADAM["lr"],
        "beta1": ADAM["betas"][0],
        "beta2": ADAM["betas"][1],
        "eps": ADAM["eps"],
        "seed": SEED,
        "parameter_scale": PARAMETER_SCALE,
        "frozen": [f"discriminator.{name}" for name in CANCELLED_BIASES],
        "row": ["d", "adv", "pixel"],
        "f32_envelope": envelope([t["f32_spread"] for t in traces]),
    }
    path = FIXTURES / "traces.json"
    path.write_text(json.dumps({**about, "traces": traces}, indent=1) + "\n")
    print("envelope:", *(f"{x:.0e}" for x in about["f32_envelope"]))
    print(f"{path.name}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()

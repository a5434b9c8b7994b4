"""How far PyTorch's own float32 strays in ten training steps -> the floors in tests/training/traces.rs.

The traces keep three float32 runs each, too few to meet the rare ReLU whose input is so near zero that rounding puts it on
the other side. Here every parameter starts up to one unit in the last place off, many times over: the same training with
other rounding. Prints, for each size and dropout, the largest distance from float64 seen at each step.

    trace_spread.py SIZE RUNS        64 24 and 256 40 gave the floors; minutes
"""

import functools
import sys

import numpy as np
import torch

import make_traces
import models

load_values = models.load_values
draws = torch.Generator()


def load_values_nearby(run, net, prefix, scale):
    load_values(net, prefix, scale)
    draws.manual_seed(100 * run + len(prefix))
    with torch.no_grad():
        for tensor in net.state_dict().values():
            ulps = torch.randint(-1, 2, tensor.shape, generator=draws).to(tensor.dtype)
            tensor.mul_(1 + ulps * 2.0**-23)


def main():
    size, runs = int(sys.argv[1]), int(sys.argv[2])
    for dropout in (0.0, 0.5):
        make_traces.load_values = load_values
        f64, _ = make_traces.run(size, dropout, torch.float64)
        rows = []
        for run in range(runs):
            make_traces.load_values = functools.partial(load_values_nearby, run)
            f32, _ = make_traces.run(size, dropout, torch.float32)
            rows.append(make_traces.relative_differences(f32, f64))
        largest = np.array(rows).max(axis=0)
        print(f"{size}x{size}, dropout {dropout}, {runs} runs:", " ".join(f"{x:.0e}" for x in largest), flush=True)


if __name__ == "__main__":
    main()

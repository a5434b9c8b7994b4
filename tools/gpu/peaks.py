"""Peak rates of a card through PyTorch: matrix products of random numbers and a copy. Prints a JSON line for each."""

import argparse
import json
import statistics
import time

import torch


def milliseconds(work, device, repeat):
    """The median time of `work`, by the GPU's own clock where there is one."""
    times = []
    for _ in range(repeat + 3):
        if device == "cuda":
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            start.record()
            work()
            end.record()
            end.synchronize()
            times.append(start.elapsed_time(end))
        else:
            start = time.perf_counter()
            work()
            times.append((time.perf_counter() - start) * 1e3)
    return statistics.median(times[3:])


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--side", type=int, default=8192)
    parser.add_argument("--copy-gb", type=float, default=4.0)
    parser.add_argument("--repeat", type=int, default=20)
    args = parser.parse_args()

    for name, dtype, tf32 in [
        ("bf16 matrix product", torch.bfloat16, False),
        ("tf32 matrix product", torch.float32, True),
        ("f32 matrix product", torch.float32, False),
    ]:
        torch.backends.cuda.matmul.allow_tf32 = tf32
        a, b = (torch.randn(args.side, args.side, device=args.device, dtype=dtype) for _ in range(2))
        ms = milliseconds(lambda: a @ b, args.device, args.repeat)
        print(json.dumps({"name": name, "ms": ms, "tflop_per_s": 2 * args.side**3 / ms / 1e9}), flush=True)
        del a, b
    source = torch.randn(int(args.copy_gb * 2**28), device=args.device)
    target = torch.empty_like(source)
    ms = milliseconds(lambda: target.copy_(source), args.device, args.repeat)
    rate = 2 * source.nbytes / ms / 1e6
    print(json.dumps({"name": "copy, read and written", "ms": ms, "gb_per_s": rate}), flush=True)


if __name__ == "__main__":
    main()

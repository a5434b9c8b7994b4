"""Times PyTorch's full training step of `pytorch-gan`, 256x256, ngf = ndf = 64, fused Adam, on the CPU or a GPU.

A configuration is a set of words joined by "-": the arithmetic (f32, bf16 autocast, or on a GPU tf32), then any of
  frozen         D takes no weight gradients in the generator step (the source computes and discards them)
  paired         the discriminator step takes real and fake in one batch
  channels_last  parameters and images in NHWC memory
  compiled       torch.compile on both networks (needs a C++ compiler)
  autotuned      torch.compile on both losses with the networks in them, the fastest of several kernels for each op
  graph          the whole step is captured once and replayed as one CUDA graph
On the CPU each configuration runs in a process of its own, so that its peak memory is its own.
"""

import argparse
import gc
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

CONFIGS = {
    "cpu": [
        "f32",
        "f32-frozen",
        "f32-frozen-paired",
        "f32-channels_last",
        "f32-frozen-channels_last",
        "f32-frozen-paired-channels_last",
        "f32-frozen-compiled",
        "f32-frozen-channels_last-compiled",
        "bf16",
        "bf16-frozen",
        "bf16-frozen-channels_last",
        "bf16-frozen-channels_last-compiled",
    ],
    "cuda": [
        "f32",
        "f32-frozen-paired-channels_last-graph",
        "tf32",
        "tf32-channels_last",
        "tf32-frozen-paired-channels_last-graph",
        "bf16",
        "bf16-channels_last",
        "bf16-frozen-paired-channels_last",
        "bf16-frozen-paired-channels_last-graph",
        "bf16-frozen-paired-channels_last-compiled-graph",
        "tf32-frozen-paired-channels_last-compiled-graph",
        "bf16-frozen-paired-compiled-graph",
        "bf16-frozen-paired-channels_last-autotuned-graph",
    ],
}


def peak_mb():
    """The peak resident memory of this process (getrusage would count the parent's before exec)."""
    fields = dict(line.split(":") for line in Path("/proc/self/status").read_text().splitlines())
    return int(fields["VmHWM"].split()[0]) / 1024


def build(words, device, batch, size, width):
    """A function that runs one step of the configuration on random images and returns its loss, a tensor."""
    import torch

    from models import Discriminator, GeneratorUNet
    from train_step import ADAM, LAMBDA_PIXEL, discriminator_loss, generator_loss, mse_to

    torch.manual_seed(0)
    torch.backends.cudnn.benchmark = True
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = words[0] == "tf32"
    layout = torch.channels_last if "channels_last" in words else torch.contiguous_format
    generator, discriminator = GeneratorUNet(ngf=width, depth=min(8, size.bit_length() - 1)), Discriminator(ndf=width)
    for network in (generator, discriminator):
        network.to(device=device, memory_format=layout)
        for name, p in network.named_parameters():
            torch.nn.init.zeros_(p) if name.endswith("bias") else torch.nn.init.normal_(p, 0.0, 0.02)
    options = {**ADAM, "fused": True, "capturable": "graph" in words}
    adam_g = torch.optim.Adam(generator.parameters(), **options)
    adam_d = torch.optim.Adam(discriminator.parameters(), **options)
    if "compiled" in words:
        # Each shape is compiled separately: the discriminator takes one batch and two.
        generator, discriminator = (torch.compile(network, dynamic=False) for network in (generator, discriminator))
    images = (torch.rand(batch, 3, size, size, device=device) * 2 - 1 for _ in range(2))
    condition, image = (values.to(memory_format=layout) for values in images)

    def paired_loss(fake):
        both = discriminator(torch.cat((image, fake.detach())), torch.cat((condition, condition)))
        real, fake = both.chunk(2)
        return 0.5 * (mse_to(real, 1.0) + mse_to(fake, 0.0))

    loss_of_generator = generator_loss
    if "autotuned" in words:
        # Forward and backward passes are compiled together with their losses. Adam is one fused kernel already. Without
        # CUDA graphs of the compiler's own: the whole step is one.
        options = {"dynamic": False, "mode": "max-autotune-no-cudagraphs"}
        loss_of_generator, paired_loss = (torch.compile(loss, **options) for loss in (generator_loss, paired_loss))

    def step():
        autocast = torch.autocast(device, torch.bfloat16, enabled="bf16" in words)
        adam_g.zero_grad()
        if "frozen" in words:
            discriminator.requires_grad_(False)
        with autocast:
            fake, adv, pixel = loss_of_generator(generator, discriminator, condition, image)
            loss = adv + LAMBDA_PIXEL * pixel
        loss.backward()
        adam_g.step()
        discriminator.requires_grad_(True)
        adam_d.zero_grad()
        with autocast:
            paired = "paired" in words
            loss = paired_loss(fake) if paired else discriminator_loss(discriminator, condition, image, fake)
        loss.backward()
        adam_d.step()
        return loss.detach()

    return captured(step) if "graph" in words else step


def captured(step):
    """`step` as one CUDA graph. The choices, compilation and allocation of the first runs come before the capture;
    the compiler takes up to three runs."""
    import torch

    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(5):
            step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        loss = step()

    def replay():
        graph.replay()
        return loss

    return replay


def in_a_row(step, count, on_gpu):
    """The milliseconds of each of `count` steps that are not waited for: on a GPU between two of its events."""
    import torch

    start = time.perf_counter()
    if on_gpu:
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
    for _ in range(count):
        step()
    if on_gpu:
        end.record()
        end.synchronize()
        return begin.elapsed_time(end) / count
    return (time.perf_counter() - start) * 1e3 / count


def measure(config, batch, args):
    import torch

    on_gpu = args.device == "cuda"
    torch.set_num_threads(args.threads)
    if on_gpu:
        torch.compiler.reset()
        gc.collect()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    step = build(config.split("-"), args.device, batch, args.size, args.width)
    for _ in range(args.warm_up):
        step().item()
    times, begin = [], time.perf_counter()
    while len(times) < args.steps and (not times or time.perf_counter() - begin < args.seconds):
        start = time.perf_counter()
        # The loss is read, as in training, so that the clock stops when the step is done.
        step().item()
        times.append((time.perf_counter() - start) * 1e3)
    replays = {"replays": args.replays, "replay_ms": in_a_row(step, args.replays, on_gpu)} if args.replays else {}
    return {
        "config": config,
        "torch": torch.__version__,
        "device": torch.cuda.get_device_name() if on_gpu else "cpu",
        "batch": batch,
        "threads": args.threads,
        "median_ms": statistics.median(times),
        "min_ms": min(times),
        "max_ms": max(times),
        **replays,
        "peak_mb": torch.cuda.max_memory_allocated() / 2**20 if on_gpu else peak_mb(),
        "ms": times,
    }


def report(result, as_json):
    if as_json:
        print(json.dumps(result), flush=True)
    else:
        line = "{config:48} batch {batch:2} median {median_ms:7.1f} ms  min {min_ms:7.1f}  max {max_ms:7.1f}"
        print((line + "  peak {peak_mb:6.0f} MiB").format(**result), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=list(CONFIGS), default="cpu")
    parser.add_argument("--config", default="f32", help="one, several with commas, or all of the device's")
    parser.add_argument("--batch", default="1", help="one, or several with commas")
    parser.add_argument("--size", type=int, default=256, help="pixels of a side")
    parser.add_argument("--width", type=int, default=64, help="channels of the first layers")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=float("inf"), help="begin no further step after that time")
    parser.add_argument("--warm-up", type=int, default=3)
    parser.add_argument("--replays", type=int, default=0, help="also time so many steps in a row, not waited for")
    parser.add_argument("--json", action="store_true", help="one JSON object per configuration and batch, a line each")
    args = parser.parse_args()
    configs = CONFIGS[args.device] if args.config == "all" else args.config.split(",")
    runs = [(config, int(batch)) for config in configs for batch in args.batch.split(",")]
    if args.device == "cpu" and len(runs) > 1:
        for config, batch in runs:
            options = [
                f"--{key.replace('_', '-')}={getattr(args, key)}"
                for key in ("size", "width", "threads", "steps", "seconds", "warm_up", "replays")
            ]
            json_flag = ["--json"] if args.json else []
            command = [sys.executable, __file__, "--config", config, f"--batch={batch}", *options, *json_flag]
            subprocess.run(command, check=True)
        return
    for config, batch in runs:
        report(measure(config, batch, args), args.json)


if __name__ == "__main__":
    main()

"""Times PyTorch's full training step of the `pytorch-gan` recipe on the CPU, 256x256, ngf = ndf = 64, fused Adam.

A configuration is a set of words joined by "-": the arithmetic (f32 or bf16 autocast), then any of
  frozen         D takes no weight gradients in the generator step (the source computes and discards them)
  paired         the discriminator step judges real and fake in one batch
  channels_last  parameters and images in NHWC memory
  compiled       torch.compile on both networks (needs a C++ compiler)
Each configuration runs in a process of its own, so that its peak memory is its own.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

CONFIGS = [
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
]


def peak_mb():
    """The peak resident memory of this process (getrusage would count the parent's before exec)."""
    fields = dict(line.split(":") for line in Path("/proc/self/status").read_text().splitlines())
    return int(fields["VmHWM"].split()[0]) / 1024


def build(words, batch):
    """A function that runs one step of the configuration on random images."""
    import torch

    from models import Discriminator, GeneratorUNet
    from train_step import ADAM, PIXEL_WEIGHT, discriminator_loss, generator_loss, mse_to

    torch.manual_seed(0)
    layout = torch.channels_last if "channels_last" in words else torch.contiguous_format
    generator, discriminator = GeneratorUNet(), Discriminator()
    for network in (generator, discriminator):
        network.to(memory_format=layout)
        for name, p in network.named_parameters():
            torch.nn.init.zeros_(p) if name.endswith("bias") else torch.nn.init.normal_(p, 0.0, 0.02)
    adam_g = torch.optim.Adam(generator.parameters(), **ADAM, fused=True)
    adam_d = torch.optim.Adam(discriminator.parameters(), **ADAM, fused=True)
    if "compiled" in words:
        generator, discriminator = torch.compile(generator), torch.compile(discriminator)
    condition, image = ((torch.rand(batch, 3, 256, 256) * 2 - 1).to(memory_format=layout) for _ in range(2))

    def paired_loss(fake):
        both = discriminator(torch.cat((image, fake.detach())), torch.cat((condition, condition)))
        real, fake = both.chunk(2)
        return 0.5 * (mse_to(real, 1.0) + mse_to(fake, 0.0))

    def step():
        autocast = torch.autocast("cpu", torch.bfloat16, enabled="bf16" in words)
        adam_g.zero_grad()
        if "frozen" in words:
            discriminator.requires_grad_(False)
        with autocast:
            fake, adv, pixel = generator_loss(generator, discriminator, condition, image)
            loss = adv + PIXEL_WEIGHT * pixel
        loss.backward()
        adam_g.step()
        discriminator.requires_grad_(True)
        adam_d.zero_grad()
        with autocast:
            paired = "paired" in words
            loss = paired_loss(fake) if paired else discriminator_loss(discriminator, condition, image, fake)
        loss.backward()
        adam_d.step()
        return loss.item()

    return step


def measure(config, batch, threads, steps, warm_up):
    import torch

    torch.set_num_threads(threads)
    step = build(config.split("-"), batch)
    for _ in range(warm_up):
        step()
    times = []
    for _ in range(steps):
        start = time.perf_counter()
        step()
        times.append((time.perf_counter() - start) * 1e3)
    return {
        "config": config,
        "torch": torch.__version__,
        "batch": batch,
        "threads": threads,
        "median_ms": statistics.median(times),
        "min_ms": min(times),
        "max_ms": max(times),
        "peak_mb": peak_mb(),
        "ms": times,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", default="f32", help=f"one, several with commas, or all ({', '.join(CONFIGS)})")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--warm-up", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="one JSON object per configuration and line")
    args = parser.parse_args()
    configs = CONFIGS if args.config == "all" else args.config.split(",")
    if len(configs) > 1:
        for config in configs:
            options = [f"--{key.replace('_', '-')}={getattr(args, key)}" for key in ("batch", "threads", "steps", "warm_up")]
            json_flag = ["--json"] if args.json else []
            subprocess.run([sys.executable, __file__, "--config", config, *options, *json_flag], check=True)
        return
    result = measure(configs[0], args.batch, args.threads, args.steps, args.warm_up)
    if args.json:
        print(json.dumps(result))
    else:
        line = "{config:34} median {median_ms:7.1f} ms  min {min_ms:7.1f}  max {max_ms:7.1f}  peak {peak_mb:6.0f} MiB"
        print(line.format(**result))


if __name__ == "__main__":
    main()

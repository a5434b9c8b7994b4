"""Times PyTorch's full training step of a recipe, 256x256, ngf = ndf = 64, fused Adam, on the CPU or a GPU.

With --forward, times the generator alone in inference mode, with dropout as in training. A configuration is a set of
words joined by "-": the arithmetic (f32, bf16, or on a GPU tf32), then any of
  frozen         no gradients that the step discards: D takes none for its weights in the generator step, and the fake
                 that block-ck makes for the discriminator step has no tape
  paired         the discriminator step takes real and fake in one batch
  channels_last  parameters and images in NHWC memory
  compiled       torch.compile on both networks (needs a C++ compiler)
  autotuned      torch.compile on both losses with the networks in them, the fastest of several kernels for each op
  graph          the whole step is captured once and replayed as one CUDA graph
  ipex           Intel's extension, intel_extension_for_pytorch: prepacked weights, its fused Adam, in bf16 on weights
                 split into two halves of 16 bits; it asks for AVX-512 in bf16
bf16 is autocast on weights in f32; those of a forward pass are cast once, before it. Training knows frozen and paired
in every recipe, autotuned in pytorch-gan alone, whose generator step begins with its own forward pass. A forward pass
knows none of the three. graph needs a GPU, ipex the CPU, and block-ck has no bf16 training step on a GPU: PyTorch
refuses its loss there. On the CPU each configuration runs in a process of its own, so that its peak memory is its own,
and `isa` is the instruction set that oneDNN chose.
"""

import argparse
import gc
import json
import logging
import os
import re
import statistics
import subprocess
import sys
import time
from pathlib import Path

RECIPES = ["pytorch-gan", "isola", "block-ck"]
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
        "bf16-frozen-paired-channels_last",
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


# The convolution before which oneDNN prints what it runs on. Intel's extension has a oneDNN of its own.
CONVOLUTION = """
import sys, torch
conv = torch.nn.Conv2d(16, 16, 4).eval()
if "ipex" in sys.argv:
    import intel_extension_for_pytorch as ipex
    conv = ipex.optimize(conv)
conv(torch.zeros(1, 16, 8, 8))
"""


def unknown_words(config, args):
    """The words of `config` that have no meaning for the device, the recipe, or a forward pass."""
    on_gpu, training = args.device == "cuda", not args.forward
    known = {"channels_last", "compiled", "graph" if on_gpu else "ipex"}
    if training:
        known |= {"frozen", "paired"}
    if training and args.recipe == "pytorch-gan":
        known.add("autotuned")
    arithmetics = {"f32", "tf32", "bf16"} if on_gpu else {"f32", "bf16"}
    if training and on_gpu and args.recipe == "block-ck":
        arithmetics.remove("bf16")
    arithmetic, *words = config.split("-")
    return ([] if arithmetic in arithmetics else [arithmetic]) + [word for word in words if word not in known]


def peak_mb():
    """The peak resident memory of this process (getrusage would count the parent's before exec)."""
    fields = dict(line.split(":") for line in Path("/proc/self/status").read_text().splitlines())
    return int(fields["VmHWM"].split()[0]) / 1024


def onednn_isa(words):
    """The instruction set that oneDNN chooses in this environment, in its words."""
    command, environment = [sys.executable, "-c", CONVOLUTION, *words], {**os.environ, "ONEDNN_VERBOSE": "1"}
    output = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout
    return re.search(r"^onednn_verbose,.*info,cpu,isa:(.*)$", output, re.MULTILINE)[1]


def make_network(make, words, args, **options):
    """A network with random weights, in the configuration's memory layout."""
    import torch

    layout = torch.channels_last if "channels_last" in words else torch.contiguous_format
    network = make(**options).to(device=args.device, memory_format=layout)
    for name, p in network.named_parameters():
        torch.nn.init.zeros_(p) if name.endswith("bias") else torch.nn.init.normal_(p, 0.0, 0.02)
    return network


def by_ipex(network, words, sample, optimiser=None):
    """The network, with its optimiser if it has one, after ipex.optimize for inputs of the shapes of `sample`."""
    import torch
    import intel_extension_for_pytorch as ipex

    # It warns of its own deprecation.
    logging.getLogger("IPEX").setLevel(logging.ERROR)
    if "channels_last" not in words:
        ipex.disable_auto_channels_last()
    dtype = torch.bfloat16 if "bf16" in words else torch.float32
    options = {"inplace": True, "sample_input": sample, "replace_dropout_with_identity": False}
    return ipex.optimize(network, dtype=dtype, optimizer=optimiser, **options)


def build(words, batch, args):
    """A function that runs one step of the configuration on random images and returns a number of its result, a tensor:
    a loss, or of a forward pass the first value."""
    import torch

    from recipes import RECIPES

    torch.manual_seed(0)
    torch.backends.cudnn.benchmark = True
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = words[0] == "tf32"
    make_generator, make_discriminator, _ = RECIPES[args.recipe]
    depth = min(8, args.size.bit_length() - 1)
    generator = make_network(make_generator, words, args, ngf=args.width, depth=depth)
    layout = torch.channels_last if "channels_last" in words else torch.contiguous_format
    images = (torch.rand(batch, 3, args.size, args.size, device=args.device) * 2 - 1 for _ in range(2))
    condition, image = (values.to(memory_format=layout) for values in images)
    if args.forward:
        step = forward(generator, words, condition)
    else:
        discriminator = make_network(make_discriminator, words, args, ndf=args.width)
        step = training_step(args.recipe, generator, discriminator, words, condition, image)
    return captured(step) if "graph" in words else step


def forward(generator, words, condition):
    import torch

    generator.eval()
    if "ipex" in words:
        generator = by_ipex(generator, words, (condition,))
    elif "bf16" in words:
        generator.to(torch.bfloat16)
    for module in generator.modules():
        module.training = isinstance(module, torch.nn.Dropout)
    if "compiled" in words:
        generator = torch.compile(generator, dynamic=False)

    def step():
        with torch.inference_mode(), torch.autocast(condition.device.type, torch.bfloat16, enabled="bf16" in words):
            return generator(condition).flatten()[0]

    return step


def training_step(recipe, generator, discriminator, words, condition, image):
    import torch

    from train_step import ADAM, LAMBDA_PIXEL, bce_to, discriminator_loss, generator_loss, logits_to, mse_to

    options = ADAM if "ipex" in words else {**ADAM, "fused": True, "capturable": "graph" in words}
    adam_g = torch.optim.Adam(generator.parameters(), **options)
    adam_d = torch.optim.Adam(discriminator.parameters(), **options)
    if "ipex" in words:
        generator, adam_g = by_ipex(generator, words, (condition,), adam_g)
        discriminator, adam_d = by_ipex(discriminator, words, (image, condition), adam_d)
    if "compiled" in words:
        # Each shape is compiled separately: the discriminator takes one batch and two.
        generator, discriminator = (torch.compile(network, dynamic=False) for network in (generator, discriminator))
    gan_loss = {"pytorch-gan": mse_to, "isola": logits_to, "block-ck": bce_to}[recipe]

    def loss_of_generator(generator):
        fake, adv, pixel = generator_loss(generator, discriminator, condition, image, gan_loss)
        return fake, adv + LAMBDA_PIXEL * pixel

    def loss_of_discriminator(fake):
        if "paired" not in words:
            return discriminator_loss(discriminator, condition, image, fake, gan_loss)
        both = discriminator(torch.cat((image, fake.detach())), torch.cat((condition, condition)))
        real, fake = both.chunk(2)
        return 0.5 * (gan_loss(real, 1.0) + gan_loss(fake, 0.0))

    if "autotuned" in words:
        # Forward and backward passes are compiled together with their losses. Adam is one fused kernel already. Without
        # CUDA graphs of the compiler's own: the whole step is one.
        options = {"dynamic": False, "mode": "max-autotune-no-cudagraphs"}
        losses = (loss_of_generator, loss_of_discriminator)
        loss_of_generator, loss_of_discriminator = (torch.compile(loss, **options) for loss in losses)

    autocast = torch.autocast(condition.device.type, torch.bfloat16, enabled="bf16" in words)

    def update_generator(generator):
        adam_g.zero_grad()
        if "frozen" in words:
            discriminator.requires_grad_(False)
        with autocast:
            fake, loss = loss_of_generator(generator)
        loss.backward()
        adam_g.step()
        discriminator.requires_grad_(True)
        return fake

    def update_discriminator(fake):
        adam_d.zero_grad()
        with autocast:
            loss = loss_of_discriminator(fake)
        loss.backward()
        adam_d.step()
        return loss.detach()

    # The order of the updates is that of train_step.py.
    def pytorch_gan():
        return update_discriminator(update_generator(generator))

    def isola():
        with autocast:
            fake = generator(condition)
        loss = update_discriminator(fake)
        update_generator(lambda _: fake)
        return loss

    def block_ck():
        with autocast, torch.set_grad_enabled("frozen" not in words):
            fake = generator(condition)
        loss = update_discriminator(fake)
        update_generator(generator)
        return loss

    return {"pytorch-gan": pytorch_gan, "isola": isola, "block-ck": block_ck}[recipe]


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
    words = config.split("-")
    step = build(words, batch, args)
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
        "recipe": args.recipe,
        "forward": args.forward,
        "torch": torch.__version__,
        "device": torch.cuda.get_device_name() if on_gpu else "cpu",
        "batch": batch,
        "threads": args.threads,
        "median_ms": statistics.median(times),
        "min_ms": min(times),
        "max_ms": max(times),
        **replays,
        **({} if on_gpu else {"isa": onednn_isa(words)}),
        "peak_mb": torch.cuda.max_memory_allocated() / 2**20 if on_gpu else peak_mb(),
        "ms": times,
    }


def report(result, as_json):
    if as_json:
        print(json.dumps(result), flush=True)
    else:
        line = "{config:48} batch {batch:2} median {median_ms:7.1f} ms  min {min_ms:7.1f}  max {max_ms:7.1f}"
        isa = f"  {result['isa']}" if "isa" in result else ""
        print((line + "  peak {peak_mb:6.0f} MiB").format(**result) + isa, flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=list(CONFIGS), default="cpu")
    parser.add_argument("--config", default="f32", help="one, several with commas, or all of the device's")
    parser.add_argument("--recipe", choices=RECIPES, default="pytorch-gan")
    parser.add_argument("--forward", action="store_true", help="time the generator's forward pass alone")
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
    configs = args.config.split(",")
    if args.config == "all":
        configs = [config for config in CONFIGS[args.device] if not unknown_words(config, args)]
    for config in configs:
        if unknown := unknown_words(config, args):
            work = f"{'a forward pass' if args.forward else 'a training step'} of {args.recipe} on {args.device}"
            parser.error(f"--config {config}: {work} does not know {', '.join(map(repr, unknown))}")
    runs = [(config, int(batch)) for config in configs for batch in args.batch.split(",")]
    if args.device == "cpu" and len(runs) > 1:
        for config, batch in runs:
            options = [
                f"--{key.replace('_', '-')}={getattr(args, key)}"
                for key in ("recipe", "size", "width", "threads", "steps", "seconds", "warm_up", "replays")
            ]
            options += [f"--{key}" for key in ("forward", "json") if getattr(args, key)]
            command = [sys.executable, __file__, "--config", config, f"--batch={batch}", *options]
            subprocess.run(command, check=True)
        return
    for config, batch in runs:
        report(measure(config, batch, args), args.json)


if __name__ == "__main__":
    main()

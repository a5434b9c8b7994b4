"""Times JAX's full training step of `pytorch-gan`, 256x256, ngf = ndf = 64, as one jit, on the CPU or a GPU.

The networks of models.py, layer by layer, and the step of train_step.py: the generator first, then the discriminator on
the same fake, real and fake in one batch. Pictures are NHWC. `bf16` casts parameters and activations to bf16 for the
convolutions; norms, losses and Adam are f32, as are the parameters themselves.
"""

import argparse
import json
import math
import statistics
import time
from functools import partial

import jax
import jax.numpy as jnp
from jax import lax

LAMBDA_PIXEL = 100
LEARNING_RATE, BETA1, BETA2, EPSILON = 2e-4, 0.5, 0.999, 1e-8
# Of the full-size networks, as models.py counts them.
PARAMETERS = {"generator": 54_404_099, "discriminator": 2_767_808}
LAYOUT = ("NHWC", "HWIO", "NHWC")


def generator_shapes(width, depth):
    """{layer: shape of its weight}, kernels as height, width, channels in and out of the convolution; those of
    transposed convolutions have the same order for the convolution that they are the gradient of."""
    channels = [3] + [width * min(2**i, 8) for i in range(depth)]
    shapes = {f"down{i}": (4, 4, channels[i - 1], channels[i]) for i in range(1, depth + 1)}
    for j in range(1, depth):
        into = channels[depth] if j == 1 else 2 * channels[depth - j + 1]
        shapes[f"up{j}"] = (4, 4, channels[depth - j], into)
    return {**shapes, "final": (4, 4, 2 * width, 3), "final.bias": (3,)}


def discriminator_shapes(width):
    channels = [6, width, 2 * width, 4 * width, 8 * width]
    shapes = {}
    for i in range(1, 5):
        shapes |= {f"block{i}": (4, 4, channels[i - 1], channels[i]), f"block{i}.bias": (channels[i],)}
    return {**shapes, "last": (4, 4, 8 * width, 1)}


def count(shapes):
    return sum(math.prod(shape) for shape in shapes.values())


def initial(shapes, seed):
    keys = dict(zip(shapes, jax.random.split(jax.random.key(seed), len(shapes))))
    return {
        name: jnp.zeros(shape) if name.endswith("bias") else 0.02 * jax.random.normal(keys[name], shape)
        for name, shape in shapes.items()
    }


def conv(x, weight, stride, padding):
    return lax.conv_general_dilated(x, weight.astype(x.dtype), (stride, stride), padding, dimension_numbers=LAYOUT)


def conv_transposed(x, weight):
    padding = ((2, 2), (2, 2))
    return lax.conv_transpose(
        x, weight.astype(x.dtype), (2, 2), padding, dimension_numbers=LAYOUT, transpose_kernel=True
    )


def instance_norm(x):
    values = x.astype(jnp.float32)
    mean = values.mean((1, 2), keepdims=True)
    variance = ((values - mean) ** 2).mean((1, 2), keepdims=True)
    return ((values - mean) * lax.rsqrt(variance + 1e-5)).astype(x.dtype)


def dropout(x, key, p):
    return jnp.where(jax.random.bernoulli(key, 1 - p, x.shape), x / (1 - p), 0).astype(x.dtype) if p else x


SAME = ((1, 1), (1, 1))
# Behind a row above and a column to the left of it.
SAME_OF_FOUR = ((2, 1), (2, 1))


def generator(parameters, x, depth, keys, p):
    """Pictures between -1 and 1, in f32."""
    skips = []
    for i in range(1, depth + 1):
        x = conv(x, parameters[f"down{i}"], 2, SAME)
        x = instance_norm(x) if 1 < i < depth else x
        x = jax.nn.leaky_relu(x, 0.2)
        if i >= 4:
            x = dropout(x, keys[i], p)
        skips.append(x)
    for j in range(1, depth):
        x = jax.nn.relu(instance_norm(conv_transposed(x, parameters[f"up{j}"])))
        if j <= depth - 4:
            x = dropout(x, keys[depth + j], p)
        x = jnp.concatenate((x, skips[depth - j - 1]), -1)
    x = jnp.repeat(jnp.repeat(x, 2, 1), 2, 2)
    x = conv(x, parameters["final"], 1, SAME_OF_FOUR).astype(jnp.float32)
    return jnp.tanh(x + parameters["final.bias"])


def discriminator(parameters, image, condition, dtype):
    """A map of scores, in f32."""
    x = jnp.concatenate((image, condition), -1).astype(dtype)
    for i in range(1, 5):
        x = conv(x, parameters[f"block{i}"], 2, SAME) + parameters[f"block{i}.bias"].astype(dtype)
        x = instance_norm(x) if i > 1 else x
        x = jax.nn.leaky_relu(x, 0.2)
    return conv(x, parameters["last"], 1, SAME_OF_FOUR).astype(jnp.float32)


def mse_to(prediction, target):
    return ((prediction - target) ** 2).mean()


def adam(values, gradients, first, second, step):
    """PyTorch's Adam: (values, first, second) after the step, counted from 1."""
    first = jax.tree.map(lambda m, g: BETA1 * m + (1 - BETA1) * g, first, gradients)
    second = jax.tree.map(lambda v, g: BETA2 * v + (1 - BETA2) * g * g, second, gradients)
    correction1, correction2 = 1 - BETA1**step, jnp.sqrt(1 - BETA2**step)
    values = jax.tree.map(
        lambda p, m, v: p - LEARNING_RATE / correction1 * m / (jnp.sqrt(v) / correction2 + EPSILON),
        values,
        first,
        second,
    )
    return values, first, second


def training_step(state, condition, image, *, depth, dtype, p):
    """(state, (d, adv, pixel)) after a step. `state`: networks by name, each (parameters, first moment, second moment);
    the number of steps done; the key of the dropout."""
    step, key = state["step"] + 1, state["key"]
    keys = jax.random.split(key, 2 * depth + 1)
    of_generator, of_discriminator = state["generator"], state["discriminator"]

    def generator_loss(parameters):
        fake = generator(parameters, condition.astype(dtype), depth, keys, p)
        adv = mse_to(discriminator(of_discriminator[0], fake, condition, dtype), 1.0)
        pixel = jnp.abs(fake - image).mean()
        return adv + LAMBDA_PIXEL * pixel, (fake, adv, pixel)

    (_, (fake, adv, pixel)), gradients = jax.value_and_grad(generator_loss, has_aux=True)(of_generator[0])
    of_generator = adam(of_generator[0], gradients, *of_generator[1:], step)

    def discriminator_loss(parameters):
        both = discriminator(parameters, jnp.concatenate((image, fake)), jnp.concatenate((condition, condition)), dtype)
        real, made = jnp.split(both, 2)
        return 0.5 * (mse_to(real, 1.0) + mse_to(made, 0.0))

    d, gradients = jax.value_and_grad(discriminator_loss)(of_discriminator[0])
    of_discriminator = adam(of_discriminator[0], gradients, *of_discriminator[1:], step)
    state = {"generator": of_generator, "discriminator": of_discriminator, "step": step, "key": keys[0]}
    return state, (d, adv, pixel)


def first_state(width, depth):
    zeros = partial(jax.tree.map, jnp.zeros_like)
    networks = {
        "generator": initial(generator_shapes(width, depth), 0),
        "discriminator": initial(discriminator_shapes(width), 1),
    }
    state = {name: (values, zeros(values), zeros(values)) for name, values in networks.items()}
    return {**state, "step": jnp.float32(0), "key": jax.random.key(2)}


def measure(config, batch, args):
    depth = min(8, args.size.bit_length() - 1)
    dtype = {"f32": jnp.float32, "bf16": jnp.bfloat16}[config]
    state = first_state(args.width, depth)
    images = (jax.random.uniform(jax.random.key(i), (batch, args.size, args.size, 3), minval=-1.0) for i in (3, 4))
    condition, image = jax.block_until_ready(tuple(images))
    start = time.perf_counter()
    step = jax.jit(partial(training_step, depth=depth, dtype=dtype, p=0.5), donate_argnums=0)
    step = step.lower(state, condition, image).compile()
    compiled = time.perf_counter() - start
    for _ in range(args.warm_up):
        state, losses = step(state, condition, image)
        float(losses[0])
    times, begin = [], time.perf_counter()
    while len(times) < args.steps and (not times or time.perf_counter() - begin < args.seconds):
        start = time.perf_counter()
        state, losses = step(state, condition, image)
        # A loss is read, as in training, so that the clock stops when the step is done.
        float(losses[0])
        times.append((time.perf_counter() - start) * 1e3)
    # JAX gives no events: the clock is the host's, from one moment at which the GPU has nothing to do to the next.
    jax.block_until_ready(state)
    start = time.perf_counter()
    for _ in range(args.replays):
        state, losses = step(state, condition, image)
    jax.block_until_ready(state)
    replays = (time.perf_counter() - start) * 1e3 / args.replays
    assert all(math.isfinite(float(loss)) for loss in losses), "a loss is not finite"
    return {
        "config": f"jax-{config}",
        "jax": jax.__version__,
        "device": jax.devices()[0].device_kind,
        "batch": batch,
        "median_ms": statistics.median(times),
        "min_ms": min(times),
        "max_ms": max(times),
        "replays": args.replays,
        "replay_ms": replays,
        "compile_s": compiled,
        "ms": times,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--config", default="bf16", help="bf16 or f32, or both with a comma")
    parser.add_argument("--batch", default="1", help="one, or several with commas")
    parser.add_argument("--size", type=int, default=256, help="pixels of a side")
    parser.add_argument("--width", type=int, default=64, help="channels of the first layers")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=float("inf"), help="begin no further step after that time")
    parser.add_argument("--warm-up", type=int, default=3)
    parser.add_argument("--replays", type=int, default=20, help="steps in a row, of which none is waited for")
    parser.add_argument("--json", action="store_true", help="one JSON object per configuration and batch, a line each")
    args = parser.parse_args()
    jax.config.update("jax_platforms", args.device)
    # The generator of the GPU, which PyTorch's dropout uses as well, in place of one that is the same everywhere.
    jax.config.update("jax_default_prng_impl", "rbg")
    found = {"generator": count(generator_shapes(64, 8)), "discriminator": count(discriminator_shapes(64))}
    assert found == PARAMETERS, f"{found} parameters, not {PARAMETERS}"
    for config in args.config.split(","):
        for batch in args.batch.split(","):
            result = measure(config, int(batch), args)
            if args.json:
                print(json.dumps(result), flush=True)
            else:
                line = "{config:10} batch {batch:2} median {median_ms:7.1f} ms  in a row {replay_ms:7.1f} ms a step"
                print((line + "  compiled in {compile_s:.0f} s").format(**result), flush=True)


if __name__ == "__main__":
    main()

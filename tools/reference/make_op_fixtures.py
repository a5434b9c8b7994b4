"""Every row of tests/op_table.toml, computed in float64 by PyTorch -> tests/fixtures/ops.safetensors.

A row's function takes the row and a dtype and returns its named results. Running it in float32 as well gives the spread
that float32 arithmetic itself causes, which the file's metadata records.
"""

import tomllib

import torch
import torch.nn.functional as F

from fixture import OP_TABLE, save, spread, tensor
from philox import keep_mask

ACTIVATIONS = {"none": lambda x: x, "relu": F.relu, "leaky_relu": lambda x: F.leaky_relu(x, 0.2)}


def gradients(case, y, inputs):
    """Back-propagates the row's upstream gradient `dy`: {"y", "dx", ...} for `inputs` {"x": leaf, ...}."""
    y.backward(tensor(f"{case['name']}.dy", y.shape, y.dtype))
    return {"y": y, **{f"d{name}": leaf.grad for name, leaf in inputs.items()}}


def image(case, dtype, channels="c"):
    return tensor(f"{case['name']}.x", (case["n"], case[channels], case["h"], case["w"]), dtype, grad=True)


def weights(case, dtype, shape, c_out):
    inputs = {"w": tensor(f"{case['name']}.w", shape, dtype, 0.25, grad=True)}
    if case.get("bias", True):
        inputs["b"] = tensor(f"{case['name']}.b", (c_out,), dtype, 0.25, grad=True)
    return inputs


def conv(case, dtype):
    c_in, c_out = case["c_in"], case["c_out"]
    inputs = {"x": image(case, dtype, "c_in"), **weights(case, dtype, (c_out, c_in, *case["kernel"]), c_out)}
    top, left, bottom, right = case["pad"]
    padded = F.pad(inputs["x"], (left, right, top, bottom))
    geometry = {"stride": case["stride"], "dilation": case.get("dilation", 1)}
    return gradients(case, F.conv2d(padded, inputs["w"], inputs.get("b"), **geometry), inputs)


def conv_transpose(case, dtype):
    c_in, c_out = case["c_in"], case["c_out"]
    inputs = {"x": image(case, dtype, "c_in"), **weights(case, dtype, (c_in, c_out, *case["kernel"]), c_out)}
    geometry = {"stride": case["stride"], "padding": case["pad"], "dilation": case.get("dilation", 1)}
    y = F.conv_transpose2d(inputs["x"], inputs["w"], inputs.get("b"), **geometry)
    return gradients(case, y, inputs)


def norm_act(case, dtype):
    inputs = {"x": image(case, dtype)}
    if case.get("affine"):
        inputs |= {name: tensor(f"{case['name']}.{name}", (case["c"],), dtype, 0.25, grad=True) for name in "gb"}
    y = inputs["x"]
    if case["norm"]:
        y = F.instance_norm(y, weight=inputs.get("g"), bias=inputs.get("b"), eps=1e-5)
    y = ACTIVATIONS[case["act"]](y)
    n, c, h, w = y.shape
    first = case.get("first_image", 0)
    mask = keep_mask(7, 3, 1, 2, (first + n, h, w, c), case["dropout"])[first:]
    return gradients(case, y * torch.from_numpy(mask).to(dtype), inputs)


def tanh(case, dtype):
    x = image(case, dtype)
    return gradients(case, torch.tanh(x), {"x": x})


def sigmoid(case, dtype):
    x = image(case, dtype)
    return gradients(case, torch.sigmoid(x), {"x": x})


def upsample_conv(case, dtype):
    c_in, c_out = case["c_in"], case["c_out"]
    inputs = {"x": image(case, dtype, "c_in"), **weights(case, dtype, (c_out, c_in, 4, 4), c_out)}
    padded = F.pad(F.interpolate(inputs["x"], scale_factor=2), (1, 0, 1, 0))
    return gradients(case, F.conv2d(padded, inputs["w"], inputs["b"], padding=1), inputs)


def loss(case, x, value):
    (case["weight"] * value).backward()
    return {"value": value, "dx": x.grad}


def mse(case, dtype):
    x = image(case, dtype)
    return loss(case, x, F.mse_loss(x, torch.full_like(x, case["target"])))


def bce(case, dtype):
    drawn = image(case, dtype).detach()
    x = torch.full_like(drawn, case["x"]) if "x" in case else (drawn / 2 + 0.5).clamp(0.125, 0.875)
    x.requires_grad_()
    return loss(case, x, F.binary_cross_entropy(x, torch.full_like(x, case["target"])))


def bce_logits(case, dtype):
    x = (image(case, dtype).detach() * case["scale"]).requires_grad_()
    return loss(case, x, F.binary_cross_entropy_with_logits(x, torch.full_like(x, case["target"])))


def l1(case, dtype):
    x = image(case, dtype)
    return loss(case, x, F.l1_loss(x, tensor(f"{case['name']}.t", x.shape, dtype)))


def l2(case, dtype):
    x = image(case, dtype)
    return loss(case, x, F.mse_loss(x, tensor(f"{case['name']}.t", x.shape, dtype)))


def adam(case, dtype):
    name, shape = case["name"], (case["len"],)
    p = tensor(f"{name}.p", shape, dtype, grad=True)
    optimiser = torch.optim.Adam([p], case["lr"], (case["beta1"], case["beta2"]), case["eps"])
    for step in range(case["steps"]):
        p.grad = tensor(f"{name}.g{step}", shape, dtype)
        optimiser.step()
    return {"p": p}


OPS = (conv, conv_transpose, norm_act, tanh, sigmoid, upsample_conv, mse, bce, bce_logits, l1, l2, adam)
OPS = {f.__name__: f for f in OPS}


def main():
    cases = tomllib.loads(OP_TABLE.read_text())["case"]
    assert len({case["name"] for case in cases}) == len(cases), "a name occurs twice"
    results, spreads = {}, {}
    for case in cases:
        f64, f32 = OPS[case["op"]](case, torch.float64), OPS[case["op"]](case, torch.float32)
        for key, value in f64.items():
            results[f"{case['name']}/{key}"] = value
            spreads[f"{case['name']}/{key}"] = spread(f32[key], value)
    save("ops.safetensors", results, {"torch": torch.__version__, "f32_spread": spreads})
    worst = sorted(spreads.items(), key=lambda item: -item[1])[:5]
    print(f"{len(cases)} rows; largest float32 spreads:", *(f"  {key} {value:.1e}" for key, value in worst), sep="\n")


if __name__ == "__main__":
    main()

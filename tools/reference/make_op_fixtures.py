"""Every row of tests/ops/kinds/*.rs, computed in float64 by PyTorch -> tests/fixtures/ops.safetensors.

Each of these files holds the rows of its op (`const CASES`) and a computation in PyTorch for one row (`const PYTORCH`).
In that Python the row's fields stand under their names, `x` is the input image and n, c, h, w are its sizes. It sets
`y`, an output image that the upstream gradient `dy` is taken back through, or `value`, a loss, or `p`, updated
parameters. A run in float32 as well gives the spread that float32 arithmetic itself causes, which the file's metadata
records.
"""

import re
import tomllib

import torch
import torch.nn.functional as F

from fixture import ROOT, save, spread, tensor
from philox import keep_mask

KINDS = ROOT / "tests/ops/kinds"


def constant(source, name):
    """The text of a `const NAME: &str` in a raw string of a Rust source; none if it is not there."""
    found = re.search(rf'const {name}: &str = r#"\n(.*?)"#;', source, re.DOTALL)
    return found and found[1]


def rows(table):
    """[{column: value}] of a table: a line of columns, then a line for each row. `-` is left out, strings are bare."""
    lines = [line for line in table.splitlines() if line.strip() and not line.startswith("#")]
    columns = lines[0].split()

    def value(text):
        if text == "-":
            return None
        bare = text[0].isalpha() and text not in ("true", "false")
        return text if bare else tomllib.loads(f"value = {text}")["value"]

    parsed = [dict(zip(columns, map(value, line.split()), strict=True)) for line in lines[1:]]
    assert parsed, "a table without rows"
    return parsed


def results(case, code, dtype):
    """The named results of one row."""
    name, leaves = case["name"], {}

    def leaf(data):
        return data.detach().requires_grad_()

    def given(tag, shape=None):
        return tensor(f"{name}.{tag}", shape or (n, c, h, w), dtype)

    def parameter(tag, shape):
        leaves[tag] = tensor(f"{name}.{tag}", shape, dtype, 0.25, grad=True)
        return leaves[tag]

    names = dict(case, torch=torch, F=F, keep_mask=keep_mask, dtype=dtype, leaf=leaf, given=given, parameter=parameter)
    if "x" in case:
        n, h, w, c = case["x"]
        names.update(n=n, c=c, h=h, w=w, x=tensor(f"{name}.x", (n, c, h, w), dtype, grad=True))
    exec(code, names)
    if "y" in names:
        y = names["y"]
        y.backward(tensor(f"{name}.dy", y.shape, dtype))
        leaves["x"] = names["x"]
        return {"y": y, **{f"d{tag}": tensor_.grad for tag, tensor_ in leaves.items()}}
    if "value" in names:
        (case["weight"] * names["value"]).backward()
        return {"value": names["value"], "dx": names["x"].grad}
    return {"p": names["p"]}


def main():
    tensors, spreads, count = {}, {}, 0
    for path in sorted(KINDS.glob("*.rs")):
        source = path.read_text()
        table, code = constant(source, "CASES"), constant(source, "PYTORCH")
        assert (table is None) == (code is None), f"{path.name} has rows or what PyTorch computes, and not both"
        for case in rows(table) if table else []:
            f64, f32 = results(case, code, torch.float64), results(case, code, torch.float32)
            count += 1
            for key, value in f64.items():
                key = f"{case['name']}/{key}"
                assert key not in tensors, f"{key} occurs twice"
                tensors[key], spreads[key] = value, spread(f32[key.split('/')[1]], value)
    save("ops.safetensors", tensors, {"torch": torch.__version__, "f32_spread": spreads})
    worst = sorted(spreads.items(), key=lambda item: -item[1])[:5]
    print(f"{count} rows; largest float32 spreads:", *(f"  {key} {value:.1e}" for key, value in worst), sep="\n")


if __name__ == "__main__":
    main()

"""The two parts for a machine that is lent for a quarter of an hour, what matters most first.

lease-ours measures what only a GPU knows: its peaks, the constants of the time model, what the instructions of ptx.cuh
do, that the kernels are right, and how long they take. lease-peers measures what others reach on the same card.
"""

import json
import sys
import tomllib

from correct import beside_pytorch, gpu_tests, trained_alike
from counters import Simulated, against_simulator
from micro import constants
from part import HERE, KERNELS, PAIRS, Problem, Skip, ensure, json_lines, no_result
from speed import datasheet, measured_peaks, our_kernels, our_step, peaks_of, pytorch_steps

# Seconds of a part, of the 600 that one call may take.
SECONDS = 330

BATCHES = [1, 4, 16]

# The peers: name, script, configuration, batches, seconds. Compiling takes the most of it, once for each batch.
PEERS = [
    ("PyTorch, one graph", "bench_step.py", "bf16-frozen-paired-channels_last-graph", [1, 4, 16], 35),
    ("PyTorch, compiled", "bench_step.py", "bf16-frozen-paired-channels_last-compiled-graph", [1, 16], 75),
    ("JAX", "bench_step_jax.py", "bf16", [1, 16, 4], 75),
    ("PyTorch, max-autotune", "bench_step.py", "bf16-frozen-paired-channels_last-autotuned-graph", [1], 90),
    ("PyTorch, tf32", "bench_step.py", "tf32-frozen-paired-channels_last-graph", [1, 4, 16], 30),
]
DRY_PEERS = [
    ("PyTorch", "bench_step.py", "bf16-frozen-paired-channels_last", [1], 60),
    ("JAX", "bench_step_jax.py", "bf16", [1], 100),
]


def machine(part):
    """Name, driver and clocks, as nvidia-smi gives them."""
    fields = "name,driver_version,memory.total,clocks.sm,clocks.max.sm,clocks.mem,clocks.max.mem,power.limit"
    query = ["nvidia-smi", f"--query-gpu={fields}", "--format=csv,noheader,nounits"]
    try:
        status, text = part.run(query, 20)
    except Problem as problem:
        raise Skip(f"{problem}") from problem
    ensure(status, text, "nvidia-smi")
    values = text.strip().splitlines()[0].split(", ")
    data = dict(zip(fields.split(","), values))
    data["datasheet"] = datasheet(data["name"])
    known = "" if data["datasheet"] else "; neither an H100 nor an H200: no datasheet to compare with"
    return f"{data['name']}, driver {data['driver_version']}, at most {data['clocks.max.sm']} MHz{known}", data


def peaks(part):
    said, found = measured_peaks(part)
    sheet = datasheet((part.about["card"] or ""))
    reached = peaks_of({"data": found})
    if sheet and reached:
        shares = reached["tb_per_s"] / sheet[0], reached["tflop_per_s"] / sheet[1]
        said += f"; {shares[0]:.0%} and {shares[1]:.0%} of the datasheet's memory and bf16 rates"
    return said, found


def model_constants(part, limit):
    """The micro-benchmarks, and the constants that follow, beside those of gpu.toml."""
    command = [sys.executable, HERE / "micro.py", KERNELS, *["--dry-run"][: part.options.dry_run]]
    status, text = part.run(command, limit)
    lines = json_lines(text)
    if not lines:
        no_result(status, text, "micro.py")
    before = tomllib.loads((HERE / "gpu.toml").read_text())
    found = constants(lines)
    missing = sorted(set(found) - set(before))
    if missing:
        raise Problem(f"gpu.toml has no {', '.join(missing)}")
    rows = {name: {"value": value, "how": how, "before": before[name]["value"]} for name, (value, how) in found.items()}
    data = {"measurements": lines, "constants": rows}
    failed = [f"{line['name']}: {line['failed']}" for line in lines if "failed" in line]
    (part.results / "constants.json").write_text(json.dumps(data, indent=1))
    if failed:
        raise Problem(f"{len(lines)} measurements, then {failed[0]}")
    if status != 0:
        raise Problem(f"{len(lines)} measurements; micro.py " + ("took too long" if status is None else "failed"))
    refused = sum("refused" in line for line in lines)
    of = sum(isinstance(row, dict) for row in before.values())
    said = f"{len(lines)} measurements, which give {len(rows)} of the model's {of} constants"
    return said + (f"; the driver refused {refused}" if refused else ""), data


def probes(part, limit):
    """The registers and memory that each instruction of ptx.cuh leaves, in wrappers.json."""
    file = part.results / "wrappers.json"
    status, text = part.run([sys.executable, HERE / "wrappers.py", KERNELS, file], limit)
    ensure(status, text, "wrappers.py")
    found = json_lines(text)
    if not found:
        no_result(status, text, "wrappers.py")
    return f"{found[-1]['probes']} probes; for tools/cudasim/tests/wrappers.json", None


def lease_ours(part):
    tiny, run = part.options.dry_run, part.scratch / "gpu"
    # On a core of its own, until the last check needs it. In a dry run it counts a run that is not there yet.
    counting = None if tiny else Simulated(part, "pytorch-gan")
    part.check("machine", lambda: machine(part))
    peak_row = part.check("copy and matrix peaks", lambda: peaks(part))
    measured = peaks_of(peak_row)
    part.check("constants of the time model", lambda: model_constants(part, 60))
    part.check("probes of instructions", lambda: probes(part, 20))
    # In a dry run part correct does the op table.
    tests = ["cuda::cast"] if tiny else ["cuda::cast", "cuda::ops", "cuda::pairs"]
    part.check("op table on the GPU", lambda: gpu_tests(part, tests, 50))
    settings = {"data": PAIRS, "direction": "a-to-b", "sample-every": 1000, "save-every": 1000, "keep": 1}
    size, width, steps = (64, 8, 3) if tiny else (256, 16, 10)
    settings |= {"image-size": size, "ngf": width, "ndf": width, "steps": steps}
    part.check("ten steps, GPU against CPU", lambda: trained_alike(part, part.scratch, settings, 40))
    part.check("ten steps, against PyTorch", lambda: beside_pytorch(part, 45))
    for batch in BATCHES[:1] if tiny else BATCHES:
        part.check(f"step, batch {batch}, as a graph", lambda: our_step(part, batch, True, 25, measured))
    for batch in BATCHES[:1] if tiny else BATCHES:
        part.check(f"kernels, batch {batch}", lambda: our_kernels(part, batch, run, 25))
    counting = counting or Simulated(part, run)
    part.check("ncu against the simulator", lambda: against_simulator(part, counting, 60))
    counting.stop()


def lease_peers(part):
    tiny = part.options.dry_run
    measured = peaks_of(part.check("copy and matrix peaks", lambda: peaks(part)))
    for batch in BATCHES[:1] if tiny else BATCHES:
        part.check(f"step, batch {batch}, as a graph", lambda: our_step(part, batch, True, 20, measured))
    for name, script, config, batches, limit in DRY_PEERS if tiny else PEERS:
        part.check(f"{name} ({config})", lambda: pytorch_steps(part, config, batches, limit, measured, script))

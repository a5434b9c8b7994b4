"""Peaks, latencies and step times, PyTorch's beside ours."""

import json
import statistics
import sys

from part import HERE, REFERENCE, SIMULATOR, Problem, Skip, ensure, json_lines, last_line, needs, no_result, simulated

BATCHES = [1, 4, 16, 64]

# Steps in a row between two events.
REPLAYS = 20

# A training step of pytorch-gan: floating-point operations of one pair of pictures, parameters of both networks, and
# the bytes that Adam's f32 state (parameter, first and second moment) has to be read and written.
STEP_GFLOP = 60.4
PARAMETERS = 57_171_907
STATE_BYTES = 24

# TB/s and TFLOP/s of dense bf16 on the datasheets, by words of the card's name; the first that fits.
DATASHEETS = [
    (("H200",), 4.8, 989),
    (("H100", "NVL"), 3.9, 835),
    (("H100", "PCIe"), 2.0, 756),
    (("H100",), 3.35, 989),
]


def datasheet(card):
    """(TB/s, TFLOP/s) of a card, or None for one that is neither an H100 nor an H200."""
    for words, memory, tensor in DATASHEETS:
        if all(word in (card or "") for word in words):
            return memory, tensor
    return None


def floor_ms(peaks, batch):
    """The time below which no step with f32 state comes on this card: by the rate of its matrix products in bf16, or
    by that of its copies. None where the peaks are not known."""
    if not peaks:
        return None
    tensor = batch * STEP_GFLOP / peaks["tflop_per_s"]
    return max(tensor, PARAMETERS * STATE_BYTES / 1e9 / peaks["tb_per_s"])


def in_floors(ms, peaks, batch):
    floor = floor_ms(peaks, batch)
    return f", {ms / floor:.2f} floors" if floor else ""


def rates(part, command, limit, what):
    status, text = part.run(command, limit)
    found = json_lines(text)
    if not found:
        no_result(status, text, what)
    units = {"tflop_per_s": "{:.0f} TFLOP/s", "gb_per_s": "{:.0f} GB/s", "microseconds": "{:.2f} us"}
    rows = [(line, unit) for line in found for unit in units if unit in line]
    numbers = [(line["name"], units[unit].format(line[unit])) for line, unit in rows]
    return ", ".join(f"{name} {number}" for name, number in numbers), found


def measured_peaks(part):
    needs("torch")
    tiny = ["--device=cpu", "--side=64", "--copy-gb=0.001", "--repeat=1"] if part.options.dry_run else []
    return rates(part, [sys.executable, "-W", "ignore", HERE / "peaks.py", *tiny], 60, "peaks.py")


def peaks_of(row):
    """{tflop_per_s, tb_per_s} of a row that measured_peaks made, or None."""
    found = {line["name"]: line for line in row["data"] or []}
    product, copy = found.get("bf16 matrix product"), found.get("copy, read and written")
    if not product or not copy:
        return None
    return {"tflop_per_s": product["tflop_per_s"], "tb_per_s": copy["gb_per_s"] / 1e3}


def our_rates(part):
    tiny = ["--launches=20", "--elements=10000", "--repeat=3"] if part.options.dry_run else []
    return rates(part, [part.bin / "gpu_rates", *tiny], 60, "gpu_rates")


def our_step(part, batch, graph, limit, peaks=None):
    """Our step, each waited for, and several in a row between two events."""
    tiny = ["--size=64", "--width=4"] if part.options.dry_run else []
    command = [part.bin / "step_time", "--device=cuda", f"--batch={batch}", "--steps=30", "--seconds=6", *tiny]
    command.append(f"--replays={2 if part.options.dry_run else REPLAYS}")
    status, text = part.run(command + ([] if graph else ["--no-graph"]), limit)
    lines = json_lines(text)
    times = [line["ms"] for line in lines if "ms" in line]
    if not times:
        no_result(status, text, "step_time")
    numbers = {key: line[key] for line in lines for key in ("planned_mb", "replays", "replay_ms") if key in line}
    if "replay_ms" not in numbers:
        no_result(status, text, "step_time --replays")
    data = {"batch": batch, "graph": graph, "median_ms": statistics.median(times), "min_ms": min(times)}
    data |= {"steps": len(times), "memory_mb": numbers.get("planned_mb"), **numbers}
    data["floor_ms"] = floor_ms(peaks, batch)
    text = f"{data['replay_ms']:.3f} ms ({numbers['replays']} in a row){in_floors(data['replay_ms'], peaks, batch)}"
    return f"{text}; {data['median_ms']:.3f} ms each waited for (median of {len(times)})", data


def profile_of(text):
    """The object that pixtape profile --json prints last, behind its progress."""
    begin = text.find("\n{\n")
    try:
        return json.JSONDecoder().raw_decode(text, begin + 1)[0] if begin >= 0 else None
    except json.JSONDecodeError:
        return None


def our_kernels(part, batch, run, limit):
    """Our step by kernel, as pixtape profile measures it. In a dry run it counts, on the simulated driver that does,
    the step of `run`."""
    environment = {"LD_LIBRARY_PATH": str(SIMULATOR)} if part.options.dry_run else {}
    what = run if part.options.dry_run else "pytorch-gan"
    command = [part.bin / "pixtape", "profile", what, "--device", "cuda", "--batch", batch, "--json"]
    status, text = part.run(command, limit, {**simulated(part), **environment})
    ensure(status, text, "pixtape profile")
    profile = profile_of(text)
    if not profile or not profile["kernels"]:
        raise Problem(f"pixtape profile printed no profile: {last_line(text)}")
    key = "model_us" if part.options.dry_run else "us"
    rows = [{**row, "lines": None, "parts": None} for row in profile["kernels"]]
    missing = sum(row[key] is None for row in rows)
    if missing:
        raise Problem(f"{missing} of {len(rows)} kernels have no {key}")
    largest = sorted(rows, key=lambda row: -row[key])[:3]
    named = ", ".join(f"{row['layer']} {row['kernel']} {row[key]:.1f}" for row in largest)
    step = profile["step"]
    return f"{step['launches']} launches, {step[key]:.0f} us; the largest: {named} us", {**profile, "kernels": rows}


def pytorch_steps(part, config, batches, limit, peaks=None, script="bench_step.py"):
    """Steps of a configuration of bench_step.py, or of bench_step_jax.py: the batches that are done in time."""
    module = "jax" if "jax" in script else "torch"
    needs(module)
    dry_run = part.options.dry_run
    tiny = ["--size=32", "--width=4", "--warm-up=1"] if dry_run else []
    command = [sys.executable, "-W", "ignore", REFERENCE / script, "--json", f"--device={'cpu' if dry_run else 'cuda'}"]
    command += [f"--batch={','.join(map(str, batches))}", "--steps=20", "--seconds=2.5", "--config", config, *tiny]
    status, text = part.run([*command, f"--replays={2 if dry_run else REPLAYS}"], limit)
    found = json_lines(text)
    if not found and status is None:
        raise Skip("not done in its time")
    if not found:
        no_result(status, text, config)
    said = []
    for result in found:
        del result["ms"]
        result["floor_ms"] = floor_ms(peaks, result["batch"])
        floors = in_floors(result["replay_ms"], peaks, result["batch"])
        said.append(f"batch {result['batch']}: {result['replay_ms']:.2f} ms{floors}")
    if len(found) < len(batches):
        said.append("the rest not done in its time" if status is None else f"then {last_line(text)}")
    return ", ".join(said), found


def pytorch_configs(part):
    if part.options.dry_run:
        return [("f32", 60), ("bf16-frozen-paired-channels_last", 60)]
    sys.path.insert(0, str(REFERENCE))
    from bench_step import CONFIGS

    # Compiling takes a minute for each batch size.
    return [(config, 100 if "compiled" in config or "autotuned" in config else 40) for config in CONFIGS["cuda"]]


def speed(part):
    batches = [1, 2] if part.options.dry_run else BATCHES
    peaks = peaks_of(part.check("peaks, by PyTorch", lambda: measured_peaks(part)))
    part.check("our launches and bandwidth", lambda: our_rates(part))
    for batch in batches:
        # A step of batch 64 has four times the work of one of batch 16.
        limit = 60 if batch > 16 else 40
        part.check(f"step, batch {batch}, as a graph", lambda: our_step(part, batch, True, limit, peaks))
    part.check("step, batch 1, one by one", lambda: our_step(part, 1, False, 40, peaks))
    for config, limit in pytorch_configs(part):
        order = [1, 16] if limit > 40 else batches
        part.check(f"PyTorch {config}", lambda: pytorch_steps(part, config, order, limit, peaks))

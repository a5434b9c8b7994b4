"""Tests on the GPU, training against the CPU and against PyTorch."""

import csv
import math
import re
import sys
import tempfile
import time
from pathlib import Path

from part import FAILED, PAIRS, REFERENCE, SKIPPED, Problem, ensure, json_lines, last_line, needs, no_result, simulated

# The largest relative difference of losses on two devices, by step; see "What the tolerances rest on" in
# reference/README.md.
LOSS_TOLERANCES = [5e-6, 1e-4, 1e-3, 1e-3, 1e-3, 5e-3]


def test_results(text):
    """{test: ok, FAILED, ignored or SKIPPED}, from the output of a Rust test binary."""
    found = dict(re.findall(r"^test (\S+) \.\.\. (ok|FAILED|ignored)", text, re.MULTILINE))
    # Output of another thread may stand in front of the verdict; the list of failures at the end is complete.
    found.update({name: FAILED for name in re.findall(r"^    (\S+::\S+)$", text, re.MULTILINE)})
    found.update({name: SKIPPED for name in re.findall(r"^SKIPPED (\S+):", text, re.MULTILINE)})
    return found


def tests_environment(part):
    return {"PIXTAPE_REQUIRE_GPU": "1", "PIXTAPE_PROGRAM": str(part.bin / "pixtape"), **simulated(part)}


def gpu_tests(part, filters, limit):
    """The tests whose names have one of `filters` in them, or all."""
    status, text = part.run([part.bin / "gpu-tests", *filters, "--test-threads=4"], limit, tests_environment(part))
    found = test_results(text)
    summary = re.search(r"test result: \w+\. (\d+) passed; (\d+) failed", text)
    data = {"tests": found, "summary": summary[0] if summary else None}
    failed = [name for name, result in found.items() if result == FAILED]
    if failed:
        raise Problem(f"{len(failed)} of {len(found)} tests failed: {', '.join(failed)}")
    ensure(status, text, "gpu-tests")
    skipped = sum(result == SKIPPED for result in found.values())
    if not summary or int(summary[1]) == 0 or skipped:
        raise Problem(f"of {len(found)} tests {skipped} were skipped")
    return f"{summary[1]} tests passed", data


def train(part, folder, name, device, settings, limit):
    """The folder of a finished run."""
    flags = [f"--{key}={value}" for key, value in {**settings, "device": device, "out": folder / name}.items()]
    status, text = part.run([part.bin / "pixtape", "train", *flags], limit)
    ensure(status, text, f"training on {device}")
    return folder / name


def losses(run):
    with (run / "losses.csv").open() as file:
        return [[float(row[name]) for name in ("d", "adv", "pixel")] for row in csv.DictReader(file)]


def compare_losses(ours, reference):
    """(text, data); raises a Problem if a loss is too far away."""
    far = []
    for step, (a, b) in enumerate(zip(ours, reference, strict=True)):
        far.append(max(abs(x - y) / abs(y) if math.isfinite(x) else math.inf for x, y in zip(a, b)))
        allowed = LOSS_TOLERANCES[min(step, len(LOSS_TOLERANCES) - 1)]
        if not far[-1] <= allowed:
            raise Problem(f"step {step + 1}: {a} is {far[-1]:.1e} away from {b}; {allowed:.1e} is allowed")
    return f"{len(far)} steps, at most {max(far):.1e} apart", {"relative_differences": far}


def trained_alike(part, folder, settings, limit):
    """Trains on both devices, and on the GPU as a graph and launch by launch, in `limit` seconds altogether."""
    end = time.monotonic() + limit

    def train_in_time(name, device, settings):
        return train(part, folder, name, device, settings, end - time.monotonic())

    gpu = train_in_time("gpu", "cuda", settings)
    cpu = train_in_time("cpu", "cpu", settings)
    detail, data = compare_losses(losses(gpu), losses(cpu))
    plain = train_in_time("gpu-one-by-one", "cuda", {**settings, "cuda-graph": "false"})
    if (plain / "losses.csv").read_bytes() != (gpu / "losses.csv").read_bytes():
        raise Problem("launched one by one the losses have other bits than as a graph")
    again = train_in_time("gpu-again", "cuda", settings)
    if (again / "losses.csv").read_bytes() != (gpu / "losses.csv").read_bytes():
        raise Problem("a second run has other bits")
    return f"{detail}; as a graph, one by one and once more: the same bits", data


def evaluated_alike(part, run):
    """Evaluates the run on both devices."""
    numbers = {}
    for device in ("cpu", "cuda"):
        command = [part.bin / "pixtape", "evaluate", run, "--data", PAIRS, "--device", device]
        status, text = part.run(command, 90)
        ensure(status, text, f"evaluating on {device}")
        found = {name: float(value) for name, value in re.findall(r"^(L1|PSNR) +([-0-9.]+)", text, re.MULTILINE)}
        if set(found) != {"L1", "PSNR"}:
            raise Problem(f"evaluating on {device} printed no L1 and PSNR: {last_line(text)}")
        numbers[device] = found
    for name, allowed in (("L1", 2e-4), ("PSNR", 0.02)):
        if not abs(numbers["cuda"][name] - numbers["cpu"][name]) <= allowed:
            raise Problem(f"{name}: {numbers}")
    return f"L1 {numbers['cuda']['L1']}, PSNR {numbers['cuda']['PSNR']} dB on both", numbers


def beside_pytorch(part, limit):
    needs("torch")
    sizes = ["--size=64", "--width=8", "--steps=3", "--device=cpu"] if part.options.dry_run else []
    command = [sys.executable, "-W", "ignore", REFERENCE / "train_beside.py", part.bin / "pixtape", *sizes]
    status, text = part.run(command, limit)
    lines = json_lines(text)
    if not lines:
        no_result(status, text, "train_beside.py")
    result = lines[-1]
    worst = f"pixtape strays {max(result['pixtape']):.1e} from float64, PyTorch's float32 {max(result['float32']):.1e}"
    if not result["passed"]:
        raise Problem(worst)
    return f"{result['steps']} steps, {worst}", result


def device_line(part):
    status, text = part.run([part.bin / "pixtape", "devices"], 30)
    ensure(status, text, "pixtape devices")
    found = re.search(r"^cuda:0 +(.*)", text, re.MULTILINE)
    if not found or "not usable" in found[1]:
        raise Problem(f"no GPU that can be used: {last_line(text)}")
    return found[1], None


def correct(part):
    tiny = part.options.dry_run
    part.check("device", lambda: device_line(part))
    # The simulator is too slow for whole training runs.
    filters = ["cuda::cast", "cuda::device", "cuda::ops", "cuda::program"] if tiny else []
    part.check("op table and training tests", lambda: gpu_tests(part, filters, 240))
    with tempfile.TemporaryDirectory(dir=part.scratch) as folder:
        folder = Path(folder)
        common = {"data": PAIRS, "direction": "a-to-b", "sample-every": 1000, "save-every": 1000, "keep": 1}
        small = {
            **common,
            "image-size": 64 if tiny else 256,
            "ngf": 8 if tiny else 16,
            "ndf": 8 if tiny else 16,
            "steps": 3 if tiny else 10,
        }
        part.check("training, GPU against CPU", lambda: trained_alike(part, folder, small, 100))
        part.check("evaluating, GPU against CPU", lambda: evaluated_alike(part, folder / "gpu"))
        part.check("training, against PyTorch", lambda: beside_pytorch(part, 150))
        if not tiny:
            full = {**common, "image-size": 256, "steps": 3, "batch": 2}
            (folder / "full").mkdir()
            part.check("the full recipe, GPU against CPU", lambda: trained_alike(part, folder / "full", full, 60))

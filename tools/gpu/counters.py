"""The counters of ncu beside the simulator's counts: sectors, requests and wavefronts of twelve kernels of a step."""

import csv
import json
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from part import SIMULATOR, Problem, Skip, end, last_line, simulated
from speed import profile_of

KERNELS = 12

# Relative difference up to which a count of sectors is the simulator's: it counts some of a launch's blocks and scales.
TOLERANCE = 0.02

# The count, ncu's metrics for it of which the first that this ncu has is taken, and the simulator's: a field of the
# lines with these events.
COUNTS = [
    ("load sectors", ["l1tex__t_sectors_pipe_lsu_mem_global_op_ld"], "sectors", ["global load"]),
    ("load requests", ["l1tex__t_requests_pipe_lsu_mem_global_op_ld"], "requests", ["global load"]),
    ("store sectors", ["l1tex__t_sectors_pipe_lsu_mem_global_op_st"], "sectors", ["global store"]),
    (
        "cp.async sectors",
        ["l1tex__t_sectors_pipe_lsu_mem_global_op_ldgsts", "l1tex__m_xbar2l1tex_read_sectors_mem_lg_op_ldgsts"],
        "sectors",
        ["async copy"],
    ),
    (
        "L2 sectors",
        ["lts__t_sectors_srcunit_tex"],
        "l2_sectors",
        ["global load", "global store", "global atomic", "async copy"],
    ),
    (
        "shared wavefronts",
        ["l1tex__data_pipe_lsu_wavefronts_mem_shared"],
        "wavefronts",
        ["shared load", "shared store", "shared atomic", "shared copy", "ldmatrix"],
    ),
]


class Simulated:
    """The simulator's profile of a step, computed on one core beside the checks that measure the GPU."""

    def __init__(self, part, what):
        self.output = tempfile.TemporaryFile("w+", dir=part.scratch)
        command = ["nice", "-n", "19", part.bin / "pixtape", "profile", what, "--device", "cuda", "--json"]
        # Its output goes to a file of its own: the part's log is being written by others.
        environment = {**simulated(part), "LD_LIBRARY_PATH": str(SIMULATOR), "CUDASIM_THREADS": "1"}
        self.running, self.problem = None, None
        try:
            self.running = part.start(command, self.output, self.output, environment)
        except Problem as problem:
            self.problem = problem  # For the check that needs the counts.

    def profile(self, seconds):
        if self.problem:
            raise self.problem
        try:
            status = self.running.wait(max(seconds, 1))
        except subprocess.TimeoutExpired as problem:
            raise Skip("the simulator has not counted the step in this time") from problem
        self.output.seek(0)
        text = self.output.read()
        profile = profile_of("\n" + text)
        if status != 0 or not profile:
            raise Problem(f"the simulator's profile ended with status {status}: {last_line(text)}")
        return profile

    def stop(self):
        """Ends it, if it has not ended."""
        if self.running and self.running.poll() is None:
            end(self.running)
        self.output.close()


def find_ncu():
    folders = [*Path("/usr/local").glob("cuda*/bin"), *Path("/opt/nvidia/nsight-compute").glob("*")]
    for path in [shutil.which("ncu"), *(str(folder / "ncu") for folder in folders)]:
        if path and Path(path).is_file():
            return path
    raise Skip("ncu was not found")


def known_metrics(part, ncu):
    status, text = part.run([ncu, "--query-metrics", "--chips", "gh100"], 30)
    if status != 0:
        raise Skip(f"ncu does not list its metrics: {last_line(text)}")
    return set(re.findall(r"^([a-z]\w+__\w+)", text, re.MULTILINE))


def measured(text):
    """[(kernel, blocks, {metric: value})] of what ncu --csv --page raw prints."""
    lines = [line for line in text.splitlines() if line.startswith('"')]
    rows = list(csv.DictReader(lines))
    found = []
    # Under the header stand the units.
    for row in rows[1:]:
        sizes = [int(size) for size in re.findall(r"\d+", row["Grid Size"])]
        values = {}
        for column, value in row.items():
            if "__" in column:
                try:
                    values[column.removesuffix(".sum")] = float(value.replace(",", ""))
                except ValueError:
                    pass  # Not applicable.
        found.append((row["Kernel Name"].split("(")[0], sizes[0] * sizes[1] * sizes[2], values))
    return found


def chosen(profile):
    """The twelve kernels of most L2 traffic."""
    traffic = {}
    for row in profile["kernels"]:
        traffic[row["kernel"]] = traffic.get(row["kernel"], 0) + (row["l2_bytes"] or 0)
    return sorted(traffic, key=lambda kernel: -traffic[kernel])[:KERNELS]


def simulated_count(row, field, events):
    return sum(line[field] for line in row["lines"] if line["event"] in events)


def compared(found, profile, metrics):
    """A row for each count of each kernel and grid: ncu's values, the simulator's, and the largest relative difference
    of an ncu value from the nearest of the simulator's. Launches of one kernel with equal grids are not told apart."""
    rows = []
    for kernel, blocks in sorted({(kernel, blocks) for kernel, blocks, _ in found}):
        launches = [values for name, size, values in found if (name, size) == (kernel, blocks)]
        counted = [row for row in profile["kernels"] if (row["kernel"], row["blocks"]) == (kernel, blocks)]
        if not counted:
            raise Problem(f"{kernel} with {blocks} blocks: the simulator has no such launch")
        for count, _, field, events in COUNTS:
            metric = metrics.get(count)
            theirs = [values[metric] for values in launches if metric in values]
            ours = [simulated_count(row, field, events) for row in counted]
            if not theirs or not any(theirs + ours):
                continue
            apart = max(min(abs(a - b) / max(abs(b), 1) for b in ours) for a in theirs)
            rows.append(
                {"kernel": kernel, "blocks": blocks, "count": count, "ncu": theirs, "simulator": ours, "apart": apart}
            )
    return rows


def against_simulator(part, counting, limit):
    ncu = find_ncu()
    known = known_metrics(part, ncu)
    metrics = {count: next((name for name in names if name in known), None) for count, names, _, _ in COUNTS}
    metrics = {count: name for count, name in metrics.items() if name}
    profile = counting.profile(part.left() - 30)
    kernels = chosen(profile)
    in_a_step = sum(row["launches"] for row in profile["kernels"] if row["kernel"] in kernels)
    tiny = ["--size=64", "--width=8"] if part.options.dry_run else []
    command = [ncu, "--clock-control", "none", "--csv", "--page", "raw", "--print-units", "base"]
    command += ["--metrics", ",".join(f"{name}.sum" for name in metrics.values())]
    command += ["--kernel-name", f"regex:^({'|'.join(kernels)})$", "--launch-count", in_a_step]
    command += [part.bin / "step_time", "--device=cuda", "--no-graph", "--steps=1", *tiny]
    status, text = part.run(command, limit)
    if "ERR_NVGPUCTRPERM" in text:
        raise Skip("the machine does not permit the hardware counters")
    if status is None:
        raise Skip("ncu was not done in its time")
    found = measured(text)
    if not found:
        raise Skip(f"ncu gave no counts: {last_line(text)}")
    rows = compared(found, profile, metrics)
    if not rows:
        raise Problem("no count of ncu has one of the simulator beside it")
    sectors = [row for row in rows if "sectors" in row["count"] and row["count"] != "L2 sectors"]
    same = sum(row["apart"] == 0 for row in sectors)
    worst = max(rows, key=lambda row: row["apart"])
    said = f"{len(found)} launches of {len(kernels)} kernels: {same} of {len(sectors)} counts of sectors are equal"
    said += f", the worst of all counts {worst['apart']:.1%} apart ({worst['kernel']}, {worst['count']})"
    (part.results / "counters.json").write_text(json.dumps({"metrics": metrics, "rows": rows}, indent=1))
    far = [row for row in sectors if not row["apart"] <= TOLERANCE]
    if far:
        raise Problem(f"{said}; {len(far)} counts of sectors are more than {TOLERANCE:.0%} apart")
    return said, {"rows": rows, "metrics": metrics}

"""The machine code of the kernels, as build.rs had nvcc make it: the assembler's reports, instructions and loops.

tools/check-kernels judges it and keeps kernels/machine-code.json; the profiles and tools/check-speed read that file.
"""

import json
import os
import re
import shutil
import subprocess
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# The architecture of the table: that of the GPU that the time model is of.
MODELLED = "sm_90a"


class Failed(Exception):
    """A reason why the machine code cannot be looked at, in one line."""


@dataclass
class Report:
    """One kernel on one architecture, as `ptxas -v` reports it."""

    registers: int = 0
    shared: int = 0
    stack: int = 0
    spills: int = 0
    local: int = 0
    findings: list = field(default_factory=list)


def build_folder(package, options):
    """The folder that the package's build.rs has filled."""
    command = ["cargo", "build", "--lib", "--message-format=json-render-diagnostics", *options]
    built = subprocess.run(command, cwd=package, stdout=subprocess.PIPE, text=True)
    if built.returncode != 0:
        raise Failed("the library does not build")
    messages = [json.loads(line) for line in built.stdout.splitlines() if line.startswith("{")]
    folders = [m["out_dir"] for m in messages if m["reason"] == "build-script-executed" and m["out_dir"]]
    folders = [Path(folder) for folder in folders if (Path(folder) / "kernels.rs").is_file()]
    if len(folders) != 1:
        raise Failed(f"cargo names {len(folders)} folders with kernels, where there should be one")
    return folders[0]


def read_kernels(folder):
    """({module: fatbin}, {module: {kernel: threads of a block}}) of a build."""
    code = (folder / "kernels.rs").read_text()
    modules = re.findall(r'Module \{ name: "(\w+)", fatbin: (.*) \},', code)
    if not modules or any("include_bytes" not in fatbin for _, fatbin in modules):
        raise Failed("the library was built without nvcc; run tools/install-nvcc")
    kernels = {name: {} for name, _ in modules}
    for name, module, block in re.findall(r'Declared \{ name: "(\w+)", module: (\d+), threads: (\d+),', code):
        kernels[modules[int(module)][0]][name] = int(block)
    return {name: folder / f"{name}.fatbin" for name, _ in modules}, kernels


def assembler_reports(text):
    """({(architecture, kernel): Report}, warnings) from the output of `ptxas -v`."""
    reports, warnings, current = {}, [], None
    for line in text.splitlines():
        if entry := re.search(r"Compiling entry function '(\w+)' for '(\w+)'", line):
            current = reports[entry[2], entry[1]] = Report()
        elif re.search(r"\b(warning|error)\b", line, re.IGNORECASE):
            warnings.append(line.strip())
        elif frame := re.search(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", line):
            # The lines of functions that were not inlined come after their kernel's and count with it.
            stack, stores, loads = map(int, frame.groups())
            current.stack, current.spills = max(current.stack, stack), max(current.spills, stores + loads)
        elif used := re.search(r"Used (\d+) registers", line):
            current.registers = int(used[1])
            current.shared = sum(int(n) for n in re.findall(r"(\d+) bytes smem", line))
            current.local = sum(int(n) for n in re.findall(r"(\d+) bytes lmem", line))
    return reports, warnings


def instructions(cuobjdump, fatbin):
    """{(architecture, kernel): its lines of assembly}"""
    path = os.pathsep.join([str(Path(cuobjdump).parent), os.environ["PATH"]])
    command = [cuobjdump, "--dump-sass", str(fatbin)]
    dumped = subprocess.run(command, env={**os.environ, "PATH": path}, capture_output=True, text=True)
    if dumped.returncode != 0:
        raise Failed(f"cuobjdump cannot read {fatbin.name}: {dumped.stderr.strip()}")
    code, architecture, lines = {}, None, None
    for line in dumped.stdout.splitlines():
        if of := re.match(r"\s*arch = (sm_\w+)", line):
            architecture = of[1]
        elif function := re.match(r"\s*Function : (\w+)", line):
            lines = code.setdefault((architecture, function[1]), [])
        elif lines is not None and re.match(r"\s*/\*[0-9a-f]{4,}\*/", line):
            lines.append(line)
    return code


def find_tool(name):
    """A program of the toolkit: from the project's own environment, else from the search path."""
    wheels = (ROOT / ".venv-nvcc").glob(f"lib/python*/site-packages/nvidia/cu*/bin/{name}")
    found = next(iter(sorted(wheels)), None) or shutil.which(name)
    if not found:
        raise Failed(f"{name} was not found; run tools/install-nvcc")
    return str(found)


def local_memory_line(source, kernel, architecture):
    """The line of source to which most loads and stores of local memory of a kernel belong, as file and line; empty if
    there are none. Compiles `source` anew: the machine code of a build has no line numbers."""
    with tempfile.TemporaryDirectory() as folder:
        cubin = Path(folder) / "kernel.cubin"
        nvcc = [os.environ.get("NVCC") or find_tool("nvcc"), "--cubin", "-std=c++20", "-O3", "-lineinfo"]
        nvcc += [f"-arch={architecture}", "-I", source.parent, "-o", cubin, source]
        for command in [nvcc, [find_tool("nvdisasm"), "--print-line-info", "--print-code", cubin]]:
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode != 0:
                raise Failed(f"{source.name}: {done.stderr.strip()}")
    counts, function, line, was_place = Counter(), None, "", False
    for text in done.stdout.splitlines():
        place = re.search(r'//## File "(.*)", line (\d+)', text)
        if section := re.match(r"\.text\.(\w+):", text):
            function = section[1]
        elif place and not was_place:
            # Code that was inlined has a place in every function around it; its own comes first.
            line = f"{Path(place[1]).name}:{place[2]}"
        elif function == kernel and LOCAL_MEMORY.search(text):
            counts[line] += 1
        was_place = bool(place)
    return max(counts, key=counts.get, default="")


def declaration(kernel):
    """The source that declares a kernel, and the line, from 1."""
    for path in sorted((ROOT / "kernels").glob("*.cu")):
        for number, line in enumerate(path.read_text().splitlines(), start=1):
            if re.match(rf"(KERNEL|INSTANCE)\({kernel},", line):
                return path, number
    raise Failed(f"no source declares {kernel}")


# ---- instructions

# Address, operation with its modifiers, operands.
INSTRUCTION = re.compile(r"\s*/\*([0-9a-f]{4,})\*/\s+(?:@!?U?P\w+\s+)?([A-Z][\w.]*)([^;]*);")
MEMORY = re.compile(r"(LD|ST|LDG|STG|LDS|STS|LDGSTS|LDSM|STSM|ATOM|ATOMG|ATOMS|RED)$")
LOCAL_MEMORY = re.compile(r"\b(LDL|STL)\b")
PRODUCT = re.compile(r"(HMMA|HGMMA)$")


def parse(lines):
    """[(address, operation with its modifiers, target of a branch or None)]"""
    parsed = []
    for line in lines:
        found = INSTRUCTION.match(line)
        if found:
            branch = re.search(r"\b(0x[0-9a-f]+)\s*$", found[3].strip()) if found[2].startswith("BRA") else None
            parsed.append((int(found[1], 16), found[2], int(branch[1], 16) if branch else None))
    return parsed


def mix(code):
    """The instructions of a part of a kernel by what they do."""
    bases = [operation.split(".")[0] for _, operation, _ in code]
    memory = [operation for _, operation, _ in code if MEMORY.match(operation.split(".")[0])]
    counts = Counter(bases)
    return {
        "instructions": len(bases) - counts["NOP"],
        "fma": counts["FFMA"],
        "products": sum(1 for base in bases if PRODUCT.match(base)),
        "memory": len(memory),
        "wide": sum(1 for operation in memory if ".128" in operation or operation.startswith("LDSM")),
    }


def hot_loops(lines):
    """The mixes of the innermost loops, the hottest first: that with most products, or else most multiply-adds, or else
    most accesses to memory, the shortest of several with as many. Behind it stand those with a tenth of its
    multiply-adds or more: a kernel that does the work of two has a loop of each. The mix of the whole kernel if it has
    no loop."""
    code = parse(lines)
    ends = [(target, address) for address, _, target in code if target is not None and target <= address]
    # A kernel ends with a branch to itself.
    loops = [(first, last) for first, last in ends if first < last]
    inner = [
        (first, last)
        for first, last in loops
        if not any((a, b) != (first, last) and first <= a and b <= last for a, b in loops)
    ]
    mixes = [mix([part for part in code if first <= part[0] <= last]) for first, last in inner]
    mixes = [m for m in mixes if m["memory"]] or [mix(code)]
    mixes.sort(key=lambda m: (m["products"], m["fma"], m["memory"], -m["instructions"]), reverse=True)
    first, *others = mixes
    return [first, *(m for m in others if m["fma"] >= max(first["fma"] / 10, 1))]


def most_under_way(lines):
    """The most bytes of loads from global memory that a thread has under way at once, in the code as it lies: a load is
    under way until an instruction uses what it brings, and those before it are over by then. cp.async brings nothing
    that an instruction uses; the simulator counts its bytes."""
    under_way, most = [], 0
    for line in lines:
        found = INSTRUCTION.match(line)
        if not found:
            continue
        operation, operands = found[2], found[3]
        used = {int(register) for register in re.findall(r"\bR(\d+)\b", operands)}
        last = max((i for i, registers in enumerate(under_way) if used & registers), default=-1)
        under_way = under_way[last + 1 :]
        if operation.split(".")[0] == "LDG" and (first := re.match(r"\s*R(\d+)", operands)):
            words = 4 if ".128" in operation else 2 if ".64" in operation else 1
            under_way.append(set(range(int(first[1]), int(first[1]) + words)))
            most = max(most, 4 * sum(map(len, under_way)))
    return most


def table(kernels, reports, code):
    """The rows of kernels/machine-code.json: of each kernel, on the modelled architecture."""
    rows = {}
    for kernel, block in kernels.items():
        report, lines = reports.get((MODELLED, kernel)), code.get((MODELLED, kernel))
        if report and lines:
            rows[kernel] = {
                "threads": block,
                "registers": report.registers,
                "shared": report.shared,
                "spills": report.spills,
                "instructions": mix(parse(lines))["instructions"],
                "under_way": most_under_way(lines),
                "loops": hot_loops(lines),
            }
    return rows

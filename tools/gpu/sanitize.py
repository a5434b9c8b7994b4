"""The kernels under compute-sanitizer."""

import re
import shutil
import time
from pathlib import Path

from correct import tests_environment
from part import Problem, Skip, ensure, last_line

# (tool, tests that it runs, seconds): the quick ones first, so that each tool has run all of their kernels before the
# long ones begin. A test under a tool takes some hundred times as long as without.
SANITIZED = [
    *((tool, "cuda::cast", 20) for tool in ("memcheck", "racecheck", "synccheck", "initcheck")),
    *((tool, "cuda::device", 40) for tool in ("memcheck", "racecheck", "synccheck", "initcheck")),
    *((tool, "cuda::ops", 80) for tool in ("memcheck", "racecheck", "synccheck", "initcheck")),
    *((tool, "cuda::updates", 60) for tool in ("memcheck", "racecheck")),
    *((tool, "cuda::pairs", 60) for tool in ("memcheck", "racecheck")),
    *((tool, "orders_and_memory_change_no_bit", 60) for tool in ("memcheck", "racecheck")),
]
DRY_SANITIZED = [("memcheck", "cuda::device::copies", 20), ("racecheck", "cuda::ops::adam", 20)]


def find_sanitizer():
    paths = [shutil.which("compute-sanitizer"), *map(str, Path("/usr/local").glob("cuda*/bin/compute-sanitizer"))]
    for path in paths:
        if path:
            return path
    raise Skip("compute-sanitizer was not found")


def finding(text):
    """The first message of the tool about a kernel, or None."""
    said = re.findall(r"^========= +(.+)$", text, re.MULTILINE)
    chatter = ("COMPUTE-SANITIZER", "Warning", "Target application", "ERROR SUMMARY", "RACECHECK SUMMARY")
    return next((line for line in said if not line.startswith(chatter)), None)


def how_far(text):
    """The tests, which run one by one, that had ended when the time was up."""
    count = re.search(r"^running (\d+) tests?$", text, re.MULTILINE)
    if not count:
        return "no test had begun"
    begun = re.findall(r"^test (\S+) \.\.\. ", text, re.MULTILINE)
    if not begun:
        return f"none of {count[1]} tests had begun"
    ended = begun[:-1] if not re.search(r"\b(ok|FAILED)\s*$", text) else begun
    return f"{len(ended)} of {count[1]} tests had ended; it was at {begun[-1]}"


def sanitized(part, tool, tests, limit):
    sanitizer = find_sanitizer()
    command = [sanitizer, "--tool", tool, "--error-exitcode", "99", part.bin / "gpu-tests", tests, "--test-threads=1"]
    start = time.monotonic()
    status, text = part.run(command, limit, tests_environment(part))
    first = finding(text)
    if status is None:
        got = f"stopped after {time.monotonic() - start:.0f} s, when {how_far(text)}"
        if first:
            raise Problem(f"{got}; a finding: {first}")
        raise Skip(f"{got}; no finding until then")
    counts = re.findall(r"(?:ERROR SUMMARY: (\d+) errors?|RACECHECK SUMMARY: (\d+) hazards?)", text)
    if not counts:
        raise Problem(f"no summary: {last_line(text)}")
    found = sum(int(number) for pair in counts for number in pair if number)
    if found or status == 99:
        raise Problem(f"{found} findings, the first: {first or '?'}")
    ensure(status, text, f"{tool} over {tests}")
    passed = re.search(r"test result: ok\. (\d+) passed", text)
    if not passed or int(passed[1]) == 0:
        raise Problem("no test ran")
    return f"no findings in {passed[1]} tests", {"errors": 0, "tests": int(passed[1])}


def sanitize(part):
    for tool, tests, limit in DRY_SANITIZED if part.options.dry_run else SANITIZED:
        part.check(f"{tool} {tests}", lambda: sanitized(part, tool, tests, limit))

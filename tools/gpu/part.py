"""A part of the checks: its rows, its clock, its files, and the commands it runs."""

import gzip
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
REFERENCE, PAIRS, KERNELS = HERE / "reference", HERE / "pairs", HERE / "kernels"
# The simulated driver that counts.
SIMULATOR = HERE / "simulator"

OK, FAILED, SKIPPED = "ok", "FAILED", "skipped"


class Problem(Exception):
    """The reason why a check failed, in a line."""


class Skip(Exception):
    """The reason why a check was not made, in a line."""


class Part:
    """One part of the checks: its rows, its clock and its files, NAME.json and NAME.log in the folder of results."""

    def __init__(self, name, options, seconds):
        self.name, self.options, self.seconds = name, options, seconds
        self.begin = time.monotonic()
        self.rows = []
        self.results = options.out
        self.results.mkdir(parents=True, exist_ok=True)
        self.log = self.results / f"{name}.log"
        self.log.write_text("")
        self.scratch_folder = tempfile.TemporaryDirectory(prefix="pixtape-")
        self.scratch = Path(self.scratch_folder.name)
        self.bin = self.scratch / "bin"
        self.unpack_programs()
        self.about = about_machine()
        self.save()

    def unpack_programs(self):
        """Unpacks the programs to where they can be executed."""
        self.bin.mkdir()
        for packed in (HERE / "bin").glob("*.gz"):
            program = self.bin / packed.stem
            with gzip.open(packed) as content, program.open("wb") as file:
                shutil.copyfileobj(content, file)
            program.chmod(0o755)

    def left(self):
        return self.seconds - (time.monotonic() - self.begin)

    def check(self, title, work):
        """Does `work`, which returns (a text for the table, the data to keep)."""
        start = time.monotonic()
        row = {"check": title, "status": OK, "detail": "", "data": None}
        try:
            if self.left() < 5:
                raise Skip("the part's time is up")
            row["detail"], row["data"] = work()
        except Skip as reason:
            row.update(status=SKIPPED, detail=str(reason))
        except Problem as problem:
            row.update(status=FAILED, detail=str(problem))
        except Exception as problem:  # A part goes on whatever happens in one check.
            row.update(status=FAILED, detail=f"{type(problem).__name__}: {problem}")
        row["seconds"] = round(time.monotonic() - start, 1)
        self.rows.append(row)
        print(f"{row['status']:8} {row['seconds']:6.1f} s  {title}: {row['detail']}", flush=True)
        self.save()
        return row

    def run(self, command, limit, env=None):
        """(exit status, output) of a command; the status is None if it was ended after `limit` seconds."""
        command = [str(word) for word in command]
        limit = max(1.0, min(limit, self.left()))
        with self.log.open("a+") as output:
            output.write(f"$ {' '.join(command)}\n")
            output.flush()
            begin = output.tell()
            running = self.start(command, output, subprocess.STDOUT, env)
            try:
                status = running.wait(limit)
            except subprocess.TimeoutExpired:
                end(running)
                status = None
            output.seek(begin)
            return status, output.read()

    def start(self, command, output, errors, env=None):
        """A command that runs, in a session of its own, so that its child processes can be ended with it."""
        command = [str(word) for word in command]
        try:
            return subprocess.Popen(
                command,
                cwd=self.scratch,
                stdout=output,
                stderr=errors,
                env={**os.environ, **(env or {})},
                start_new_session=True,
            )
        except OSError as problem:
            raise Problem(f"cannot run {command[0]}: {problem.strerror}") from problem

    def save(self):
        took = round(time.monotonic() - self.begin, 1)
        content = {
            "part": self.name,
            "dry_run": self.options.dry_run,
            "seconds": took,
            **self.about,
            "checks": self.rows,
        }
        temporary = self.results / f"{self.name}.json.new"
        temporary.write_text(json.dumps(content, indent=1))
        temporary.replace(self.results / f"{self.name}.json")

    def end(self):
        self.save()
        self.scratch_folder.cleanup()
        print()
        print_rows(
            ["check", "status", "seconds", "result"],
            [[r["check"], r["status"], f"{r['seconds']:.0f}", r["detail"]] for r in self.rows],
        )
        ok, failed, skipped = (sum(row["status"] == status for row in self.rows) for status in (OK, FAILED, SKIPPED))
        took = time.monotonic() - self.begin
        print(f"\n{self.name}: {len(self.rows)} checks, {ok} ok, {failed} failed, {skipped} skipped, {took:.0f} s")
        # A part in which nothing was checked has failed.
        return 1 if failed or not ok else 0


def end(running):
    """Ends a command of Part.start with all that it has started."""
    os.killpg(running.pid, signal.SIGKILL)
    running.wait()


def about_machine():
    query = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
    try:
        cards = subprocess.run(query, capture_output=True, text=True, timeout=30).stdout.strip().splitlines()
    except (OSError, subprocess.TimeoutExpired):
        cards = []
    manifest = HERE / "manifest.json"
    return {
        "card": cards[0] if cards else None,
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "bundle": json.loads(manifest.read_text()) if manifest.is_file() else None,
    }


def print_rows(header, rows):
    rows = [header, *([str(cell) for cell in row] for row in rows)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(header))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())


def json_lines(text):
    lines = []
    for line in text.splitlines():
        if line.startswith("{"):
            try:
                lines.append(json.loads(line))
            except json.JSONDecodeError:
                pass  # Cut off when the command was ended.
    return lines


def last_line(text):
    lines = [line.strip() for line in text.splitlines()[1:] or text.splitlines() if line.strip()]
    return lines[-1][:160] if lines else "it printed nothing"


def ensure(status, text, what):
    if status is None:
        raise Problem(f"{what} took too long")
    if status != 0:
        raise Problem(f"{what} ended with status {status}: {last_line(text)}")


def no_result(status, text, what):
    """The Problem of a command that printed nothing to use, whatever its status."""
    ensure(1 if status == 0 else status, text, what)


def needs(module):
    """Skips a check for which this Python lacks a module."""
    if importlib.util.find_spec(module) is None:
        raise Skip(f"this Python has no {module}")


def simulated(part):
    """The environment of a program that takes the simulator for a GPU in a dry run."""
    return {"PIXTAPE_TAKE_SIMULATED_GPU": "1"} if part.options.dry_run else {}

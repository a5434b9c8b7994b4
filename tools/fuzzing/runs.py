"""Run folders with files that are torn, gone, more, or no files; resumed, started over, translated with, measured."""

import os
import re
import shutil

from . import common, settings, tensors
from .common import Case, TINY, chance

# Files that a run writes. All other files in its folder are foreign.
OWN = (
    r"run/((losses|metrics)(-kept-\d+)?\.csv(\.unfinished)?|(config\.toml|report\.html)(\.unfinished)?"
    r"|checkpoints/(step-\d+|best)\.safetensors(\.unfinished)?|samples/step-\d+\.png(\.unfinished)?"
    r"|tensorboard/events\.out\.tfevents\..*|samples|checkpoints|tensorboard|[^/]*lock)"
)
THEIRS = (
    "notes.txt", "samples/mine.png", "checkpoints/mine.safetensors", "checkpoints/mine.unfinished", "mine.unfinished",
    "samples/notes", "tensorboard/mine",
    "checkpoints/step-x.safetensors", "checkpoints/step-00000004.safetensors.old", "report.html.bak", "\x1b[31mred",
    "two\nlines", "samples/step-.png",
)
CELLS = (
    "", "nan", "inf", "-1", "1e999", "0.5", "x", "99999999999999999999", "\x1b[31m", "4", "5", "\u0661", " 1", "1;2",
)


def change_rows(rng, data):
    """A CSV file with other rows."""
    lines = data.decode(errors="replace").splitlines(keepends=True)
    for _ in range(rng.choice((1, 1, 2))):
        at = rng.randrange(len(lines)) if lines else 0
        change = rng.randrange(9)
        if change == 0 and lines:
            cells = lines[at].rstrip("\n").split(",")
            cells[rng.randrange(len(cells))] = rng.choice(CELLS)
            lines[at] = ",".join(cells) + "\n"
        elif change == 1:
            common.shuffle_items(rng, lines)
        elif change == 2 and lines:
            lines[-1] = lines[-1][: rng.randrange(len(lines[-1]) + 1)]
        elif change == 3 and lines:
            lines[at] = lines[at].rstrip("\n") + rng.choice((",", ",1", "\r\n", "\0", " ", "\n\n"))
        elif change == 4:
            lines.insert(
                at,
                rng.choice(("\n", "text\n", "epoch,step,d,adv,pixel\n", "1,3,0.5,0.5,0.5\n", "," * 9999 + "\n")),
            )
        elif change == 5:
            del lines[at:]
        elif change == 6:
            return b""
        elif change == 7:
            return "".join(lines).encode() + rng.choice((
                b"\xff\xfe", b"1,5,0.1", b"1,5,0.1,0.1,0.1\n1,6,0.1,0.1,0.1\n", b"\0" * 4096,
            ))
        else:
            return common.garble(rng, data)
    return "".join(lines).encode()


def change_file(rng, run, name):
    """One file of the run, changed by the mutator of its kind."""
    path = run / name
    data = path.read_bytes()
    if name.endswith(".csv"):
        return path.write_bytes(change_rows(rng, data))
    if name.endswith(".toml"):
        return path.write_bytes(settings.changed(rng, data.decode(errors="replace")).encode(errors="surrogateescape"))
    if name.endswith(".safetensors"):
        return path.write_bytes(tensors.mutated(rng, data))
    return path.write_bytes(rng.choice((common.cut, common.garble))(rng, data))


def change_run(rng, run):
    files = sorted(str(path.relative_to(run)) for path in run.rglob("*") if path.is_file() and not path.is_symlink())
    # The two files with the most content are chosen more often than any other.
    name = rng.choice((*files, "losses.csv", "losses.csv", "metrics.csv", "checkpoints/step-00000004.safetensors"))
    path = run / name
    change = rng.randrange(12)
    if change < 6 and name in files:
        change_file(rng, run, name)
    elif change == 6 and name in files:
        path.unlink()
    elif change == 7 and path.parent.is_dir():
        common.replace(rng, path)
    elif change == 8 and name in files:
        path.rename(run / (name + rng.choice((".unfinished", ".bak", "x"))))
    elif change == 9:
        folder = run / rng.choice(("checkpoints", "samples", "tensorboard"))
        if folder.is_dir() and not folder.is_symlink():
            shutil.rmtree(folder)
            if chance(rng, 0.7):
                rng.choice((folder.mkdir, lambda: common.special(rng, folder)))()
    elif change == 10:
        checkpoint = rng.choice((
            "step-00000006", "step-00000000", "step-99999999999999999999", "step-18446744073709551615", "best",
            "step-3",
        ))
        target = run / "checkpoints" / f"{checkpoint}.safetensors"
        source = run / "checkpoints/step-00000004.safetensors"
        if target.parent.is_dir() and source.is_file() and not target.is_symlink() and not target.is_dir():
            target.write_bytes(rng.choice((source.read_bytes(), b"", b"x" * 100)))
    else:
        theirs = run / rng.choice(THEIRS)
        if theirs.parent.is_dir() and not theirs.exists():
            theirs.write_text("mine")


def went_on(steps):
    def check(folder):
        """A run that has gone on has a row for its last step, and none behind it."""
        rows = (folder / "run/losses.csv").read_text(errors="replace").splitlines()
        last = rows[-1].split(",") if rows else []
        if len(last) != len(rows[0].split(",")) or not last[1].isdigit() or int(last[1]) < steps:
            return f"the last row of losses.csv is {rows[-1:]}, not one of step {steps}"
        found = [int(row.split(",")[1]) for row in rows[1:] if re.match(r"\d+,\d+,", row)]
        if len(set(found)) != len(found):
            return "losses.csv has two rows of one step"
        return None

    return check


def build(rng, seeds, folder):
    run = folder / "run"
    seeds.copy("run", run)
    for _ in range(rng.choice((1, 1, 2, 3))):
        change_run(rng, run)
    if chance(rng, 0.02):
        shutil.rmtree(run)
        common.special(rng, run)
    command = rng.randrange(10)
    if command < 5:
        return Case(["train", "--resume", "run", "--steps", "6", "--threads", "1"], out=OWN, own=OWN, check=went_on(6))
    if command == 5:
        return Case(["train", *TINY, "--steps", "1", "--out", "run"], out=OWN, own=OWN)
    if command == 6:
        return Case(["inspect", "run"])
    if command == 7:
        (folder / "x.safetensors").write_bytes(b"old")
        return Case(["export", "run", "--safetensors", "x.safetensors"], out=r"x\.safetensors")
    seeds.copy("pairs", folder / "pairs")
    if command == 8:
        return Case(["evaluate", "run", "--data", "pairs", "--threads", "1"])
    return Case(["translate", "run", "pairs", "--out", "out", "--threads", "1"], out="out(/.*)?")

"""Shared by all mutators: numbers at the edges, names with control characters, changes without regard to structure."""

import os
import shutil
import stat
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Callable

EDGES = (
    0, 1, 2, 3, 0x7F, 0x80, 0xFF, 0x100, 0x7FFF, 0x8000, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 2**53,
    2**63, 2**64 - 1,
)

NAMES = (
    "\x1b[31mred\x1b[0m", "two\nlines", "error: tab\there", "\u202egnp.exe", "\x9b2J", "\r", "", " ", ".", "..",
    "../../out", "/nowhere/x",
    "-flag", "e\u0301", "\u00e9", "n" * 300, "n" * 5000, "%s%n", "'\"", "a" + "/a" * 60, "con", "\ufeff", "\U0001f600",
    "\\u001b",
)


@dataclass
class Case:
    """A command, and the files that it may write: `out` if it succeeds, `own` (of a run, of a download) in any case.
    Regular expressions for whole paths below the case's folder."""

    command: list
    out: str = "$^"
    own: str = "$^"
    # Checks the folder after a success, and returns the faults.
    check: Callable | None = None


@dataclass
class Seeds:
    """The files that the cases mutate: a folder with the run `run`, the weights `imported.safetensors`, the pictures
    `pictures/*`, the pairs `pairs/` and the files of PyTorch `import/*.pth`."""

    folder: Path

    def read(self, name):
        return (self.folder / name).read_bytes()

    def copy(self, name, to):
        source = self.folder / name
        return shutil.copytree(source, to) if source.is_dir() else shutil.copyfile(source, to)

    def names(self, folder):
        return sorted(os.listdir(self.folder / folder))


# Bytes that repeating a part may add to a file.
MOST_BYTES = 4 << 20

# The smallest networks that the program takes.
TINY = "--image-size 32 --ngf 2 --ndf 2 --threads 1".split()


def make_seeds(folder, program, fixtures, environment):
    """Makes the seed files with the program itself; the pictures come from `images.seeds`."""
    from . import images

    def run(*words):
        subprocess.run([program, *map(str, words)], cwd=folder, env=environment, check=True, capture_output=True)

    seeds = Seeds(folder)
    shutil.copytree(fixtures, folder / "import")
    (folder / "import/expected.safetensors").unlink()
    images.write_seeds(folder)
    run("train", *TINY, "--steps", 4, "--save-every", 2, "--sample-every", 4, "--out", "run")
    # Half of the run's bytes, in files that the program does not read.
    for path in (folder / "run/report.html", *(folder / "run/tensorboard").iterdir()):
        os.truncate(path, 1000)
    run("import", "import/pytorch-gan-batch.pth", "--out", "imported.safetensors")
    for kind in ("jpeg", "webp"):
        run("translate", "run", "drawn", "--format", kind, "--out", "pictures", "--threads", 1)
    return seeds


def chance(rng, share):
    return rng.random() < share


def number(rng, old=0, bits=32):
    """A number at an edge, or one beside the old one."""
    new = rng.choice((*EDGES, old + 1, old - 1, old * 2, old // 2, -old, rng.getrandbits(bits)))
    return new & ((1 << bits) - 1)


def name(rng):
    return rng.choice(NAMES)


def file_name(rng, default):
    """Mostly the default one; else any that a folder can hold, with the default's ending."""
    if not chance(rng, 0.1):
        return default
    ending = default[default.rindex("."):]
    names = [text for text in NAMES if "/" not in text and 0 < len(text.encode()) < 240]
    return rng.choice((*names, "\udcff\udcfe")) + ending


def garble(rng, data):
    """Changes without regard to structure."""
    data = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 5, 20))):
        at = rng.randrange(len(data) + 1)
        length = min(rng.choice((1, 1, 2, 4, 8, 64, 1000)), len(data) - at)
        change = rng.randrange(7)
        if change == 0 and at < len(data):
            data[at] ^= 1 << rng.randrange(8)
        elif change == 1 and at < len(data):
            data[at] = rng.choice((0, 1, 0x7F, 0x80, 0xFE, 0xFF))
        elif change == 2:
            del data[at:at + length]
        elif change == 3:
            data[at:at] = data[at:at + length] * rng.choice((1, 2, 100))
        elif change == 4:
            width = rng.choice((2, 4, 8))
            order = rng.choice(("little", "big"))
            data[at:at + width] = number(rng, int.from_bytes(data[at:at + width], order), 8 * width).to_bytes(
                width, order,
            )
        elif change == 5:
            other = rng.randrange(len(data) + 1)
            data[at:at + length] = data[other:other + length]
        else:
            data[at:at] = rng.randbytes(length)
    return bytes(data)


def cut(rng, data):
    """The data without their end."""
    return data[: rng.choice((0, 1, 4, 8, 100, len(data) // 2, max(len(data) - 1, 0), rng.randrange(len(data) + 1)))]


def shuffle_items(rng, items):
    """Drops, doubles, swaps or moves items of a list, in place."""
    if not items:
        return
    at, other = rng.randrange(len(items)), rng.randrange(len(items))
    change = rng.randrange(5)
    if change == 0:
        del items[at]
    elif change == 1:
        items.insert(other, items[at])
    elif change == 2:
        items[at], items[other] = items[other], items[at]
    elif change == 3:
        items.insert(other, items.pop(at))
    else:
        most = MOST_BYTES // max(len(repr(items[at])), 1)
        items[at:at] = [items[at]] * min(rng.choice((2, 50, 2000)), most)


def special(rng, path):
    """Something that is no file, where a file is expected."""
    change = rng.randrange(8)
    if change == 0:
        os.mkfifo(path)
    elif change == 1:
        os.mknod(path, 0o600 | stat.S_IFSOCK)
    elif change == 2:
        path.mkdir()
        (path / "inside").write_text("text")
    else:
        path.symlink_to(("/dev/zero", "/dev/full", "nowhere", path.name, "..")[change - 3])


def replace(rng, path):
    """Replaces a file by something that is no file."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    elif path.is_symlink() or path.exists():
        path.unlink()
    special(rng, path)

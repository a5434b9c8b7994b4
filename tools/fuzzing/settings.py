"""Settings files, and the settings in a checkpoint's header: other keys, other values, invalid TOML."""

from . import common
from .common import Case, TINY, chance

VALUES = (
    "0", "1", "-1", "2", "3", "4", "32", "64", "1.5", "0.5", "1e400", "-0.0", "nan", "inf", "true", "false", '""',
    '"none"', '"x"', '"32x64"', '"0x0"',
    '"auto"', '"cpu"', '"cuda:99999999999"', "9223372036854775807", "-9223372036854775808", "9223372036854775808",
    "99999999999", "[]", "[1, 2]", "{}",
    "{ a = 1 }", "1979-05-27", "0xff", "1_000", "'''\ntext\n'''", '"\\u0000"', '"\\u001b[31m"', '"\\ud800"',
    '"line\\nbreak"', "",
)
# Values that another key has, so that every choice is tried where it does not belong.
CHOICES = (
    "a-to-b", "jitter", "crop", "scale-width", "bicubic", "isola", "block-ck", "discriminator-first-fresh",
    "orthogonal", "encoder-decoder",
    "instance-affine", "act-conv-norm-dropout", "transposed", "both-ways", "map70", "286", "bce-logits", "plateau",
    "linear", "ssim",
)
# Settings that could make a run long or large are given on the command line, which wins.
PINNED = [*TINY, "--steps", "1", "--batch", "1", "--accumulate", "1", "--depth", "2", "--device", "cpu"]


def value(rng, lines, old=""):
    """A value, mostly of the type of the old one, so that it gets past the parser."""
    old = old.strip()
    if chance(rng, 0.5):
        if old in ("true", "false"):
            return rng.choice(("true", "false"))
        if old.startswith('"'):
            return f'"{rng.choice(CHOICES)}"'
        return rng.choice((*(text for text in VALUES if text[:1].isdigit()), old))
    kind = rng.randrange(4)
    if kind == 0:
        return f'"{rng.choice(CHOICES)}"'
    if kind == 1 and lines:
        return rng.choice(lines).partition("=")[2].strip()
    if kind == 2:
        return '"' + common.name(rng).encode("unicode_escape").decode().replace("\\x", "\\u00").replace(
            '"', '\\"',
        ) + '"'
    return rng.choice(VALUES)


def strange(rng):
    """Lines that are hard on a parser of TOML."""
    return rng.choice((
        "a = " + "[" * 20000, "a = " + "{a=" * 20000, "a" + ".a" * 20000 + " = 1", "[" + "a." * 20000 + "a]",
        "[[a]]\n" * 2000, "[steps]\na = 1",
        '"\x1b[31mkey\x1b[0m" = 1', '"line\\nbreak" = 1', "= 1", "key", "key = 1 key = 2", '"unterminated',
        "# \x00\x1b", "\ufeff", "a = 1" * 1000,
        "\n" * 100000, "batch = 1\nbatch = 1", "'" * 30000, "steps.a = 1", "x = 1" + "0" * 100000, "[train]", "\r",
        "\r\n\r\n", "key = \x7f",
    ))


def changed(rng, text):
    lines = text.splitlines()
    for _ in range(rng.choice((1, 1, 2, 3))):
        at = rng.randrange(len(lines) + 1)
        change = rng.randrange(8)
        key, _, old = (lines[at] if at < len(lines) else "steps = 1").partition("=")
        if change < 3 and at < len(lines):
            lines[at] = f"{key}= {value(rng, lines, old)}"
        elif change == 3:
            common.shuffle_items(rng, lines)
        elif change == 4:
            lines.insert(
                at,
                f"{rng.choice(('new', 'data', 'start-from', 'resume', 'config', 'lr_schedule'))} = {value(rng, lines)}",
            )
        elif change == 5:
            lines.insert(at, strange(rng))
        elif change == 6 and at < len(lines):
            lines[at] = f"{key[:-2]}x = {old}"
        elif at < len(lines):
            lines[at] = common.garble(rng, lines[at].encode()).decode(errors="replace")
    return "\n".join(lines) + "\n"


def build(rng, seeds, folder):
    """A mutated settings file for a run of one step."""
    text = seeds.read("run/config.toml").decode()
    # The settings that a run is started with; the others are its defaults.
    kept = [line for line in text.splitlines() if chance(rng, 0.5)]
    data = changed(rng, "\n".join(kept)).encode(errors="surrogateescape")
    if chance(rng, 0.05):
        data = common.garble(rng, data)
    path = folder / common.file_name(rng, "settings.toml")
    if chance(rng, 0.03):
        common.special(rng, path)
    else:
        path.write_bytes(data)
    return Case(["train", "--config", f"./{path.name}", *PINNED, "--out", "out"], out="out(/.*)?")

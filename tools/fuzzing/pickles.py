"""Files of torch.save: the instructions of their pickles changed, and the zip archive around them."""

import io
import pickletools
import struct
import warnings
import zipfile

from . import common
from .common import Case, chance, number

# Instructions with and without arguments, also those that no writer uses.
INSTRUCTIONS = (
    b".", b"(", b"0", b"1", b"2", b"N", b"]", b"}", b")", b"t", b"l", b"d", b"s", b"u", b"a", b"e", b"R", b"b", b"Q",
    b"o", b"\x81", b"\x92", b"\x93",
    b"\x94", b"\x85", b"\x86", b"\x87", b"\x88", b"\x89", b"\x8f", b"\x90", b"\x91", b"\x97", b"\x98", b"q\0", b"h\0",
    b"r\xff\xff\xff\xff", b"j\0\0\0\0",
    b"\x80\x06", b"\x80\x02", b"\x95" + b"\xff" * 8, b"\x82\x01", b"P1\n", b"I01\n", b"L1L\n", b"F1\n", b"S'a'\n",
    b"Va\n", b"g0\n", b"p0\n",
    b"K\0", b"M\xff\xff", b"J\xff\xff\xff\xff", b"J\0\0\0\x80", b"\x8a\x01\xff", b"\x8a\x08" + b"\xff" * 7 + b"\x7f",
    b"\x8a\xff" + b"\x7f" * 255, b"\x8b\xff\xff\xff\x7f",
    b"G" + b"\xff" * 8, b"X\xff\xff\xff\xff", b"\x8d" + b"\xff" * 8, b"\x8e" + b"\xff" * 8, b"B\xff\xff\xff\xff",
    b"\x96" + b"\xff" * 8, b"X\x01\0\0\0a", b"U\x01\xff", b"\x8c\0",
    b"cposix\nsystem\n", b"c__builtin__\neval\n", b"ctorch\nSize\n", b"ctorch\nLongStorage\n",
    b"ccollections\nOrderedDict\n", b"ctorch._utils\n_rebuild_tensor_v2\n",
    b"c\x1b[31m\nred\n", b"c\n\n", b"ca",
)


def instructions(data):
    """The pickle at the start of `data`, an item for each instruction, and what follows it."""
    starts = [start for _, _, start in pickletools.genops(data)]
    ends = [*starts[1:], starts[-1] + 1]
    return [data[start:end] for start, end in zip(starts, ends)], data[ends[-1]:]


def text(word):
    word = word.encode(errors="surrogatepass")
    return b"X" + struct.pack("<I", len(word)) + word


def change_instruction(rng, item):
    """Another argument."""
    kind = item[:1]
    if width := {b"K": 1, b"M": 2, b"J": 4}.get(kind):
        new = number(rng, int.from_bytes(item[1:], "little"), 8 * width)
        return rng.choice((
            kind + new.to_bytes(width, "little"), b"\x8a\x09" + number(rng, new, 64).to_bytes(9, "little"),
        ))
    if kind == b"X":
        return rng.choice((
            text(common.name(rng)), text(item[5:].decode(errors="replace") + "x"),
            text(rng.choice(("storage", "0", "cpu", "model.0.weight", "down1.model.0.weight", "generator"))),
        ))
    if kind in (b"h", b"q") and len(item) == 2:
        return kind + bytes((number(rng, item[1], 8),))
    if kind == b"c":
        return b"ctorch\n" + rng.choice((
            "Half", "Double", "Long", "Byte", "BFloat16", "Float", "Complex",
        )).encode() + b"Storage\n"
    return common.garble(rng, item)


def many(rng):
    """An instruction repeated many times: depth, marks, references to one object."""
    count = rng.choice((1000, 100_000, 1_000_000))
    return rng.choice((
        b"(", b")", b"]", b"\x85", b"2", b"(t", b"h\0", b")\x85", b"Nq\0", b"N\x94", b"h\0h\0", b"}(h\0h\0u",
    )) * count


def change_pickle(rng, data):
    """The first pickle of `data` changed, and the rest unchanged."""
    try:
        items, rest = instructions(data)
    except Exception:
        return common.garble(rng, data)
    for _ in range(rng.choice((1, 1, 2, 3, 6))):
        at = rng.randrange(len(items))
        change = rng.randrange(8)
        if change < 4:
            items[at] = change_instruction(rng, items[at])
        elif change == 4:
            items.insert(at, rng.choice(INSTRUCTIONS))
        elif change == 5:
            items[at] = rng.choice(INSTRUCTIONS)
        elif change == 6:
            common.shuffle_items(rng, items)
        elif chance(rng, 0.3):
            items.insert(at, many(rng))
        if not items:
            break
    return b"".join(items) + rest


def legacy(rng, data):
    """The older form: pickles in a row. The fourth describes the tensors, the fifth lists the storages."""
    pickles, rest = [], data
    for _ in range(5):
        items, rest = instructions(rest)
        pickles.append(b"".join(items))
    at = rng.choice((0, 1, 2, 3, 3, 3, 3, 4, 4))
    pickles[at] = change_pickle(rng, pickles[at])
    if chance(rng, 0.2):
        rest = number(rng, 0, 64).to_bytes(8, "little") + rest[8:]
    if chance(rng, 0.1):
        rest = rng.choice((common.cut, common.garble))(rng, rest)
    if chance(rng, 0.05):
        common.shuffle_items(rng, pickles)
    return b"".join(pickles) + rest


def zipped(entries, rng=None):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive, warnings.catch_warnings():
        # A name may be in it twice.
        warnings.simplefilter("ignore")
        for name, data in entries:
            kind = zipfile.ZIP_DEFLATED if rng and chance(rng, 0.02) else zipfile.ZIP_STORED
            archive.writestr(zipfile.ZipInfo(name), data, kind, 1)
    return out.getvalue()


def change_zip(rng, data):
    """Changed fields of the directory, which holds the positions of all entries."""
    data = bytearray(data)
    end = data.rfind(b"PK\5\6")
    # Fields of the end record: numbers of entries, size and offset of the directory, length of a comment.
    fields = [(end + at, width) for at, width in ((4, 2), (6, 2), (8, 2), (10, 2), (12, 4), (16, 4), (20, 2))]
    at = data.find(b"PK\1\2")
    while at != -1:
        # Fields of an entry: flags, method, checksum, both sizes, lengths of name, extra and comment, offset.
        widths = {8: 2, 10: 2, 16: 4, 20: 4, 24: 4, 28: 2, 30: 2, 32: 2, 42: 4}
        fields += [(at + offset, width) for offset, width in widths.items()]
        at = data.find(b"PK\1\2", at + 1)
    for _ in range(rng.choice((1, 1, 2))):
        offset, width = rng.choice(fields)
        new = number(rng, int.from_bytes(data[offset:offset + width], "little"), 8 * width)
        data[offset:offset + width] = new.to_bytes(width, "little")
    return bytes(data)


def zip_form(rng, data):
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        entries = [[info.filename, archive.read(info)] for info in archive.infolist()]
    for _ in range(rng.choice((1, 1, 1, 2))):
        change = rng.randrange(9)
        entry = rng.choice(entries) if entries else ["", b""]
        if change < 5:
            for described in entries:
                if described[0].endswith("data.pkl"):
                    described[1] = change_pickle(rng, described[1])
        elif change == 5:
            entry[0] = rng.choice((
                common.name(rng), entry[0] + "x", "a/data.pkl", "/data.pkl", "../data.pkl", "x/constants.pkl",
                "x/byteorder", entry[0].replace("/", "\\"),
            ))
        elif change == 6:
            common.shuffle_items(rng, entries)
            del entries[60:]
        elif change == 7:
            entry[1] = rng.choice((common.cut, common.garble))(rng, entry[1])
        else:
            entry[1] = bytes(rng.choice((0, 1, 1 << 20, 1 << 22)))
    try:
        data = zipped(entries, rng)
    except (UnicodeError, ValueError, struct.error):
        return data
    if chance(rng, 0.25):
        data = change_zip(rng, data)
    if chance(rng, 0.1):
        data = rng.choice((common.cut, common.garble))(rng, data)
    return data


NOT_WEIGHTS = (
    b"", b"<!DOCTYPE html>\n<html>\x1b[31m</html>",
    b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", b"PK\3\4", b"PK\5\6" + bytes(18),
    b"\x80\2.", b"\x1f\x8b\x08",
)


def build(rng, seeds, folder):
    """A mutated file of torch.save, imported or given in place of a checkpoint."""
    names = seeds.names("import")
    source = seeds.read("import/" + rng.choice(names))
    data = zip_form(rng, source) if source.startswith(b"PK") else legacy(rng, source)
    if chance(rng, 0.02):
        data = rng.choice(NOT_WEIGHTS)
    name = common.file_name(rng, "x.pth")
    if chance(rng, 0.02):
        common.special(rng, folder / name)
    else:
        (folder / name).write_bytes(data)
    name = f"./{name}"
    if chance(rng, 0.05):
        return Case(rng.choice((["inspect", name], ["export", name, "--onnx", "x.onnx"])), out="x.onnx")
    flags = rng.choice(([], [], ["--running-stats"], ["--direction", "b-to-a"]))
    return Case(["import", name, "--out", "out.safetensors", *flags], out="out.safetensors")

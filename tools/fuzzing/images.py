"""Pictures: PNG, TIFF and BMP put together here from changed parts, JPEG and WebP of the program taken apart."""

import struct
import zlib

from . import common
from .common import Case, chance, number

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}


def png_bytes(chunks, rng=None):
    """A PNG of chunks; the checksums are right, but for one in twenty."""
    parts = [PNG_SIGNATURE]
    for kind, body in chunks:
        length, sum_ = len(body), zlib.crc32(kind + body)
        if rng and chance(rng, 0.02):
            length, sum_ = rng.choice(((number(rng, length), sum_), (length, sum_ ^ 1)))
        parts += [struct.pack(">I", length), kind, body, struct.pack(">I", sum_)]
    return b"".join(parts)


def png_rows(rng, width, height, color, depth, interlaced):
    """The bytes behind the filters, for all passes."""
    passes = [(0, 0, 1, 1)]
    if interlaced:
        passes = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
    rows = bytearray()
    for x, y, dx, dy in passes:
        columns, lines = -(-(width - x) // dx), -(-(height - y) // dy)
        if columns <= 0 or lines <= 0:
            continue
        for _ in range(lines):
            rows.append(rng.randrange(5))
            rows += rng.randbytes(-(-columns * SAMPLES[color] * depth // 8))
    return bytes(rows)


def png_chunks(rng):
    width, height = rng.choice(((64, 32), (32, 32), (8, 8), (33, 17)))
    color, depth = rng.choice((
        (0, 1), (0, 8), (0, 16), (2, 8), (2, 16), (3, 1), (3, 4), (3, 8), (4, 8), (4, 16), (6, 8), (6, 16),
    ))
    interlaced = chance(rng, 0.3)
    chunks = [[b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, interlaced)]]
    if color == 3:
        chunks.append([b"PLTE", rng.randbytes(3 * 2**depth)])
    chunks.append([b"IDAT", zlib.compress(png_rows(rng, width, height, color, depth, interlaced), 1)])
    return [*chunks, [b"IEND", b""]]


def extra_chunk(rng):
    bomb = zlib.compress(bytes(rng.choice((100, 1 << 20, 1 << 24))))
    return rng.choice((
        [b"tRNS", rng.randbytes(rng.choice((1, 2, 6, 256, 300)))],
        [b"PLTE", rng.randbytes(rng.choice((0, 3, 4, 768, 900)))],
        [b"eXIf", exif(rng)],
        [b"iCCP", b"p\0\0" + bomb],
        [b"zTXt", b"k\0\0" + bomb],
        [b"iTXt", b"k\0\x01\0\0\0" + bomb],
        [b"tEXt", b"k\0" + common.name(rng).encode()],
        [b"gAMA", rng.randbytes(4)],
        [b"acTL", struct.pack(">II", number(rng), number(rng))],
        [b"fcTL", rng.randbytes(26)],
        [b"fdAT", rng.randbytes(40)],
        [b"IDAT", zlib.compress(rng.randbytes(50))],
        [b"IHDR", struct.pack(">IIBBBBB", number(rng), number(rng), 8, 2, 0, 0, 0)],
        [b"IEND", b""],
        [rng.randbytes(4), b""],
    ))


def png(rng):
    chunks = png_chunks(rng)
    for _ in range(rng.choice((1, 1, 2, 3))):
        change = rng.randrange(6)
        idat = next((chunk for chunk in chunks if chunk[0] == b"IDAT"), [b"", b""])
        if change == 0 and chunks and len(chunks[0][1]) == 13:
            header = list(struct.unpack(">IIBBBBB", chunks[0][1]))
            at = rng.randrange(7)
            header[at] = number(rng, header[at], 32 if at < 2 else 8)
            chunks[0][1] = struct.pack(">IIBBBBB", *header)
        elif change == 1:
            common.shuffle_items(rng, chunks)
        elif change == 2:
            chunks.insert(rng.randrange(len(chunks) + 1), extra_chunk(rng))
        elif change == 3:
            idat[1] = zlib.compress(rng.choice((bytes(rng.choice((0, 1, 1 << 22))), rng.randbytes(3000))))
        elif change == 4:
            idat[1] = rng.choice((common.cut, common.garble))(rng, idat[1])
        elif chunks:
            chunk = rng.choice(chunks)
            chunk[1] = common.garble(rng, chunk[1])
    return png_bytes(chunks, rng)


# Bytes and struct's letter of each type of a TIFF's entry.
TYPES = {
    1: (1, "B"), 2: (1, "B"), 3: (2, "H"), 4: (4, "I"), 5: (8, "Q"), 7: (1, "B"), 11: (4, "I"), 12: (8, "Q"),
    13: (4, "I"), 16: (8, "Q"),
}


def tiff_bytes(entries, data, order="<", big=False, rng=None):
    """A TIFF of one directory behind its data. `entries` are [tag, type, values]."""
    offset, count, entry = ("Q", "Q", 20) if big else ("I", "H", 12)
    mask, room = (2**64 - 1, 8) if big else (2**32 - 1, 4)
    start = 16 if big else 8
    directory = start + len(data) + len(data) % 2
    mark = b"II" if order == "<" else b"MM"
    head = mark + struct.pack(order + ("HHHQ" if big else "HI"), *((43, 8, 0, directory) if big else (42, directory)))
    body = struct.pack(order + count, len(entries))
    after = directory + len(body) + entry * len(entries) + struct.calcsize(order + offset)
    behind = b""
    for tag, kind, values in entries:
        width, letter = TYPES.get(kind, (4, "I"))
        packed = b"".join(struct.pack(order + letter, int(value) & (256**width - 1)) for value in values)
        length = len(values)
        if rng and chance(rng, 0.01):
            length = number(rng, length)
        if len(packed) > room:
            position, behind = after + len(behind), behind + packed
            packed = struct.pack(order + offset, position)
        body += struct.pack(order + "HH" + offset, tag & 0xFFFF, kind & 0xFFFF, length & mask) + packed.ljust(
            room, b"\0",
        )
    following = rng.choice((0, 0, 0, directory, number(rng))) if rng else 0
    return head + data + b"\0" * (len(data) % 2) + body + struct.pack(order + offset, following & mask) + behind


def tiff_parts(rng):
    """Entries and data of a whole TIFF, in strips or tiles."""
    width, height = rng.choice(((64, 32), (32, 32), (16, 8)))
    samples, bits = rng.choice(((1, 8), (3, 8), (3, 16), (4, 8), (1, 1), (1, 16), (2, 8), (6, 8), (1, 32), (3, 32)))
    compression = rng.choice((1, 1, 8, 32946, 32773, 5, 7, 50000))
    row = -(-width * samples * bits // 8)
    rows = rng.choice((1, 8, height))
    strips = [rng.randbytes(row * rows) for _ in range(height // rows)]
    if compression in (8, 32946):
        strips = [zlib.compress(strip, 1) for strip in strips]
    offsets, at = [], 8
    for strip in strips:
        offsets.append(at)
        at += len(strip)
    entries = [
        [256, 3, [width]], [257, 3, [height]], [258, 3, [bits] * samples], [259, 3, [compression]],
        [262, 3, [rng.choice((0, 1, 2, 2, 2, 3, 5, 6))]], [273, 4, offsets], [274, 3, [rng.randrange(1, 9)]], [
            277, 3, [samples],
        ],
        [278, 4, [rows]], [279, 4, [len(strip) for strip in strips]], [284, 3, [1]],
        [339, 3, [rng.choice((1, 1, 1, 2, 3))] * samples],
    ]
    if chance(rng, 0.2):
        entries.append([317, 3, [rng.choice((1, 2, 3))]])
    if samples in (2, 4):
        entries.append([338, 3, [rng.choice((0, 1, 2))]])
    return entries, b"".join(strips)


def change_entries(rng, entries):
    change = rng.randrange(6)
    entry = rng.choice(entries) if entries else [0, 3, [0]]
    if change == 0 and entry[2]:
        at = rng.randrange(len(entry[2]))
        entry[2][at] = number(rng, entry[2][at], 64)
    elif change == 1:
        entry[1] = rng.choice((0, 1, 2, 3, 4, 5, 7, 11, 12, 13, 16, 99))
    elif change == 2:
        entry[2] = ((entry[2] or [0]) * rng.choice((0, 2, 100, 5000)))[:5000]
    elif change == 3:
        entry[0] = rng.choice((
            256, 257, 258, 259, 273, 277, 278, 279, 320, 322, 323, 324, 325, 338, 347, 530, 34665,
            number(rng, entry[0], 16),
        ))
    elif change == 4:
        common.shuffle_items(rng, entries)
        del entries[100:]
    else:
        entries += [
            [322, 4, [number(rng, 16)]], [323, 4, [number(rng, 16)]], [324, 4, [8]], [325, 4, [number(rng, 64)]],
        ]


def tiff(rng):
    entries, data = tiff_parts(rng)
    for _ in range(rng.choice((1, 1, 2, 3))):
        change_entries(rng, entries)
    if chance(rng, 0.1):
        data = common.garble(rng, data)
    return tiff_bytes(entries, data, rng.choice("<>"), chance(rng, 0.15), rng)


def exif(rng):
    """An EXIF orientation, or something like it."""
    entries = [[274, 3, [rng.randrange(10)]], [34665, 4, [number(rng, 26)]]]
    for _ in range(rng.randrange(3)):
        change_entries(rng, entries)
    return tiff_bytes(entries, b"", rng.choice("<>"), rng=rng)


def bmp(rng):
    width, height, bits = rng.choice((64, 32, 8)), rng.choice((32, 8)), rng.choice((1, 4, 8, 16, 24, 32))
    palette = rng.randbytes(4 * 2**bits) if bits <= 8 else b""
    rows = rng.randbytes(-(-width * bits // 32) * 4 * height)
    size = rng.choice((40, 40, 40, 12, 52, 56, 64, 108, 124, 16))
    fields = [size, width, rng.choice((height, -height)), 1, bits, 0, len(rows), 2835, 2835, len(palette) // 4, 0]
    # Fields by their widths: offset of the rows, then the header's.
    start = 14 + max(size, 40) + len(palette)
    for _ in range(rng.choice((0, 1, 1, 2, 3))):
        at = rng.randrange(12)
        if at == 11:
            start = number(rng, start)
        else:
            fields[at] = number(rng, fields[at])
    if chance(rng, 0.3):
        fields[5] = rng.randrange(7)
    if chance(rng, 0.2):
        rows = rng.choice((common.cut, common.garble))(rng, rows)
    packed = struct.pack("<III", *(field & 0xFFFFFFFF for field in fields[:3]))
    packed += struct.pack("<HH", *(field & 0xFFFF for field in fields[3:5]))
    packed += struct.pack("<IIIIII", *(field & 0xFFFFFFFF for field in fields[5:]))
    if size == 12:
        packed = struct.pack("<IHHHH", 12, width, height, 1, bits)
    packed = packed.ljust(min(size, 200), b"\0") if size > 40 else packed
    return b"BM" + struct.pack(
        "<IHHI", 14 + len(packed) + len(palette) + len(rows), 0, 0, start,
    ) + packed + palette + rows


def jpeg_segments(data):
    """[marker, body] of each segment; the compressed data stand behind their SOS, as one with the marker 0."""
    segments, at = [], 2
    while at + 4 <= len(data):
        marker, length = data[at + 1], int.from_bytes(data[at + 2:at + 4], "big")
        segments.append([marker, data[at + 4:at + 2 + length]])
        at += 2 + length
        if marker == 0xDA:
            return [*segments, [0, data[at:]]]
    return segments


def jpeg(rng, seeds):
    names = [name for name in seeds.names("pictures") if name.endswith(".jpg")]
    segments = jpeg_segments(seeds.read("pictures/" + rng.choice(names)))
    for _ in range(rng.choice((1, 1, 2, 3))):
        change = rng.randrange(7)
        segment = rng.choice(segments) if segments else [0, b""]
        frame = next((s for s in segments if 0xC0 <= s[0] <= 0xC2), None)
        if change == 0 and frame and len(frame[1]) > 6:
            body = bytearray(frame[1])
            at, width = rng.choice(((0, 1), (1, 2), (3, 2), (5, 1), (rng.randrange(6, len(body)), 1)))
            body[at:at + width] = number(rng, int.from_bytes(body[at:at + width], "big"), 8 * width).to_bytes(
                width, "big",
            )
            frame[1] = bytes(body)
        elif change == 1:
            segment[0] = rng.choice((
                0xC0, 0xC1, 0xC2, 0xC3, 0xC4, 0xC9, 0xD8, 0xD9, 0xDA, 0xDB, 0xDD, 0xE0, 0xE1, 0xEE, 0xFE, 0xFF,
            ))
        elif change == 2:
            common.shuffle_items(rng, segments)
        elif change == 3:
            segments.insert(rng.randrange(len(segments) + 1), [0xE1, b"Exif\0\0" + exif(rng)])
        elif change == 4:
            segments.insert(rng.randrange(len(segments) + 1), [0xDD, struct.pack(">H", number(rng, 1, 16))])
        elif change == 5:
            segments.insert(1, [0xE2, b"ICC_PROFILE\0" + rng.randbytes(rng.choice((2, 3000)))])
        else:
            segment[1] = rng.choice((common.cut, common.garble))(rng, segment[1])
    data = b"\xff\xd8"
    for marker, body in segments:
        length = min(len(body) + 2, 0xFFFF)
        if chance(rng, 0.01):
            length = number(rng, length, 16)
        data += body if marker == 0 else struct.pack(">BBH", 0xFF, marker, length) + body[:0xFFFD]
    return data


def webp_chunks(data):
    chunks, at = [], 12
    while at + 8 <= len(data):
        length = int.from_bytes(data[at + 4:at + 8], "little")
        chunks.append([data[at:at + 4], data[at + 8:at + 8 + length]])
        at += 8 + length + length % 2
    return chunks


def webp(rng, seeds):
    names = [name for name in seeds.names("pictures") if name.endswith(".webp")]
    chunks = webp_chunks(seeds.read("pictures/" + rng.choice(names)))
    for _ in range(rng.choice((1, 1, 2, 3))):
        change = rng.randrange(5)
        chunk = rng.choice(chunks) if chunks else [b"", b""]
        if change == 0 and chunk[0] == b"VP8L":
            # Width and height are 14 bits each, then a bit for alpha and three of the version.
            chunk[1] = b"\x2f" + struct.pack("<I", number(rng, int.from_bytes(chunk[1][1:5], "little"))) + chunk[1][5:]
        elif change == 1:
            size = struct.pack("<I", number(rng, 63))[:3], struct.pack("<I", number(rng, 31))[:3]
            chunks.insert(0, [b"VP8X", bytes((rng.getrandbits(8), 0, 0, 0)) + size[0] + size[1]])
        elif change == 2:
            kind = rng.choice((b"ANIM", b"ANMF", b"ALPH", b"EXIF", b"ICCP", b"VP8 ", b"VP8L", b"XMP "))
            body = exif(rng) if kind == b"EXIF" else rng.randbytes(rng.choice((0, 1, 6, 16, 60)))
            chunks.insert(rng.randrange(len(chunks) + 1), [kind, body])
        elif change == 3:
            common.shuffle_items(rng, chunks)
        else:
            chunk[1] = rng.choice((common.cut, common.garble))(rng, chunk[1])
    body = b"WEBP"
    for kind, content in chunks:
        length = number(rng, len(content)) if chance(rng, 0.03) else len(content)
        body += kind + struct.pack("<I", length) + content + b"\0" * (len(content) % 2)
    return b"RIFF" + struct.pack("<I", number(rng, len(body)) if chance(rng, 0.05) else len(body)) + body


def write_seeds(folder):
    """Pictures that are whole: some to be translated into other formats, and two pairs."""
    import random

    rng = random.Random(1)
    (folder / "drawn").mkdir()
    for kind, width, height, color in (("rgb", 64, 32, 2), ("grey", 16, 16, 0), ("rgba", 33, 17, 6)):
        row = [(x, c) for x in range(width) for c in range(SAMPLES[color])]
        rows = b"".join(b"\0" + bytes(x * y * (c + 1) % 256 for x, c in row) for y in range(height))
        header = struct.pack(">IIBBBBB", width, height, 8, color, 0, 0, 0)
        (folder / f"drawn/{kind}.png").write_bytes(png_bytes([
            (b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""),
        ]))
    (folder / "pairs").mkdir()
    for number_ in range(2):
        header = struct.pack(">IIBBBBB", 64, 32, 8, 2, 0, 0, 0)
        rows = zlib.compress(png_rows(rng, 64, 32, 2, 8, False))
        (folder / f"pairs/{number_}.png").write_bytes(png_bytes([(b"IHDR", header), (b"IDAT", rows), (b"IEND", b"")]))


def mutated(rng, seeds):
    """The bytes of a mutated picture, with the ending of its format."""
    kind = rng.choice(("png", "png", "jpg", "tif", "tif", "webp", "bmp"))
    data = {"png": png, "tif": tiff, "bmp": bmp}.get(kind)
    data = data(rng) if data else {"jpg": jpeg, "webp": webp}[kind](rng, seeds)
    if chance(rng, 0.1):
        data = rng.choice((common.cut, common.garble))(rng, data)
    return data, kind


def build(rng, seeds, folder):
    """A mutated picture, or another file, in a folder of pictures that is checked, translated or made into pairs."""
    data, kind = mutated(rng, seeds)
    pictures = folder / "pictures"
    pictures.mkdir()
    seeds.copy("pairs/0.png", pictures / "a.png")
    name = common.file_name(rng, f"b.{kind}")
    if chance(rng, 0.05):
        common.special(rng, pictures / name)
    else:
        (pictures / name).write_bytes(data)
    if chance(rng, 0.05):
        common.special(rng, pictures / "c.png")
    command = rng.randrange(8)
    if command < 4:
        return Case(["data", "check", "pictures"])
    if command == 4:
        seeds.copy("run/checkpoints/step-00000004.safetensors", folder / "x.safetensors")
        what = rng.choice(("pictures", f"pictures/{name}"))
        flags = rng.choice((
            [], ["--pairs"], ["--tile", "32"], ["--format", "jpeg"], ["--format", "tiff"], ["--samples", "2"],
        ))
        return Case(["translate", "x.safetensors", what, "--out", "out", "--threads", "1", *flags], out="out(/.*)?")
    if command == 5:
        kind = rng.choice(("colorize", "edges", "inpaint"))
        return Case(["data", "make", kind, "pictures", "--out", "out", "--size", "32"], out="out(/.*)?")
    if command == 6:
        flags = rng.choice(([], ["--resize"]))
        return Case(["data", "pair", "--a", "pictures", "--b", "pictures", "--out", "out", *flags], out="out(/.*)?")
    return Case(["data", "split", "pictures", "--out", "out", "--val", "0.5"], out="out(/.*)?")

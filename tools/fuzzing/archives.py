"""Archives for `data fetch`, from a server on this machine."""

import gzip
import http.server
import io
import struct
import tarfile
import threading

from . import common
from .common import Case, chance, number

TYPES = (
    tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE,
    tarfile.CONTTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_SPARSE, b"x", b"g", b"K", b"Z", b"\0",
)


class Server:
    """Serves one archive at a time."""

    def __init__(self):
        self.archive = b""
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(200)
                self.send_header("Content-Length", str(len(outer.archive)))
                self.end_headers()
                try:
                    self.wfile.write(outer.archive)
                except OSError:
                    pass

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/x.tar.gz"


SERVERS = []


def server():
    """The server of this process."""
    if not SERVERS:
        SERVERS.append(Server())
    return SERVERS[0]


def member(rng, name, data=b""):
    """One entry with its data, whose checksum is right."""
    info = tarfile.TarInfo(name)
    info.size = len(data)
    if chance(rng, 0.1):
        info.type = rng.choice(TYPES)
        info.linkname = rng.choice(("", "/etc/passwd", "..", name))
    form = rng.choice((tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT))
    try:
        head = bytearray(info.tobuf(form, errors="surrogateescape"))
    except (ValueError, UnicodeError):
        head = bytearray(info.tobuf(tarfile.GNU_FORMAT, errors="replace"))
    if chance(rng, 0.15):
        # Offsets of fields of the last header: name, mode, size, type, magic, prefix.
        at, width = rng.choice(((0, 100), (100, 8), (124, 12), (156, 1), (257, 8), (345, 155)))
        new = rng.choice((
            b"\0", b"\xff" * width, b"7" * width, b"\x80" + bytes(width - 1), rng.randbytes(width),
            b"%o" % number(rng, 0, 33),
        ))
        start = len(head) - 512
        head[start + at:start + at + width] = new[:width].ljust(width, b"\0")
        head[start + 148:start + 156] = b" " * 8
        head[start + 148:start + 156] = b"%06o\0 " % sum(head[start:start + 512])
    return bytes(head) + data + bytes(-len(data) % 512)


def records(rng):
    """A pax header of strange records."""
    lines = rng.choice((
        b"30 path=" + b"a" * 40 + b"\n", b"12 size=-1\n\n", b"x path=\n", b"99999999999 path=a\n",
        b"18 size=999999999\n", b"19 path=\x1b[31mred\n", b"7 path=", b"20 GNU.sparse.map=0,1\n", b"",
    ))
    return member_of(b"x", lines)


def member_of(kind, data):
    info = tarfile.TarInfo("about")
    info.type, info.size = kind, len(data)
    return info.tobuf(tarfile.USTAR_FORMAT) + data + bytes(-len(data) % 512)


def mutated(rng, seeds):
    picture = seeds.read("pairs/0.png")
    members = [member_of(tarfile.DIRTYPE, b"")] if chance(rng, 0.2) else []
    members += [member(rng, f"x/train/{number_}.png", picture) for number_ in range(3)]
    for _ in range(rng.choice((0, 1, 1, 2))):
        at = rng.randrange(len(members) + 1)
        change = rng.randrange(6)
        if change == 0:
            members.insert(at, member(rng, common.name(rng), picture))
        elif change == 1:
            members.insert(at, records(rng))
        elif change == 2:
            members.insert(
                at,
                member_of(rng.choice((b"L", b"K")), rng.choice((b"a" * 5000, b"../x\0", b"/x", b"\n", b"a/" * 3000))),
            )
        elif change == 3:
            common.shuffle_items(rng, members)
            del members[300:]
        elif change == 4:
            members.insert(at, member(rng, "x/train/x.png/" + common.name(rng), picture))
        else:
            members.insert(at, member(rng, "x/zeros", bytes(rng.choice((1, 1 << 20, 1 << 23)))))
    tar = b"".join(members) + bytes(rng.choice((1024, 1024, 1024, 0, 512, 5000)))
    if chance(rng, 0.1):
        tar = rng.choice((common.cut, common.garble))(rng, tar)
    packed = bytearray(gzip.compress(tar, 1, mtime=0))
    change = rng.randrange(14)
    if change == 0:
        packed[-8:] = struct.pack("<II", number(rng), number(rng))
    elif change == 1:
        packed[3] = rng.getrandbits(8)
    elif change == 2:
        packed += rng.choice((b"more", gzip.compress(b"more"), bytes(1000), bytes(packed)))
    elif change == 3:
        return tar
    elif change == 4:
        return common.cut(rng, bytes(packed))
    elif change == 5:
        return common.garble(rng, bytes(packed))
    elif change == 6:
        return rng.choice((b"", b"<html>", picture, b"\x1f\x8b", gzip.compress(b""), gzip.compress(gzip.compress(tar))))
    return bytes(packed)


def build(rng, seeds, folder):
    """A case that fetches an archive. The archive is kept as `x.tar.gz` beside the folder that it is fetched into."""
    archive = mutated(rng, seeds)
    (folder / "x.tar.gz").write_bytes(archive)
    server().archive = archive
    own = r"data|data/x\.tar\.gz\.part.*|data/fetched\.toml"
    return Case(["data", "fetch", "x", "--url", server().url], out="data(/.*)?", own=own)

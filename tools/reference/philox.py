"""Philox4x32-10, the generator both sides share: test data and dropout masks are functions of a name, so no file holds
them.

The bits are those of `src/engine/philox.rs`. Run as a script, this checks the known-answer vectors published with
Random123.
"""

import functools

import numpy as np

MULTIPLIERS = np.array([0xD2511F53, 0xCD9E8D57], dtype=np.uint64)
WEYL = (0x9E3779B9, 0xBB67AE85)
LOW = np.uint64(0xFFFF_FFFF)
VALUES_KEY = 0x70697874  # "pixt"


def philox4x32(counter, key):
    """Ten rounds. `counter`: uint64 [..., 4] holding 32-bit words, `key`: two ints. Returns uint32 [..., 4]."""
    c0, c1, c2, c3 = np.moveaxis(np.asarray(counter, dtype=np.uint64), -1, 0)
    k0, k1 = key
    for _ in range(10):
        p0, p1 = MULTIPLIERS[0] * c0, MULTIPLIERS[1] * c2
        c0, c1, c2, c3 = (p1 >> 32) ^ c1 ^ np.uint64(k0), p1 & LOW, (p0 >> 32) ^ c3 ^ np.uint64(k1), p0 & LOW
        k0, k1 = (k0 + WEYL[0]) & 0xFFFF_FFFF, (k1 + WEYL[1]) & 0xFFFF_FFFF
    return np.stack([c0, c1, c2, c3], axis=-1).astype(np.uint32)


def draws(count, rest, key):
    """The first `count` words: element i is word i % 4 of the block whose counter is [i // 4, *rest]."""
    counters = np.zeros(((count + 3) // 4, 4), dtype=np.uint64)
    counters[:, 0] = np.arange(len(counters))
    counters[:, 1:] = rest
    return philox4x32(counters, key).ravel()[:count]


def fnv1a32(text):
    """The 32-bit FNV-1a hash of the UTF-8 bytes of `text`."""
    state = 0x811C9DC5
    for byte in text.encode():
        state = ((state ^ byte) * 0x01000193) & 0xFFFF_FFFF
    return state


@functools.cache
def values(tag, shape, scale=1.0):
    """Uniform in [-scale, scale), float32, in row-major order of `shape`; exact when `scale` is a power of two."""
    words = draws(int(np.prod(shape)), [0, 0, 0], (fnv1a32(tag), VALUES_KEY))
    return (((words >> 8) * 2.0**-23 - 1.0) * scale).astype(np.float32).reshape(shape)


@functools.cache
def keep_mask(seed, step, forward, layer, shape_nhwc, p):
    """The dropout multiplier 0 or 1/(1-p) as float64 NCHW. Elements are numbered in NHWC order over the whole batch."""
    words = draws(
        int(np.prod(shape_nhwc)),
        [layer | forward << 16, step & 0xFFFF_FFFF, step >> 32],
        (seed & 0xFFFF_FFFF, seed >> 32),
    )
    threshold = min(round(p * 2**32), 0xFFFF_FFFF)
    mask = np.where(words >= threshold, 1.0 / (1.0 - p), 0.0)
    return np.ascontiguousarray(mask.reshape(shape_nhwc).transpose(0, 3, 1, 2))


def check_known_answers():
    pi = [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344]
    cases = [
        ([0] * 4, (0, 0), [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
        ([0xFFFF_FFFF] * 4, (0xFFFF_FFFF,) * 2, [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
        (pi, (0xA4093822, 0x299F31D0), [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1]),
    ]
    for counter, key, expected in cases:
        assert philox4x32(counter, key).tolist() == expected, (counter, key)


if __name__ == "__main__":
    check_known_answers()
    print("values('example', [5]) =", values("example", [5]).tolist())
    print("known answers: ok")

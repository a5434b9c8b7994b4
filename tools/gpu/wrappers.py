"""Runs the probes of kernels/wrappers.cu, one for each function of ptx.cuh, and writes what they leave in memory.

    python3 wrappers.py KERNELS FILE

KERNELS is the folder with wrappers.fatbin. FILE becomes {"card": ..., "probes": {kernel: hexadecimal bytes}}; a GPU's
is committed as tools/cudasim/tests/wrappers.json, and a test holds the simulator against it.
"""

import argparse
import ctypes
import json
import sys
from ctypes import c_int, c_uint, c_uint64
from pathlib import Path

from driver import DriverError, Gpu

FROM_BYTES, OUT_BYTES = 1 << 16, 4096
BF16 = 9  # CU_TENSOR_MAP_DATA_TYPE_BFLOAT16
WGMMA = [
    f"{layout}_{order}"
    for layout in ("plain", "swizzle_128", "swizzle_64", "swizzle_32")
    for order in ("nn", "nt", "tn", "tt")
]

# Kernel: (threads, bytes of dynamic shared memory, bytes that it leaves).
PROBES = {
    "smem_u32": (32, 0, 128),
    "cp_async16": (32, 0, 512),
    "cp_async8": (32, 0, 512),
    "cp_async4": (32, 0, 512),
    "cp_async_groups": (32, 0, 256),
    "ldmatrix_x4": (32, 0, 512),
    "ldmatrix_x4_trans": (32, 0, 512),
    "ldmatrix_x2": (32, 0, 256),
    "mma_bf16_m16n8k16": (32, 0, 512),
    "atomic_add_acq_rel": (32, 0, 36),
    "named_bar": (64, 0, 128),
    "mbarrier": (32, 0, 24),
    "tma_load_2d": (32, 4096, 4 * (4 * 32 + 16)),
    "tma_load_2d_swizzle_32": (32, 4096, 4 * (4 * 32 + 16)),
    "tma_load_2d_swizzle_64": (32, 4096, 4 * (4 * 64 + 16)),
    "tma_load_2d_swizzle_128": (32, 4096, 4 * (4 * 128 + 16)),
    "tma_load_4d": (32, 4096, 4 * (2 * 2 * 3 * 4 + 16)),
    "tma_load_im2col_4d": (32, 4096, 4 * (12 * 4 + 16)),
    "tma_store_2d": (32, 4096, 2048),
    "wgmma_desc": (32, 0, 1024),
    **{f"wgmma_{name}": (128, 32768, 4096) for name in WGMMA},
    "setmaxnreg": (384, 0, 1536),
}


class TensorMap(ctypes.Structure):
    _fields_ = [("encoded", c_uint64 * 16)]


class Probe(ctypes.Structure):
    # The tensor maps are aligned to 128 bytes, which ctypes does not know.
    _fields_ = [
        ("source", c_uint64),
        ("out", c_uint64),
        ("padding", c_uint64 * 14),
        ("tiled", TensorMap * 4),
        ("four", TensorMap),
        ("im2col", TensorMap),
        ("target", TensorMap),
    ]


def array(kind, *values):
    return (kind * len(values))(*values)


def encoded(gpu, call, address, sizes, strides, box, steps, swizzle):
    """A tensor map of 16-bit values, sizes from the innermost out, strides in bytes; `box` as `call` takes it."""
    # The driver asks for an address that is a multiple of 64.
    memory = ctypes.create_string_buffer(128 + 64)
    begin = -ctypes.addressof(memory) % 64
    gpu(
        call,
        ctypes.byref(memory, begin),
        c_int(BF16),
        c_uint(len(sizes)),
        ctypes.c_void_p(address),
        array(c_uint64, *sizes),
        array(c_uint64, *strides),
        *box,
        array(c_uint, *steps),
        *map(c_int, (0, swizzle, 0, 0)),  # no interleaving, no promotion, zeros outside
    )
    return TensorMap.from_buffer_copy(memory, begin)


def tiled(gpu, address, sizes, box, swizzle=0):
    strides = [2 * sizes[0]]
    for size in sizes[1:-1]:
        strides.append(strides[-1] * size)
    box = (array(c_uint, *box),)
    return encoded(gpu, "cuTensorMapEncodeTiled", address, sizes, strides, box, [1] * len(sizes), swizzle)


def arguments(gpu, source, out):
    probe = Probe(source, out)
    for swizzle, width in enumerate((16, 16, 32, 64)):
        probe.tiled[swizzle] = tiled(gpu, source, (128, 64), (width, 16), swizzle)
    probe.four = tiled(gpu, source, (8, 6, 5, 2), (8, 3, 2, 2))
    # From one pixel before the image to the last at which a window of 4 begins; 12 pixels in steps of 2.
    box = (array(c_int, -1, -1), array(c_int, -2, -2), c_uint(8), c_uint(12))
    probe.im2col = encoded(gpu, "cuTensorMapEncodeIm2col", source, (8, 6, 5, 2), (16, 96, 480), box, (1, 2, 2, 1), 0)
    probe.target = tiled(gpu, out, (32, 32), (16, 16))
    return probe


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kernels", metavar="KERNELS")
    parser.add_argument("file", metavar="FILE")
    args = parser.parse_args()
    gpu = Gpu(Path(args.kernels) / "wrappers.fatbin")
    source, out = gpu.zeros(FROM_BYTES), gpu.zeros(OUT_BYTES)
    gpu.write(source, b"".join(i.to_bytes(2, "little") for i in range(FROM_BYTES // 2)))
    probe, left = arguments(gpu, source, out), {}
    for name, (threads, shared_bytes, size) in PROBES.items():
        gpu.fill(out, 0xFF, OUT_BYTES)
        try:
            gpu.launch(f"probe_{name}", 1, threads, probe, shared_bytes)
            left[name] = gpu.read(out, OUT_BYTES)[:size].hex()
        except DriverError as problem:
            # After a kernel has failed no call succeeds any more: what is there is written.
            sys.exit(f"wrappers.py: probe_{name}: {problem}; {len(left)} probes were done before")
        finally:
            content = {"card": gpu.name, "probes": left}
            Path(args.file).write_text(json.dumps(content, indent=1) + "\n")
    print(json.dumps({"name": "probes", "card": gpu.name, "probes": len(left)}))


if __name__ == "__main__":
    main()

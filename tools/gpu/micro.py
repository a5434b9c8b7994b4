"""Micro-benchmarks of a GPU: the numbers behind src/profile/gpu.toml. Prints a JSON line for each measurement.

    python3 micro.py KERNELS [--dry-run]

KERNELS is the folder with micro.fatbin. A time is the median of several runs between two events, two runs before not
counted; what takes less than some 100 us is repeated inside of a graph. --dry-run has tiny sizes, for the simulator.
"""

import argparse
import ctypes
import json
from ctypes import c_int, c_uint32, c_uint64
from pathlib import Path

from driver import L2_BYTES, MULTIPROCESSORS, NOT_SUPPORTED, DriverError, Gpu

MB = 1 << 20
CHUNK = 4096
STREAM_THREADS, REQUEST_THREADS, LOOP_THREADS, PRODUCT_THREADS = 256, 1024, 1024, 256
REQUESTS_OF_A_ROUND = 8
REPEAT = 7


def structure(name, **fields):
    return type(name, (ctypes.Structure,), {"_fields_": list(fields.items())})


# The arguments of the kernels in micro.cu.
Touch = structure("Touch", source=c_uint64, target=c_uint64)
Stream = structure("Stream", source=c_uint64, bytes=c_uint64, rounds=c_int, sums=c_uint64)
Chase = structure(
    "Chase",
    source=c_uint64,
    words=c_uint32,
    begin=c_uint32,
    stride=c_uint32,
    zero=c_uint32,
    hops=c_int,
    last=c_uint64,
)
Requests = structure("Requests", source=c_uint64, words=c_uint32, rounds=c_int, sums=c_uint64)
Loop = structure("Loop", rounds=c_int, sums=c_uint64, clocks=c_uint64)


class Bench:
    """The GPU, its memory and the sizes."""

    def __init__(self, kernels, dry_run):
        self.gpu = Gpu(Path(kernels) / "micro.fatbin")
        self.dry_run = dry_run
        self.multiprocessors = self.gpu.attribute(MULTIPROCESSORS)
        # Blocks that fill the card. The simulator runs them one after another.
        self.all = 4 if dry_run else self.multiprocessors
        self.big_bytes = 8 * MB if dry_run else 4096 * MB
        self.cached_bytes = MB if dry_run else 16 * MB
        self.big = self.gpu.random(self.big_bytes)
        self.sums = self.gpu.zeros(2 * self.all * LOOP_THREADS * 4)
        self.small = self.gpu.zeros(self.all * STREAM_THREADS * 16)
        self.clocks = self.gpu.zeros(8)
        self.repeat = 1 if dry_run else REPEAT

    def sized(self, number, tiny):
        return tiny if self.dry_run else number

    def say(self, name, times, **numbers):
        us, least, most = times
        print(json.dumps({"name": name, **numbers, "us": us, "min_us": least, "max_us": most}), flush=True)

    def time(self, work):
        return self.gpu.microseconds(work, self.repeat)


def machine(bench):
    gpu = bench.gpu
    print(
        json.dumps(
            {
                "name": "card",
                "card": gpu.name,
                "multiprocessors": bench.multiprocessors,
                "l2_mb": gpu.attribute(L2_BYTES) / MB,
                "simulated": gpu.is_simulated,
            }
        ),
        flush=True,
    )


def copies(bench):
    """A copy by the driver, as the rate of memory: bytes read and written."""
    half = bench.big_bytes // 2
    copy = lambda: bench.gpu(
        "cuMemcpyDtoDAsync_v2", c_uint64(bench.big + half), c_uint64(bench.big), ctypes.c_size_t(half), bench.gpu.stream
    )
    times = bench.time(copy)
    bench.say("copy", times, bytes=2 * half, tb_per_s=2 * half / times[0] / 1e6)


def launches(bench):
    """The time from one node of a chain to the next: kernels that do nothing, and such as load and store 16 bytes a
    thread, without and with programmatic dependent launch."""
    gpu, nodes = bench.gpu, bench.sized(200, 4)
    # Two buffers in turn, so that each kernel needs what the one before wrote.
    there = bench.small
    for kernel, blocks, dependent in [
        ("nothing", 1, False),
        ("nothing", bench.all, False),
        ("touch", 1, False),
        ("touch", bench.all, False),
        ("touch_dependent", 1, True),
        ("touch_dependent", bench.all, True),
    ]:
        arguments = [Touch(there, bench.sums), Touch(bench.sums, there)]

        def chain():
            for node in range(nodes):
                gpu.launch(kernel, blocks, STREAM_THREADS, arguments[node % 2], dependent=dependent)

        row = {"kernel": kernel, "blocks": blocks, "nodes": nodes}
        try:
            graph = gpu.graph(chain)
        except DriverError as refused:
            if refused.code != NOT_SUPPORTED:
                raise
            print(json.dumps({"name": "chain in a graph", **row, "refused": str(refused)}), flush=True)
            continue
        times = bench.time(lambda: gpu.replay(graph))
        bench.say("chain in a graph", times, **row, us_a_node=times[0] / nodes)


def stream_arguments(bench, where, blocks, stages, of_block):
    """A function that returns the arguments of the next launch. From memory every launch reads other bytes than those
    before, of which L2 has kept some."""
    rounds = of_block // CHUNK // stages - 1
    if where == "L2":
        return lambda: Stream(bench.big, bench.cached_bytes, rounds, bench.sums)
    size, begin = blocks * of_block, 0

    def following():
        nonlocal begin
        if begin + size > bench.big_bytes:
            begin = 0
        arguments = Stream(bench.big + begin, size, rounds, bench.sums)
        begin += size
        return arguments

    return following


def bandwidth(bench):
    """Reads by cp.async with 8 to 64 KB of each multiprocessor under way."""
    gpu, of_block = bench.gpu, bench.sized(8 * MB, 128 << 10)
    for where in ("L2", "memory"):
        for blocks in (1, bench.sized(64, 2), bench.all):
            for stages in (2, 4, 8, 16):
                kilobytes = stages * CHUNK >> 10
                arguments = stream_arguments(bench, where, blocks, stages, of_block)
                kernel, shared = f"stream_{kilobytes}k", stages * CHUNK
                times = bench.time(lambda: gpu.launch(kernel, blocks, STREAM_THREADS, arguments(), shared))
                bench.say(
                    f"read from {where}",
                    times,
                    blocks=blocks,
                    kb_in_flight=kilobytes,
                    tb_per_s=blocks * of_block / times[0] / 1e6,
                )


def latency(bench):
    """A chain of loads of one thread; lines of a region in an order that no prefetch follows."""
    hops = bench.sized(2000, 20)
    for where, size in (("L2", bench.cached_bytes), ("memory", min(bench.big_bytes, 256 * MB))):
        words, begin = size // 4, 0
        # An odd number of lines: the walk comes to every line before it comes back, and goes on with each launch, so
        # that L1 never has the next one.
        stride = (int(words // 32 * 0.382) // 2 * 2 + 1) * 32

        def walk():
            nonlocal begin
            bench.gpu.launch("chase", 1, 32, Chase(bench.big, words, begin, stride, 0, hops, bench.sums))
            begin = (begin + hops * stride) % words

        if where == "L2":
            # A pass over the region brings it to L2.
            warm = stream_arguments(bench, "L2", bench.all, 2, bench.cached_bytes // CHUNK * CHUNK // bench.all)
            bench.gpu.launch("stream_8k", bench.all, STREAM_THREADS, warm(), 2 * CHUNK)
        times = bench.time(walk)
        bench.say(f"latency of {where}", times, ns_a_load=times[0] / hops * 1e3)


def request_costs(bench):
    """Requests of warps whose 128 bytes lie in 1 to 32 lines, which hit L1 or come from L2."""
    for where, size in (("L1", 64 << 10), ("L2", bench.cached_bytes)):
        for lines in (1, 4, 8, 32):
            rounds = max(1, bench.sized(1024, 32) // lines)
            arguments = Requests(bench.big, size // 4, rounds, bench.sums)
            kernel = f"requests_{lines}"
            times = bench.time(lambda: bench.gpu.launch(kernel, bench.all, REQUEST_THREADS, arguments))
            of_one = REQUEST_THREADS // 32 * REQUESTS_OF_A_ROUND * rounds
            bench.say(f"requests to {where}", times, lines=lines, ns_a_request=times[0] * 1e3 / of_one)


def loops(bench):
    """Rates of one multiprocessor in a clock: multiply-adds, loads from shared memory, products."""
    gpu = bench.gpu
    for kernel, threads, blocks_of_one, rounds, shared, work in [
        # `work` of a warp in a round: multiply-adds, wavefronts, multiply-adds of matrix units.
        ("multiply_adds", LOOP_THREADS, 1, 8192, 0, 8 * 32),
        ("shared_loads", LOOP_THREADS, 1, 1024, 0, 4 * 4),
        ("products_in_registers", PRODUCT_THREADS, 2, 2048, 0, 8 * 16 * 8 * 16),
        ("products_from_shared", PRODUCT_THREADS, 2, 2048, 0, 8 * 16 * 8 * 16),
        ("products_of_groups", PRODUCT_THREADS, 2, 1024, 4 * 8192, 4 * 64 * 64 * 16 / 4),
    ]:
        rounds = bench.sized(rounds, 2)
        blocks = blocks_of_one * bench.all
        arguments = Loop(rounds, bench.sums, bench.clocks)
        times = bench.time(lambda: gpu.launch(kernel, blocks, threads, arguments, shared))
        done = work * rounds * threads // 32 * blocks_of_one
        numbers = {"of_one_per_us": done / times[0]}
        if kernel in ("multiply_adds", "shared_loads"):
            clocks = int.from_bytes(gpu.read(bench.clocks, 8), "little")
            # The simulator has no clock.
            numbers["of_one_per_clock"] = done / clocks if clocks else None
            numbers["ghz"] = clocks / times[0] / 1e3 if clocks else None
        if kernel.startswith("products"):
            numbers["tflop_per_s"] = 2 * done * bench.all / times[0] / 1e6
        bench.say(kernel, times, **numbers)


def side_by_side(bench):
    """A chain of kernels of high priority, beside one kernel of low priority that streams memory: as a graph of two
    branches, and each branch alone."""
    gpu, nodes = bench.gpu, bench.sized(40, 2)
    lowest, highest = gpu.priorities()
    low, high = gpu.new_stream(lowest), gpu.new_stream(highest)
    stages, of_block = 8, bench.sized(12 * MB, 128 << 10)
    side_arguments = stream_arguments(bench, "memory", bench.all, stages, of_block)()
    links = {
        "L2": (
            "stream_16k",
            STREAM_THREADS,
            stream_arguments(bench, "L2", bench.all, 4, 256 << 10)(),
            4 * CHUNK,
        ),
        "products": (
            "products_from_shared",
            PRODUCT_THREADS,
            Loop(bench.sized(100, 2), bench.sums, bench.clocks),
            0,
        ),
    }

    def branches(link, with_chain, with_side):
        kernel, threads, arguments, shared = link
        begin, chain_end, side_end = (gpu.event(timed=False) for _ in range(3))

        def work():
            gpu.record(begin)
            if with_chain:
                gpu.wait_for(begin, high)
                for _ in range(nodes):
                    gpu.launch(kernel, bench.all, threads, arguments, shared, stream=high)
                gpu.record(chain_end, high)
                gpu.wait_for(chain_end, gpu.stream)
            if with_side:
                gpu.wait_for(begin, low)
                gpu.launch("stream_32k", bench.all, STREAM_THREADS, side_arguments, stages * CHUNK, stream=low)
                gpu.record(side_end, low)
                gpu.wait_for(side_end, gpu.stream)

        graph = gpu.graph(work)
        return bench.time(lambda: gpu.replay(graph))

    for name, link in links.items():
        chain, side = branches(link, True, False), branches(link, False, True)
        both = branches(link, True, True)
        hidden = (chain[0] + side[0] - both[0]) / min(chain[0], side[0])
        bench.say(f"side beside a chain of {name}", both, chain_us=chain[0], side_us=side[0], hidden=hidden)


def constants(lines):
    """The constants of gpu.toml that the measurements give, as {name: (value, how)}."""
    found = {}

    def pick(name, **wanted):
        rows = [line for line in lines if line["name"] == name and "us" in line]
        return [row for row in rows if all(row.get(key) == value for key, value in wanted.items())]

    def put(name, value, how):
        if value is not None:
            found[name] = (value, how)

    card = next((line for line in lines if line["name"] == "card"), None)
    if not card:
        return found
    everything = max((row["blocks"] for row in pick("read from L2")), default=None)
    put("multiprocessors", card["multiprocessors"], "the driver")
    put("l2_mb", card["l2_mb"], "the driver")
    clock = next((row.get("ghz") for row in pick("multiply_adds")), None)
    put("clock_ghz", clock, "clocks of a loop of multiply-adds over its time")
    for row in pick("multiply_adds"):
        rate = row.get("of_one_per_clock")
        put("issue_efficiency", rate and rate / 128, "multiply-adds a clock, of 128")
    for row in pick("shared_loads"):
        put("wavefronts_per_clock", row.get("of_one_per_clock"), "loads of 16 bytes without conflicts")
    requests = {row["lines"]: row["ns_a_request"] for row in pick("requests to L1")}
    if clock and {1, 32} <= set(requests):
        per_line = (requests[32] - requests[1]) / 31 * clock
        put("lines_per_clock", 1 / per_line if per_line > 0 else None, "requests of 32 lines less those of one")
    of_one = max((row["tb_per_s"] for row in pick("read from L2", blocks=1)), default=None)
    if clock and of_one:
        put("l2_bytes_per_clock", of_one * 1e3 / clock, "one block, the best of 8 to 64 KB in flight")
    if everything:
        put("l2_tb_per_s", max(row["tb_per_s"] for row in pick("read from L2", blocks=everything)), "all at once")
        for row in pick("read from L2", blocks=everything, kb_in_flight=8):
            loaded = everything * 8 * 1024 / row["tb_per_s"] / 1e6
            put("l2_latency_us", loaded, "8 KB in flight on every multiprocessor over their rate")
    copied = [row["tb_per_s"] for row in pick("copy")]
    read = [row["tb_per_s"] for row in pick("read from memory")]
    put("memory_tb_per_s", max(copied + read, default=None), "the best of a copy and of reads")
    for row in pick("products_from_shared"):
        put("tensor_tflop_per_s", row["tflop_per_s"], "mma.sync with half an ldmatrix a product")
    gap = next((row["us_a_node"] for row in pick("chain in a graph", kernel="nothing") if row["blocks"] > 1), None)
    put("gap_us", gap, "kernels that do nothing, in a graph")
    touch = next((row["us_a_node"] for row in pick("chain in a graph", kernel="touch") if row["blocks"] > 1), None)
    put("ramp_us", touch and gap and touch - gap, "kernels with a load and a store, less those that do nothing")
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kernels", metavar="KERNELS")
    parser.add_argument("--dry-run", action="store_true")
    args = parser.parse_args()
    bench = Bench(args.kernels, args.dry_run)
    for work in (machine, copies, launches, bandwidth, latency, request_costs, loops, side_by_side):
        try:
            work(bench)
        except DriverError as problem:
            # A failed kernel makes every later call fail, and those say so too.
            print(json.dumps({"name": work.__name__, "failed": str(problem)}), flush=True)


if __name__ == "__main__":
    main()

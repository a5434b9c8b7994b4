"""The CUDA driver through ctypes: what the micro-benchmarks and probes need of it, in a Python without packages.

The machine code comes from tools/gpu/kernels, compiled when the bundle was made. On the simulator, which has the same
kernels in its library, everything runs but programmatic dependent launches.
"""

import ctypes
import os
import statistics
from ctypes import POINTER, byref, c_char_p, c_float, c_int, c_size_t, c_ubyte, c_uint, c_ulonglong, c_void_p

# CUdevice_attribute, CUfunction_attribute, CUlaunchAttributeID and flags of cuda.h.
MULTIPROCESSORS, L2_BYTES = 16, 38
MAX_DYNAMIC_SHARED = 8
PROGRAMMATIC = 6
NON_BLOCKING = 1
CAPTURE_THREAD_LOCAL = 1
NOT_SUPPORTED = 801


class DriverError(Exception):
    """A call that the driver refused, by name and code."""

    def __init__(self, call, code, text):
        super().__init__(f"{call}: {text} ({code})")
        self.code = code


class LaunchAttribute(ctypes.Structure):
    _fields_ = [("id", c_int), ("pad", c_int), ("value", c_int * 16)]


class LaunchConfig(ctypes.Structure):
    _fields_ = [
        ("grid", c_uint * 3),
        ("block", c_uint * 3),
        ("shared_bytes", c_uint),
        ("stream", c_void_p),
        ("attributes", POINTER(LaunchAttribute)),
        ("attribute_count", c_uint),
    ]


class Gpu:
    """The first GPU, with one module of machine code and a stream."""

    def __init__(self, fatbin):
        self.library = ctypes.CDLL("libcuda.so.1")
        self("cuInit", c_uint(0))
        self.device = c_int()
        self("cuDeviceGet", byref(self.device), c_int(0))
        name = ctypes.create_string_buffer(256)
        self("cuDeviceGetName", name, c_int(256), self.device)
        self.name = name.value.decode()
        self.context = c_void_p()
        self("cuDevicePrimaryCtxRetain", byref(self.context), self.device)
        self("cuCtxSetCurrent", self.context)
        self.module = c_void_p()
        self("cuModuleLoadData", byref(self.module), c_char_p(fatbin.read_bytes()))
        self.functions = {}
        self.stream = self.new_stream(0)

    def __call__(self, call, *arguments):
        code = getattr(self.library, call)(*arguments)
        if code != 0:
            text = c_char_p()
            self.library.cuGetErrorString(c_int(code), byref(text))
            raise DriverError(call, code, (text.value or b"an unknown error").decode())

    @property
    def is_simulated(self):
        return self.name.startswith("cudasim")

    def attribute(self, number):
        value = c_int()
        self("cuDeviceGetAttribute", byref(value), c_int(number), self.device)
        return value.value

    def new_stream(self, priority):
        stream = c_void_p()
        self("cuStreamCreateWithPriority", byref(stream), c_uint(NON_BLOCKING), c_int(priority))
        return stream

    def priorities(self):
        """(the lowest, the highest) priority of a stream."""
        least, greatest = c_int(), c_int()
        self("cuCtxGetStreamPriorityRange", byref(least), byref(greatest))
        return least.value, greatest.value

    def zeros(self, size):
        """The address of new memory, filled with zeros."""
        address = c_ulonglong()
        self("cuMemAlloc_v2", byref(address), c_size_t(size))
        self.fill(address.value, 0, size)
        return address.value

    def random(self, size):
        """The address of new memory with random bytes, a megabyte over and over. Zeros would be moved faster."""
        address, filled = self.zeros(size), min(size, 1 << 20)
        self.write(address, os.urandom(filled))
        while filled < size:
            more = min(filled, size - filled)
            self("cuMemcpyDtoD_v2", c_ulonglong(address + filled), c_ulonglong(address), c_size_t(more))
            filled += more
        self.wait()
        return address

    def fill(self, address, byte, size):
        self("cuMemsetD8_v2", c_ulonglong(address), c_ubyte(byte), c_size_t(size))
        # The stream of the launches does not wait for the one of this call.
        self.wait()

    def write(self, address, data):
        self("cuMemcpyHtoD_v2", c_ulonglong(address), c_char_p(data), c_size_t(len(data)))

    def read(self, address, size):
        self.wait()
        data = ctypes.create_string_buffer(size)
        self("cuMemcpyDtoH_v2", data, c_ulonglong(address), c_size_t(size))
        return data.raw

    def wait(self):
        self("cuCtxSynchronize")

    def function(self, kernel, shared_bytes):
        if kernel not in self.functions:
            function = c_void_p()
            self("cuModuleGetFunction", byref(function), self.module, c_char_p(kernel.encode()))
            self("cuFuncSetAttribute", function, c_int(MAX_DYNAMIC_SHARED), c_int(shared_bytes))
            self.functions[kernel] = function
        return self.functions[kernel]

    def launch(self, kernel, blocks, threads, arguments, shared_bytes=0, stream=None, dependent=False):
        """Enqueues a kernel, whose one argument is the structure `arguments`. `dependent`: its blocks may start before
        the kernel in front of it has ended."""
        config = LaunchConfig((blocks, 1, 1), (threads, 1, 1), shared_bytes, stream or self.stream, None, 0)
        if dependent:
            attribute = LaunchAttribute(PROGRAMMATIC, 0, (1,))
            config.attributes, config.attribute_count = ctypes.pointer(attribute), 1
        parameters = (c_void_p * 1)(ctypes.addressof(arguments))
        self("cuLaunchKernelEx", byref(config), self.function(kernel, shared_bytes), parameters, None)

    def event(self, timed=True):
        event = c_void_p()
        self("cuEventCreate", byref(event), c_uint(0 if timed else 2))
        return event

    def record(self, event, stream=None):
        self("cuEventRecord", event, stream or self.stream)

    def wait_for(self, event, stream):
        self("cuStreamWaitEvent", stream, event, c_uint(0))

    def graph(self, work):
        """A graph of the work that `work` enqueues, which can be launched."""
        # The driver loads a kernel when it is launched first, which must not be in a capture.
        work()
        self.wait()
        self("cuStreamBeginCapture_v2", self.stream, c_int(CAPTURE_THREAD_LOCAL))
        captured, graph = c_void_p(), c_void_p()
        work()
        self("cuStreamEndCapture", self.stream, byref(captured))
        self("cuGraphInstantiateWithFlags", byref(graph), captured, c_ulonglong(0))
        self("cuGraphDestroy", captured)
        return graph

    def replay(self, graph):
        self("cuGraphLaunch", graph, self.stream)

    def microseconds(self, work, repeat):
        """The times between two events around `work`, which enqueues something: median, least and most. Two runs
        before do not count."""
        begin, end, times = self.event(), self.event(), []
        for run in range(repeat + 2):
            self.record(begin)
            work()
            self.record(end)
            self("cuEventSynchronize", end)
            ms = c_float()
            self("cuEventElapsedTime", byref(ms), begin, end)
            if run >= 2:
                times.append(ms.value * 1e3)
        for event in (begin, end):
            self("cuEventDestroy_v2", event)
        return statistics.median(times), min(times), max(times)

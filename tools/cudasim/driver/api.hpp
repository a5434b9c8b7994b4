// The driver API as C sees it: result codes, and the macro that exports a function. Handles are pointers to the structs
// that are declared here and defined where they belong.
#pragma once
#include "../runtime/launch.hpp"
#include <cstddef>
#include <cstdint>
#include <string>

namespace cudasim {

enum Result {
    SUCCESS = 0,
    INVALID_VALUE = 1,
    OUT_OF_MEMORY = 2,
    NOT_INITIALIZED = 3,
    NO_DEVICE = 100,
    INVALID_DEVICE = 101,
    INVALID_CONTEXT = 201,
    FILE_NOT_FOUND = 301,
    INVALID_HANDLE = 400,
    ILLEGAL_STATE = 401,
    NOT_FOUND = 500,
    NOT_READY = 600,
    LAUNCH_FAILED = 719,
    NOT_SUPPORTED = 801,
    STREAM_CAPTURE_UNSUPPORTED = 900,
    STREAM_CAPTURE_INVALIDATED = 901,
    STREAM_CAPTURE_MERGE = 902,
    STREAM_CAPTURE_UNMATCHED = 903,
    STREAM_CAPTURE_UNJOINED = 904,
    STREAM_CAPTURE_ISOLATION = 905,
    STREAM_CAPTURE_IMPLICIT = 906,
    CAPTURED_EVENT = 907,
    STREAM_CAPTURE_WRONG_THREAD = 908,
};

typedef unsigned long long DevicePointer;

// A failure with a text, which cuGetErrorString returns on this host thread.
Result fail(Result result, const std::string& why);

// Between cuInit and the end: null until then.
const Machine* machine();

}  // namespace cudasim

#define CUDA_API extern "C" __attribute__((visibility("default"))) cudasim::Result

#include "capture.hpp"
#include <algorithm>

namespace cudasim {

// Captures under way. Guarded by the lock of streams().
static std::vector<std::shared_ptr<Capture>> captures;

Frontier& Capture::frontier_of(const Stream& stream) {
    for (CapturedStream& captured : streams)
        if (captured.stream.get() == &stream) return captured.frontier;
    return streams.front().frontier;
}

void invalidate(Capture& capture) { capture.invalid = true; }

Result record_node(Stream& stream, Work work) {
    Capture& capture = *stream.capture;
    if (capture.invalid) return fail(STREAM_CAPTURE_INVALIDATED, "an earlier error has ended this capture");
    Frontier& frontier = capture.frontier_of(stream);
    frontier = {capture.graph->add({std::move(work), frontier})};
    return SUCCESS;
}

static void merge(Frontier& into, const Frontier& other) {
    for (int node : other)
        if (std::find(into.begin(), into.end(), node) == into.end()) into.push_back(node);
}

Result join_capture(Stream& stream, Capture& capture, const Frontier& frontier) {
    if (capture.ended) return fail(INVALID_VALUE, "this event was recorded in a capture that has ended");
    if (capture.invalid) return fail(STREAM_CAPTURE_INVALIDATED, "an earlier error has ended this capture");
    if (stream.kind == Stream::Kind::Legacy)
        return fail(STREAM_CAPTURE_IMPLICIT, "the legacy stream cannot take part in a capture");
    if (stream.capture && stream.capture.get() != &capture) {
        invalidate(capture);
        invalidate(*stream.capture);
        return fail(STREAM_CAPTURE_MERGE, "two captures cannot be merged");
    }
    if (!stream.capture) {
        stream.capture = capture.shared_from_this();
        capture.streams.push_back({stream.shared_from_this(), {}});
    }
    merge(capture.frontier_of(stream), frontier);
    return SUCCESS;
}

Result refuse_while_capturing(Stream& stream) {
    invalidate(*stream.capture);
    return fail(STREAM_CAPTURE_UNSUPPORTED, "this call is not permitted while the stream is being captured");
}

Result refuse_unsafe_call(const char* call) {
    const auto caller_mode = (CaptureMode)this_thread().capture_mode;
    if (caller_mode == CaptureMode::Relaxed) return SUCCESS;
    for (const auto& capture : captures) {
        const bool own = capture->thread == std::this_thread::get_id();
        const bool forbidden = capture->mode == CaptureMode::Global
                                   ? own || caller_mode == CaptureMode::Global
                                   : capture->mode == CaptureMode::ThreadLocal && own;
        if (!forbidden) continue;
        invalidate(*capture);
        return fail(STREAM_CAPTURE_UNSUPPORTED, std::string(call) + " is not permitted during a capture");
    }
    return SUCCESS;
}

Result check_implicit_order(const Stream& stream) {
    if (stream.kind != Stream::Kind::Legacy) return SUCCESS;
    for (const auto& capture : captures)
        for (const CapturedStream& captured : capture->streams)
            if (captured.stream->kind == Stream::Kind::Blocking) {
                invalidate(*capture);
                return fail(STREAM_CAPTURE_IMPLICIT, "the legacy stream would wait for a captured one");
            }
    return SUCCESS;
}

static void end(const std::shared_ptr<Capture>& capture) {
    capture->ended = true;
    for (CapturedStream& captured : capture->streams) captured.stream->capture = nullptr;
    capture->streams.clear();
    std::erase(captures, capture);
}

// True if every branch has joined the origin again: only the origin's last nodes may have no successor.
static bool is_joined(Capture& capture) {
    const Frontier& last = capture.frontier_of(*capture.origin);
    for (int node : capture.graph->leaves())
        if (std::find(last.begin(), last.end(), node) == last.end()) return false;
    return true;
}

}  // namespace cudasim

using namespace cudasim;

CUDA_API cuStreamBeginCapture_v2(void* handle, int mode) {
    std::unique_lock<std::mutex> lock(streams().mutex);
    const std::shared_ptr<Stream> stream = streams().find(handle);
    if (!stream) return fail(INVALID_HANDLE, "this stream does not exist");
    if (mode < 0 || mode > 2) return fail(INVALID_VALUE, "cuStreamBeginCapture: unknown mode");
    if (stream->kind == Stream::Kind::Legacy)
        return fail(STREAM_CAPTURE_UNSUPPORTED, "the legacy stream cannot be captured");
    if (stream->capture) return fail(ILLEGAL_STATE, "this stream is being captured already");
    static uint64_t ids = 0;
    auto capture = std::make_shared<Capture>();
    capture->mode = (CaptureMode)mode;
    capture->thread = std::this_thread::get_id();
    capture->origin = stream;
    capture->id = ++ids;
    capture->streams.push_back({stream, {}});
    stream->capture = capture;
    captures.push_back(capture);
    return SUCCESS;
}

CUDA_API cuStreamEndCapture(void* handle, void** graph) {
    *graph = nullptr;
    std::unique_lock<std::mutex> lock(streams().mutex);
    const std::shared_ptr<Stream> stream = streams().find(handle);
    if (!stream) return fail(INVALID_HANDLE, "this stream does not exist");
    const std::shared_ptr<Capture> capture = stream->capture;
    if (!capture) return fail(ILLEGAL_STATE, "this stream is not being captured");
    if (capture->origin != stream) {
        invalidate(*capture);
        return fail(STREAM_CAPTURE_UNMATCHED, "a capture ends on the stream that it began on");
    }
    if (capture->mode != CaptureMode::Relaxed && capture->thread != std::this_thread::get_id())
        return fail(STREAM_CAPTURE_WRONG_THREAD, "a capture ends on the host thread that it began on");
    const bool joined = is_joined(*capture);
    end(capture);
    if (capture->invalid) return fail(STREAM_CAPTURE_INVALIDATED, "an earlier error has ended this capture");
    if (!joined)
        return fail(STREAM_CAPTURE_UNJOINED, "a stream that joined the capture was not joined back to its origin");
    *graph = register_graph(std::move(capture->graph));
    return SUCCESS;
}

CUDA_API cuStreamIsCapturing(void* handle, int* status) {
    std::unique_lock<std::mutex> lock(streams().mutex);
    const std::shared_ptr<Stream> stream = streams().find(handle);
    if (!stream) return fail(INVALID_HANDLE, "this stream does not exist");
    *status = !stream->capture ? 0 : stream->capture->invalid ? 2 : 1;
    return SUCCESS;
}

CUDA_API cuStreamGetCaptureInfo_v2(void* handle, int* status, uint64_t* id, void** graph, const void*** dependencies,
                                   size_t* count) {
    if (Result result = cuStreamIsCapturing(handle, status)) return result;
    std::unique_lock<std::mutex> lock(streams().mutex);
    const std::shared_ptr<Capture> capture = streams().find(handle)->capture;
    if (id) *id = capture ? capture->id : 0;
    if (graph) *graph = nullptr;  // a graph that still grows is not given away
    if (dependencies) *dependencies = nullptr;
    if (count) *count = capture ? capture->frontier_of(*streams().find(handle)).size() : 0;
    return SUCCESS;
}

CUDA_API cuThreadExchangeStreamCaptureMode(int* mode) {
    if (*mode < 0 || *mode > 2) return fail(INVALID_VALUE, "cuThreadExchangeStreamCaptureMode: unknown mode");
    std::swap(*mode, this_thread().capture_mode);
    return SUCCESS;
}

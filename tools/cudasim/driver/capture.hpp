// Stream capture: while a stream is captured its work becomes nodes of a graph instead of tasks. Work on the streams
// that join through events becomes nodes of the same graph.
#pragma once
#include "graph.hpp"
#include "stream.hpp"
#include <thread>

namespace cudasim {

enum class CaptureMode { Global = 0, ThreadLocal = 1, Relaxed = 2 };

// The nodes that the next work of a stream depends on.
typedef std::vector<int> Frontier;

struct CapturedStream {
    std::shared_ptr<Stream> stream;
    Frontier frontier;
};

struct Capture : std::enable_shared_from_this<Capture> {
    CaptureMode mode;
    std::thread::id thread;
    std::shared_ptr<Stream> origin;
    bool invalid = false, ended = false;
    uint64_t id = 0;
    std::shared_ptr<Graph> graph = std::make_shared<Graph>();
    std::vector<CapturedStream> streams;

    Frontier& frontier_of(const Stream& stream);
};

// All of these want the lock of streams() held.
void invalidate(Capture& capture);
Result record_node(Stream& stream, Work work);
Result join_capture(Stream& stream, Capture& capture, const Frontier& frontier);
// A call that cannot be recorded, on a captured stream: invalidates the capture.
Result refuse_while_capturing(Stream& stream);
// A call that could wait for work on any stream: refused while a capture forbids it.
Result refuse_unsafe_call(const char* call);
// Work on the legacy stream would wait for a captured blocking one.
Result check_implicit_order(const Stream& stream);

}  // namespace cudasim

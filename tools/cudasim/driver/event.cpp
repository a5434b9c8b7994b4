// Events: a point in a stream, or, recorded during a capture, a node in a graph.
#include "capture.hpp"
#include "counts.hpp"
#include "handles.hpp"
#include <chrono>

namespace cudasim {

typedef std::chrono::steady_clock Clock;

struct Event {
    bool timing = true;
    Ticket ticket;  // of the last record; no stream before the first
    std::shared_ptr<Clock::time_point> reached = std::make_shared<Clock::time_point>();
    std::shared_ptr<Capture> capture;  // instead of the ticket
    Frontier frontier;
};

static Handles<Event> events;
size_t event_count() { return events.count(); }

static Result no_such_event() { return fail(INVALID_HANDLE, "this event does not exist"); }

static Result refuse_captured(Event& event) {
    invalidate(*event.capture);
    return fail(CAPTURED_EVENT, "this event was recorded in a capture");
}

}  // namespace cudasim

using namespace cudasim;

CUDA_API cuEventCreate(void** event, unsigned flags) {
    constexpr unsigned DISABLE_TIMING = 2;
    if (flags > 7) return fail(INVALID_VALUE, "cuEventCreate: unknown flags");
    auto made = std::make_shared<Event>();
    made->timing = !(flags & DISABLE_TIMING);
    *event = events.add(std::move(made));
    return SUCCESS;
}

CUDA_API cuEventDestroy_v2(void* event) { return events.remove(event) ? SUCCESS : no_such_event(); }

CUDA_API cuEventRecord(void* handle, void* stream_handle) {
    const std::shared_ptr<Event> event = events.find(handle);
    if (!event) return no_such_event();
    std::unique_lock<std::mutex> lock(streams().mutex);
    const std::shared_ptr<Stream> stream = streams().find(stream_handle);
    if (!stream) return fail(INVALID_HANDLE, "this stream does not exist");
    if (stream->capture) {
        event->capture = stream->capture;
        event->frontier = stream->capture->frontier_of(*stream);
        return stream->capture->invalid ? fail(STREAM_CAPTURE_INVALIDATED, "an earlier error has ended this capture")
                                        : SUCCESS;
    }
    if (Result refused = check_implicit_order(*stream)) return refused;
    event->capture = nullptr;
    event->reached = std::make_shared<Clock::time_point>();
    const Ticket ticket = {stream, stream->enqueued + 1};
    event->ticket = ticket;
    streams().enqueue(*stream, {{}, [reached = event->reached](Outcome&) { *reached = Clock::now(); }}, lock);
    return SUCCESS;
}

CUDA_API cuStreamWaitEvent(void* stream_handle, void* handle, unsigned) {
    const std::shared_ptr<Event> event = events.find(handle);
    if (!event) return no_such_event();
    std::unique_lock<std::mutex> lock(streams().mutex);
    const std::shared_ptr<Stream> stream = streams().find(stream_handle);
    if (!stream) return fail(INVALID_HANDLE, "this stream does not exist");
    if (event->capture) return join_capture(*stream, *event->capture, event->frontier);
    if (!event->ticket.stream) return SUCCESS;  // never recorded: nothing to wait for
    if (stream->capture) {
        invalidate(*stream->capture);
        return fail(STREAM_CAPTURE_ISOLATION, "a captured stream cannot wait for an event from outside of the capture");
    }
    if (Result refused = check_implicit_order(*stream)) return refused;
    streams().enqueue(*stream, {{event->ticket}, nullptr}, lock);
    return SUCCESS;
}

CUDA_API cuEventSynchronize(void* handle) {
    const std::shared_ptr<Event> event = events.find(handle);
    if (!event) return no_such_event();
    std::unique_lock<std::mutex> lock(streams().mutex);
    if (event->capture) return refuse_captured(*event);
    if (!event->ticket.stream) return SUCCESS;
    streams().finish(event->ticket, lock);
    return streams().acknowledge(*event->ticket.stream);
}

CUDA_API cuEventQuery(void* handle) {
    const std::shared_ptr<Event> event = events.find(handle);
    if (!event) return no_such_event();
    std::unique_lock<std::mutex> lock(streams().mutex);
    if (event->capture) return refuse_captured(*event);
    if (streams().is_finished(event->ticket)) return SUCCESS;
    // A host thread that polls must see progress.
    streams().finish({event->ticket.stream, event->ticket.stream->completed + 1}, lock);
    return NOT_READY;
}

CUDA_API cuEventElapsedTime_v2(float* milliseconds, void* first, void* second) {
    const std::shared_ptr<Event> begin = events.find(first), end = events.find(second);
    if (!begin || !end) return no_such_event();
    std::unique_lock<std::mutex> lock(streams().mutex);
    for (const auto& event : {begin, end}) {
        if (event->capture) return refuse_captured(*event);
        if (!event->timing || !event->ticket.stream)
            return fail(INVALID_HANDLE, "an event without timing, or one that was never recorded");
        if (!streams().is_finished(event->ticket)) return NOT_READY;
    }
    *milliseconds = std::chrono::duration<float, std::milli>(*end->reached - *begin->reached).count();
    return SUCCESS;
}
CUDA_API cuEventElapsedTime(float* milliseconds, void* first, void* second) {
    return cuEventElapsedTime_v2(milliseconds, first, second);
}

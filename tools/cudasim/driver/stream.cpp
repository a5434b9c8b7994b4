#include "stream.hpp"
#include "capture.hpp"

namespace cudasim {

Streams& streams() {
    static Streams all;
    return all;
}

std::shared_ptr<Stream> Streams::create(Stream::Kind kind) {
    std::lock_guard<std::mutex> guard(mutex);
    streams_.push_back(std::make_shared<Stream>(kind, this_thread().id));
    return streams_.back();
}

// Handles 0 and 1 are the legacy default stream; 2 is the per-thread one, which is not told apart from it.
std::shared_ptr<Stream> Streams::find(void* handle) {
    if ((uintptr_t)handle <= 2) return legacy_;
    for (const auto& stream : streams_)
        if (stream.get() == handle) return stream;
    return nullptr;
}

Result Streams::destroy(Stream* handle) {
    std::unique_lock<std::mutex> lock(mutex);
    const std::shared_ptr<Stream> stream = find(handle);
    if (!stream || stream == legacy_) return fail(INVALID_HANDLE, "this is not a stream that can be destroyed");
    if (stream->capture) invalidate(*stream->capture);
    finish({stream, stream->enqueued}, lock);
    // The thread that destroys the stream gets its reports: there is no later call that could. The stream is destroyed
    // even if it has failed.
    acknowledge(*stream);
    std::erase(streams_, stream);
    return SUCCESS;
}

size_t Streams::count() {
    std::lock_guard<std::mutex> guard(mutex);
    return streams_.size();
}

// The legacy stream waits for all blocking streams, and they wait for it.
void Streams::add_implicit_order(Stream& stream, Task& task) {
    if (stream.kind == Stream::Kind::Blocking) task.after.push_back({legacy_, legacy_->enqueued});
    if (stream.kind != Stream::Kind::Legacy) return;
    for (const auto& other : streams_)
        if (other->kind == Stream::Kind::Blocking) task.after.push_back({other, other->enqueued});
}

Ticket Streams::enqueue(Stream& stream, Task task, std::unique_lock<std::mutex>& lock) {
    add_implicit_order(stream, task);
    task.thread = this_thread().id;
    stream.queue.push_back(std::move(task));
    const Ticket ticket{stream.shared_from_this(), ++stream.enqueued};
    switch (this_thread().settings.asynchrony) {
        case Asynchrony::Eager: finish(ticket, lock); break;
        case Asynchrony::Random: run_some_at_random(lock); break;
        case Asynchrony::Lazy: break;
    }
    return ticket;
}

// Runs the next task of the stream. False when it has to wait for another stream, or when there is none.
bool Streams::run_one(Stream& stream, std::unique_lock<std::mutex>& lock) {
    if (stream.running || stream.queue.empty()) return false;
    for (const Ticket& ticket : stream.queue.front().after)
        if (!is_finished(ticket)) return false;
    const Task task = std::move(stream.queue.front());
    stream.queue.pop_front();
    Outcome outcome;
    Failure& failure = stream.failure(task.thread);
    if (task.work && !failure.failed) {
        stream.running = true;
        lock.unlock();
        task.work(outcome);
        lock.lock();
        stream.running = false;
    }
    stream.completed++;
    if (!outcome.reports.empty()) failure.failed = true;
    for (std::string& line : outcome.reports) failure.reports.push_back(std::move(line));
    progress_.notify_all();
    return true;
}

void Streams::finish(const Ticket& ticket, std::unique_lock<std::mutex>& lock) {
    Stream& stream = *ticket.stream;
    while (stream.completed < ticket.number) {
        if (stream.running) {
            progress_.wait(lock);
            continue;
        }
        // A task depends only on tasks that were enqueued before it, so this recursion ends.
        const std::vector<Ticket> after = stream.queue.front().after;
        bool waited = false;
        for (const Ticket& needed : after)
            if (!is_finished(needed)) {
                finish(needed, lock);
                waited = true;
            }
        if (!waited) run_one(stream, lock);
    }
}

void Streams::finish_all(std::unique_lock<std::mutex>& lock) {
    const std::vector<std::shared_ptr<Stream>> all = streams_;
    finish({legacy_, legacy_->enqueued}, lock);
    for (const auto& stream : all) finish({stream, stream->enqueued}, lock);
}

void Streams::run_some_at_random(std::unique_lock<std::mutex>& lock) {
    Random& random = this_thread().random;
    const uint64_t me = this_thread().id;  // others' work would make the draw depend on their timing
    while (random.below(2)) {
        std::vector<std::shared_ptr<Stream>> busy;
        for (const auto& stream : streams_)
            if (!stream->queue.empty() && stream->thread == me) busy.push_back(stream);
        if (!legacy_->queue.empty() && legacy_->queue.front().thread == me) busy.push_back(legacy_);
        if (busy.empty()) return;
        run_one(*busy[random.below(busy.size())], lock);
    }
}

Result Streams::acknowledge(Stream& stream) {
    ThreadState& thread = this_thread();
    Failure& failure = stream.failure(thread.id);
    if (!failure.failed) return SUCCESS;
    thread.failed_streams.push_back(stream.weak_from_this());
    std::string text;
    for (std::string& line : failure.reports) {
        text += (text.empty() ? "" : "\n") + line;
        thread.reports.push_back(std::move(line));
    }
    failure.reports.clear();
    return fail(LAUNCH_FAILED, text.empty() ? "an earlier launch of this stream failed" : text);
}

Result Streams::acknowledge_own() {
    Result result = acknowledge(*legacy_);
    for (const auto& stream : streams_)
        if (stream->thread == this_thread().id) result = std::max(result, acknowledge(*stream));
    return result;
}

Result submit(void* handle, Work work, std::vector<Ticket> after) {
    std::unique_lock<std::mutex> lock(streams().mutex);
    const std::shared_ptr<Stream> stream = streams().find(handle);
    if (!stream) return fail(INVALID_HANDLE, "this stream does not exist");
    if (stream->capture) return record_node(*stream, std::move(work));
    if (Result refused = check_implicit_order(*stream)) return refused;
    streams().enqueue(*stream, {std::move(after), std::move(work)}, lock);
    return SUCCESS;
}

Result submit_and_wait(void* handle, Work work) {
    std::unique_lock<std::mutex> lock(streams().mutex);
    const std::shared_ptr<Stream> stream = streams().find(handle);
    if (!stream) return fail(INVALID_HANDLE, "this stream does not exist");
    if (stream->capture) return refuse_while_capturing(*stream);
    if (Result refused = check_implicit_order(*stream)) return refused;
    const Ticket ticket = streams().enqueue(*stream, {{}, std::move(work)}, lock);
    streams().finish(ticket, lock);
    return streams().acknowledge(*stream);
}

}  // namespace cudasim

using namespace cudasim;

CUDA_API cuStreamCreate(void** stream, unsigned flags) {
    if (flags > 1) return fail(INVALID_VALUE, "cuStreamCreate: unknown flags");
    *stream = streams().create(flags & 1 ? Stream::Kind::NonBlocking : Stream::Kind::Blocking).get();
    return SUCCESS;
}
CUDA_API cuStreamCreateWithPriority(void** stream, unsigned flags, int) { return cuStreamCreate(stream, flags); }
CUDA_API cuStreamDestroy_v2(void* stream) { return streams().destroy((Stream*)stream); }

CUDA_API cuStreamSynchronize(void* handle) {
    std::unique_lock<std::mutex> lock(streams().mutex);
    const std::shared_ptr<Stream> stream = streams().find(handle);
    if (!stream) return fail(INVALID_HANDLE, "this stream does not exist");
    if (stream->capture) return refuse_while_capturing(*stream);
    streams().finish({stream, stream->enqueued}, lock);
    return streams().acknowledge(*stream);
}

CUDA_API cuStreamQuery(void* handle) {
    std::unique_lock<std::mutex> lock(streams().mutex);
    const std::shared_ptr<Stream> stream = streams().find(handle);
    if (!stream) return fail(INVALID_HANDLE, "this stream does not exist");
    if (stream->capture) return refuse_while_capturing(*stream);
    // A host thread that polls must see progress.
    if (!streams().is_finished({stream, stream->enqueued})) {
        streams().finish({stream, stream->completed + 1}, lock);
        return NOT_READY;
    }
    return streams().acknowledge(*stream);
}


CUDA_API cuCtxSynchronize() {
    std::unique_lock<std::mutex> lock(streams().mutex);
    if (Result refused = refuse_unsafe_call("cuCtxSynchronize")) return refused;
    streams().finish_all(lock);
    return streams().acknowledge_own();
}

CUDA_API cuLaunchHostFunc(void* stream, void (*function)(void*), void* data) {
    return submit(stream, [=](Outcome&) { function(data); });
}

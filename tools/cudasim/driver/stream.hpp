// Streams are queues of tasks. Nothing runs in the background: a task runs on the host thread that needs its result, at
// once, or at a random moment, as the settings of the thread that enqueued it say. That makes every order reproducible.
#pragma once
#include "thread_state.hpp"
#include <condition_variable>
#include <deque>
#include <functional>
#include <map>

namespace cudasim {

struct Capture;

// The end of a task: the n-th one of a stream.
struct Ticket {
    std::shared_ptr<Stream> stream;
    uint64_t number = 0;
};

// The context of a running task, for its reports. LAUNCH_FAILED makes its stream fail.
struct Outcome {
    std::vector<std::string> reports;
};
typedef std::function<void(Outcome&)> Work;

struct Task {
    std::vector<Ticket> after;  // besides the tasks before it in its stream
    Work work;                  // may be empty
    uint64_t thread = 0;        // the host thread that enqueued it
};

// The failure of a stream, until it has been reported.
struct Failure {
    bool failed = false;  // then the stream does nothing any more
    std::vector<std::string> reports;
};

struct Stream : std::enable_shared_from_this<Stream> {
    enum class Kind { Legacy, Blocking, NonBlocking };
    Stream(Kind kind, uint64_t thread) : kind(kind), thread(thread) {}

    const Kind kind;
    const uint64_t thread;  // the host thread that made it
    std::deque<Task> queue;
    uint64_t enqueued = 0, completed = 0;
    bool running = false;
    std::shared_ptr<Capture> capture;  // while it takes part in one

    // The legacy stream is shared by all host threads, so each has its own failures in it.
    Failure& failure(uint64_t thread) { return failures_[kind == Kind::Legacy ? thread : 0]; }

  private:
    std::map<uint64_t, Failure> failures_;
};

// All streams, and the lock that guards every field of every stream, event and capture. Kernels run outside of it.
class Streams {
  public:
    std::mutex mutex;

    std::shared_ptr<Stream> create(Stream::Kind kind);
    // Runs what is left of the stream and hands its reports to this thread.
    Result destroy(Stream* stream);
    std::shared_ptr<Stream> find(void* handle);  // null when there is no such stream
    size_t count();

    // Appends a task and runs what the asynchrony of this thread demands.
    Ticket enqueue(Stream& stream, Task task, std::unique_lock<std::mutex>& lock);
    // Runs tasks until the ticket's is done.
    void finish(const Ticket& ticket, std::unique_lock<std::mutex>& lock);
    void finish_all(std::unique_lock<std::mutex>& lock);
    bool is_finished(const Ticket& ticket) const { return !ticket.stream || ticket.stream->completed >= ticket.number; }

    // Hands the stream's reports to this thread; LAUNCH_FAILED when it has failed.
    Result acknowledge(Stream& stream);
    // The same for the legacy stream and all that this thread has made.
    Result acknowledge_own();

  private:
    bool run_one(Stream& stream, std::unique_lock<std::mutex>& lock);
    void run_some_at_random(std::unique_lock<std::mutex>& lock);
    void add_implicit_order(Stream& stream, Task& task);

    std::shared_ptr<Stream> legacy_ = std::make_shared<Stream>(Stream::Kind::Legacy, 0);
    std::vector<std::shared_ptr<Stream>> streams_;
    std::condition_variable progress_;
};

Streams& streams();

// Puts work into a stream, or records it if the stream is being captured.
Result submit(void* stream, Work work, std::vector<Ticket> after = {});
// submit, then wait for it; an error while capturing.
Result submit_and_wait(void* stream, Work work);

}  // namespace cudasim

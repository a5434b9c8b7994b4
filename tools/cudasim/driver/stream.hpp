// Streams are queues of tasks. Nothing runs in the background: a task runs on the host thread that needs its result, at
// once, or at a random moment, as the settings of the thread that enqueued it say. That makes every order reproducible.
#pragma once
#include "thread_state.hpp"
#include <condition_variable>
#include <deque>
#include <functional>

namespace cudasim {

struct Capture;

// The end of a task: the n-th one of a stream.
struct Ticket {
    std::shared_ptr<Stream> stream;
    uint64_t number = 0;
};

// What a task can complain to. LAUNCH_FAILED makes its stream fail.
struct Outcome {
    std::vector<std::string> reports;
};
typedef std::function<void(Outcome&)> Work;

struct Task {
    std::vector<Ticket> after;  // besides the tasks before it in its stream
    Work work;                  // may be empty
};

struct Stream : std::enable_shared_from_this<Stream> {
    enum class Kind { Legacy, Blocking, NonBlocking };
    explicit Stream(Kind kind) : kind(kind) {}

    const Kind kind;
    std::deque<Task> queue;
    uint64_t enqueued = 0, completed = 0;
    bool running = false, failed = false;
    std::vector<std::string> reports;     // not yet seen by anybody
    std::shared_ptr<Capture> capture;     // while it takes part in one
};

// All streams, and the lock that guards every field of every stream, event and capture. Kernels run outside of it.
class Streams {
  public:
    std::mutex mutex;

    std::shared_ptr<Stream> create(Stream::Kind kind);
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
    Result acknowledge_all();

  private:
    bool run_one(Stream& stream, std::unique_lock<std::mutex>& lock);
    void run_some_at_random(std::unique_lock<std::mutex>& lock);
    void add_implicit_order(Stream& stream, Task& task);

    std::shared_ptr<Stream> legacy_ = std::make_shared<Stream>(Stream::Kind::Legacy);
    std::vector<std::shared_ptr<Stream>> streams_;
    std::condition_variable progress_;
};

Streams& streams();

// Puts work into a stream, or records it if the stream is being captured.
Result submit(void* stream, Work work, std::vector<Ticket> after = {});
// submit, then wait for it; an error while capturing.
Result submit_and_wait(void* stream, Work work);

}  // namespace cudasim

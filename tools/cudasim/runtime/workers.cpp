#include "workers.hpp"
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>
#include <vector>

namespace cudasim {

struct Job {
    const std::function<void()>* work;
    unsigned wanted;   // workers that may still begin
    unsigned running;
};

class Workers {
  public:
    void help(unsigned count, const std::function<void()>& work) {
        Job job{&work, count - 1, 0};
        {
            std::lock_guard<std::mutex> guard(mutex_);
            while (threads_.size() < count - 1) threads_.emplace_back([this] { serve(); });
            jobs_.push_back(&job);
        }
        wake_.notify_all();
        work();
        std::unique_lock<std::mutex> lock(mutex_);
        std::erase(jobs_, &job);
        finished_.wait(lock, [&] { return job.running == 0; });
    }

    ~Workers() {
        {
            std::lock_guard<std::mutex> guard(mutex_);
            stop_ = true;
        }
        wake_.notify_all();
        for (std::thread& thread : threads_) thread.join();
    }

  private:
    void serve() {
        std::unique_lock<std::mutex> lock(mutex_);
        for (;;) {
            wake_.wait(lock, [&] { return stop_ || !jobs_.empty(); });
            if (stop_) return;
            Job& job = *jobs_.front();
            job.running++;
            if (--job.wanted == 0) jobs_.pop_front();
            lock.unlock();
            (*job.work)();
            lock.lock();
            if (--job.running == 0) finished_.notify_all();
        }
    }

    std::mutex mutex_;
    std::condition_variable wake_, finished_;
    std::deque<Job*> jobs_;
    std::vector<std::thread> threads_;
    bool stop_ = false;
};

void run_on_workers(unsigned count, const std::function<void()>& work) {
    static Workers workers;
    if (count <= 1) return work();
    workers.help(count, work);
}

}  // namespace cudasim

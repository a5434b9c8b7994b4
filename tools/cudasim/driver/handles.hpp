// Objects behind handles of the API: looked up by address, counted, and kept alive by shared pointers while in use.
#pragma once
#include <map>
#include <memory>
#include <mutex>

namespace cudasim {

template <class T> class Handles {
  public:
    void* add(std::shared_ptr<T> object) {
        std::lock_guard<std::mutex> guard(mutex_);
        void* handle = object.get();
        objects_[handle] = std::move(object);
        return handle;
    }
    std::shared_ptr<T> find(void* handle) const {
        std::lock_guard<std::mutex> guard(mutex_);
        auto found = objects_.find(handle);
        return found == objects_.end() ? nullptr : found->second;
    }
    bool remove(void* handle) {
        std::lock_guard<std::mutex> guard(mutex_);
        return objects_.erase(handle) != 0;
    }
    size_t count() const {
        std::lock_guard<std::mutex> guard(mutex_);
        return objects_.size();
    }

  private:
    mutable std::mutex mutex_;
    std::map<void*, std::shared_ptr<T>> objects_;
};

}  // namespace cudasim

// A set of segments (see global_checker.hpp), as sorted ranges [first, end) that do not touch.
#pragma once
#include <algorithm>
#include <cstdint>
#include <iterator>
#include <utility>
#include <vector>

namespace cudasim {

class Segments {
  public:
    bool has(uint32_t segment) const {
        auto after = std::upper_bound(ranges_.begin(), ranges_.end(), std::pair<uint32_t, uint32_t>(segment, ~0u));
        return after != ranges_.begin() && segment < std::prev(after)->second;
    }

    // Adds the segments first, ..., end - 1.
    void add(uint32_t first, uint32_t end) {
        if (first >= end) return;
        const auto is_before = [](const auto& range, uint32_t at) { return range.second < at; };
        const auto from = std::lower_bound(ranges_.begin(), ranges_.end(), first, is_before);
        auto to = from;
        for (; to != ranges_.end() && to->first <= end; ++to) {
            first = std::min(first, to->first);
            end = std::max(end, to->second);
        }
        ranges_.insert(ranges_.erase(from, to), {first, end});
    }

    void add(const Segments& other) {
        for (const auto& [first, end] : other.ranges_) add(first, end);
    }

    void clear() { ranges_.clear(); }

  private:
    std::vector<std::pair<uint32_t, uint32_t>> ranges_;
};

}  // namespace cudasim

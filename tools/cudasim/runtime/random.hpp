// A small generator: xorshift64, seeded so that neighbouring seeds and streams have nothing in common.
#pragma once
#include <cstdint>

namespace cudasim {

class Random {
  public:
    void seed(uint64_t seed, uint64_t stream) {
        state_ = (seed + 1) * 0x9e3779b97f4a7c15ull ^ (stream + 1) * 0xda942042e4dd58b5ull;
        if (!state_) state_ = 1;
        next();
    }
    uint64_t next() {
        state_ ^= state_ << 13;
        state_ ^= state_ >> 7;
        return state_ ^= state_ << 17;
    }
    uint64_t below(uint64_t bound) { return (next() >> 16) % bound; }

  private:
    uint64_t state_ = 1;
};

}  // namespace cudasim

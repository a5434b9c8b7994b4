// The word of an mbarrier in shared memory: phase:1 | pending:20 | expected:20 | bytes:22 (biased) | marker:1.
#pragma once
#include "engine.hpp"

namespace cudasim {

struct MbarrierWord {
    uint32_t phase, pending, expected;
    int64_t bytes;  // still to come in this phase
};

// Gives up on the block when there is no initialised mbarrier at the address.
MbarrierWord load_mbarrier(uint32_t address, const char* what, Site at);
// Stores the word; when nothing is missing the phase ends and the waiting threads go on.
void update_mbarrier(uint32_t address, MbarrierWord word);

}  // namespace cudasim

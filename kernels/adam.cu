// Adam (Kingma and Ba, 2015) over flat buffers, and the step that ends a training step (see src/engine/ops/adam).
#include "adam.cuh"
#include "tickets.cuh"

constexpr int THREADS = 256;

struct AdamUpdate {
  AdamState state;
  const float* gradients;
  int count;
};

// One Adam update of `count` parameters. A grid-stride loop, so that a block computes the bias corrections once for
// many elements. Grid: any; a few thousand blocks at most.
KERNEL(adam_update, THREADS, AdamUpdate args) {
  STATIC_SMEM(float, corrections, [2]);
  const AdamRule rule(args.state, corrections);
  for (unsigned i = thread_index(); i < unsigned(args.count); i += gridDim.x * THREADS) {
    rule.update(args.state.parameters[i], args.gradients[i], args.state.first[i], args.state.second[i]);
  }
}

// As adam_update, in accesses of 16 bytes but for the last three parameters: all addresses are multiples of 16.
KERNEL(adam_update_wide, THREADS, AdamUpdate args) {
  STATIC_SMEM(float, corrections, [2]);
  const AdamRule rule(args.state, corrections);
  const unsigned quads = unsigned(args.count) / 4;
  for (unsigned i = thread_index(); i < quads; i += gridDim.x * THREADS) {
    rule.update(args.state, size_t(i) * 4, load_vector<float4>(args.gradients + size_t(i) * 4));
  }
  const unsigned last = quads * 4 + thread_index();
  if (last < unsigned(args.count)) {
    rule.update(args.state.parameters[last], args.gradients[last], args.state.first[last], args.state.second[last]);
  }
}

// The most ranges of a launch.
constexpr int RANGES = 32;

// A range of parameters with their moments and gradients, and the blocks that update it. In accesses of 16 bytes but
// for the last three parameters, or one by one, if `quads` is 0: addresses that are no multiples of 16.
struct AdamRange {
  float* parameters;
  float* first;
  float* second;
  const float* gradients;
  int count, quads, first_block, blocks;
};

// `control` and the hyperparameters are those of AdamState. `advanced` is the control values, whose step is incremented
// when all is done, or null; `ticket` is zero.
struct AdamUpdateRanges {
  AdamRange ranges[RANGES];
  const Control* control;
  Control* advanced;
  unsigned* ticket;
  double beta1, beta2, epsilon;
  int count;  // ranges
};

// As adam_update for each range, then as control_advance. Grid: the blocks of all ranges.
KERNEL(adam_update_ranges, THREADS, AdamUpdateRanges args) {
  STATIC_SMEM(float, corrections, [2]);
  STATIC_SMEM(unsigned, is_last, [1]);
  int index = 0;
  while (index + 1 < args.count && int(blockIdx.x) >= args.ranges[index + 1].first_block) index++;
  const AdamRange range = args.ranges[index];
  const AdamState state{range.parameters, range.first, range.second, args.control,
                        args.beta1,       args.beta2,  args.epsilon};
  const AdamRule rule(state, corrections);
  const unsigned first = (blockIdx.x - range.first_block) * THREADS + threadIdx.x, stride = range.blocks * THREADS;
  for (unsigned i = first; i < unsigned(range.quads); i += stride) {
    rule.update(state, size_t(i) * 4, load_vector<float4>(range.gradients + size_t(i) * 4));
  }
  for (unsigned i = range.quads * 4 + first; i < unsigned(range.count); i += stride) {
    rule.update(range.parameters[i], range.gradients[i], range.first[i], range.second[i]);
  }
  if (args.advanced == nullptr) return;
  // Every block has read the step by then.
  if (is_last_block(args.ticket, gridDim.x, is_last) && threadIdx.x == 0) args.advanced->step += 1;
}

struct ControlAdvance {
  Control* control;
};

// Increments the step of the control values, at the end of a training step. Grid: 1.
KERNEL(control_advance, 1, ControlAdvance args) { args.control->step += 1; }

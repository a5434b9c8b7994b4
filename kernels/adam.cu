// Adam (Kingma and Ba, 2015) over flat buffers, and the step that ends a training step (see src/engine/ops/adam).
#include "adam.cuh"

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

struct ControlAdvance {
  Control* control;
};

// Increments the step of the control values, at the end of a training step. Grid: 1.
KERNEL(control_advance, 1, ControlAdvance args) { args.control->step += 1; }

// The check for values that are not finite, over a whole buffer.
#include "index.cuh"

constexpr int THREADS = 256;

struct AllFinite {
  const float* values;
  int* not_finite;
  int count;
};

// Sets not_finite to 1 if any of `count` values is infinite or NaN, and leaves it alone otherwise: the caller clears it
// before. One thread per value; grid: ceil(count / 256).
KERNEL(all_finite, THREADS, AllFinite args) {
  const unsigned element = thread_index();
  if (element >= unsigned(args.count)) return;
  constexpr unsigned EXPONENT = 0x7f800000;
  if ((__float_as_uint(args.values[element]) & EXPONENT) == EXPONENT) atomicOr(args.not_finite, 1);
}

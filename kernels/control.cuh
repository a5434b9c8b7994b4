// The values that change from one execution of a program to the next. They lie in device memory, never in a kernel's
// arguments, so that a captured graph can be launched again and again. The fields are those of `Control` in
// src/engine/access.rs.
#pragma once
#include "prelude.cuh"

struct Control {
  unsigned long long seed;
  unsigned long long step;  // executions so far
  double learning_rate;
};

static_assert(sizeof(Control) == 24, "the host uploads three words of 8 bytes");

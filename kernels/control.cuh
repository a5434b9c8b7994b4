// The control values, which change from one execution of a program to the next. They are in device memory, not in
// kernel arguments, so that a captured graph can be replayed unchanged. The fields are those of `Control` in
// src/engine/access.rs.
#pragma once
#include "prelude.cuh"

struct Control {
  unsigned long long seed;
  unsigned long long step;  // executions so far
  double learning_rate;
};

static_assert(sizeof(Control) == 24, "the host uploads three words of 8 bytes");

// Mutations: a kernel template takes the number of the mistake it makes; 0 makes none.
#pragma once
#include "prelude.cuh"

// The statement is left out by mutation `number`.
#define UNLESS(number, ...) \
    if constexpr (MUTATION != (number)) { __VA_ARGS__; }

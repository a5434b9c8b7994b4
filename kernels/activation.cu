// Activations tanh and sigmoid (see src/engine/ops/activation). Their derivatives are functions of the output y, so the
// backward pass needs y alone.
#include "activation.cuh"
#include "index.cuh"

constexpr int THREADS = 256;

// y = f(x), both [pixels, c].
struct Activate {
  const float* x;
  float* y;
  int pixels, channels, x_stride, y_stride;
};

// The forward pass. One thread per element; grid: ceil(pixels * c / 256).
template <class Function>
__device__ __forceinline__ void activate(const Activate& args) {
  const unsigned element = thread_index();
  const unsigned pixel = element / args.channels, channel = element % args.channels;
  if (pixel >= unsigned(args.pixels)) return;
  args.y[at(pixel, args.y_stride, channel)] = Function::value(args.x[at(pixel, args.x_stride, channel)]);
}
INSTANCE(tanh_forward, THREADS, Activate, activate<Tanh>);
INSTANCE(sigmoid_forward, THREADS, Activate, activate<Sigmoid>);

// dx = dy * f'(x), with f'(x) as a function of y = f(x); all are [pixels, c].
struct ActivateGrad {
  const float* y;
  const float* dy;
  float* dx;
  int pixels, channels, y_stride, dy_stride, dx_stride, accumulate;
};

// The backward pass. One thread per element; grid: ceil(pixels * c / 256).
template <class Function>
__device__ __forceinline__ void activate_grad(const ActivateGrad& args) {
  const unsigned element = thread_index();
  const unsigned pixel = element / args.channels, channel = element % args.channels;
  if (pixel >= unsigned(args.pixels)) return;
  const float derivative = Function::derivative(args.y[at(pixel, args.y_stride, channel)]);
  const float gradient = args.dy[at(pixel, args.dy_stride, channel)] * derivative;
  store(args.dx + at(pixel, args.dx_stride, channel), gradient, args.accumulate);
}
INSTANCE(tanh_grad, THREADS, ActivateGrad, activate_grad<Tanh>);
INSTANCE(sigmoid_grad, THREADS, ActivateGrad, activate_grad<Sigmoid>);

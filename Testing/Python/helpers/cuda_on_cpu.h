// Lets a host compiler build CUDA C++ kernel text: the threads of a block run one after another,
// blocks by OpenMP. Kernels that synchronize threads cannot run this way.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>

#define __global__
#define __device__
#define __forceinline__ inline
#define __restrict__ __restrict
#define __launch_bounds__(...)
#define __ldg(pointer) (*(pointer))
#define __fdividef(a, b) ((a) / (b))

using std::max;
using std::min;

struct float3 {
  float x, y, z;
};
static inline float3 make_float3(float x, float y, float z) { return {x, y, z}; }

struct Index3 {
  int x, y, z;
};
static thread_local Index3 blockIdx, threadIdx, blockDim, gridDim;

static inline float atomicAdd(float* target, float value) {
  float old;
#pragma omp atomic capture
  {
    old = *target;
    *target += value;
  }
  return old;
}

static inline unsigned long long atomicAdd(unsigned long long* target, unsigned long long value) {
  unsigned long long old;
#pragma omp atomic capture
  {
    old = *target;
    *target += value;
  }
  return old;
}

template <class Kernel>
static void run_grid(const int* grid, const int* block, Kernel kernel) {
#pragma omp parallel for collapse(2) schedule(dynamic, 4)
  for (int z = 0; z < grid[2]; ++z)
    for (int y = 0; y < grid[1]; ++y)
      for (int x = 0; x < grid[0]; ++x) {
        blockIdx = {x, y, z}, blockDim = {block[0], block[1], block[2]}, gridDim = {grid[0], grid[1], grid[2]};
        for (int tz = 0; tz < block[2]; ++tz)
          for (int ty = 0; ty < block[1]; ++ty)
            for (int tx = 0; tx < block[0]; ++tx) {
              threadIdx = {tx, ty, tz};
              kernel();
            }
      }
}

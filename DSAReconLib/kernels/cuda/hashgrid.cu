// Multi-resolution hash encoding. Plain CUDA C++ without includes: NVRTC compiles it at run time, and the
// tests compile the same text with a host compiler. Levels as in hashgrid/spec.py: `numbers` holds per level
// the first entry, the number of vertices per axis, the number of entries, and 1 if the level is dense.
// Grid: blocks of points, levels. Gradients of the table are summed atomically.

struct Level {
  long long base;
  unsigned resolution, size;
  bool dense;
  float scale;
};

__device__ __forceinline__ Level level_of(const int* __restrict__ numbers, const float* __restrict__ scales, int n) {
  const int* row = numbers + 4 * n;
  return {(long long)row[0], (unsigned)row[1], (unsigned)row[2], row[3] != 0, scales[n]};
}

// Lower vertex and fraction of each coordinate of point i.
template <int D>
__device__ __forceinline__ void locate(const float* __restrict__ points, int i, float scale, unsigned* lower, float* fraction) {
  for (int d = 0; d < D; ++d) {
    float position = fminf(fmaxf(points[(size_t)i * D + d], 0.f), 1.f) * scale + 0.5f;
    lower[d] = (unsigned)position;
    fraction[d] = position - lower[d];
  }
}

template <int D>
__device__ __forceinline__ size_t entry(const unsigned* lower, int corner, const Level& level) {
  const unsigned primes[4] = {1u, 2654435761u, 805459861u, 3674653429u};
  unsigned index = 0, stride = 1;
  for (int d = 0; d < D; ++d) {
    unsigned vertex = lower[d] + ((corner >> d) & 1);
    if (level.dense) {
      index += vertex * stride;
      stride *= level.resolution;
    } else {
      index ^= vertex * primes[d];
    }
  }
  return (size_t)(level.base + index % level.size);
}

template <int D>
__device__ __forceinline__ float corner_weight(const float* fraction, int corner) {
  float weight = 1.f;
  for (int d = 0; d < D; ++d) weight *= (corner >> d) & 1 ? fraction[d] : 1.f - fraction[d];
  return weight;
}

template <int D, int F>
__device__ __forceinline__ void forward(const float* points, int count, const float* table, const int* numbers,
                                        const float* scales, float* out, int width) {
  int i = blockIdx.x * blockDim.x + threadIdx.x, n = blockIdx.y;
  if (i >= count) return;
  Level level = level_of(numbers, scales, n);
  unsigned lower[D];
  float fraction[D], sums[F] = {};
  locate<D>(points, i, level.scale, lower, fraction);
  for (int corner = 0; corner < 1 << D; ++corner) {
    const float* values = table + F * entry<D>(lower, corner, level);
    float weight = corner_weight<D>(fraction, corner);
    for (int f = 0; f < F; ++f) sums[f] += weight * __ldg(values + f);
  }
  for (int f = 0; f < F; ++f) out[(size_t)i * width + n * F + f] = sums[f];
}

template <int D, int F>
__device__ __forceinline__ void adjoint(const float* points, int count, float* table, const int* numbers,
                                        const float* scales, const float* gradients, int width) {
  int i = blockIdx.x * blockDim.x + threadIdx.x, n = blockIdx.y;
  if (i >= count) return;
  Level level = level_of(numbers, scales, n);
  unsigned lower[D];
  float fraction[D], values[F];
  locate<D>(points, i, level.scale, lower, fraction);
  for (int f = 0; f < F; ++f) values[f] = gradients[(size_t)i * width + n * F + f];
  for (int corner = 0; corner < 1 << D; ++corner) {
    float* target = table + F * entry<D>(lower, corner, level);
    float weight = corner_weight<D>(fraction, corner);
    for (int f = 0; f < F; ++f) atomicAdd(target + f, weight * values[f]);
  }
}

// One thread per point, all levels: out (N, D) is written once.
template <int D, int F>
__device__ __forceinline__ void points_adjoint(const float* points, int count, const float* table, const int* numbers,
                                               const float* scales, int levels, const float* gradients, int width,
                                               float* out) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= count) return;
  float total[D] = {};
  for (int n = 0; n < levels; ++n) {
    Level level = level_of(numbers, scales, n);
    unsigned lower[D];
    float fraction[D];
    locate<D>(points, i, level.scale, lower, fraction);
    for (int corner = 0; corner < 1 << D; ++corner) {
      const float* values = table + F * entry<D>(lower, corner, level);
      float dot = 0.f;
      for (int f = 0; f < F; ++f) dot += gradients[(size_t)i * width + n * F + f] * __ldg(values + f);
      for (int d = 0; d < D; ++d) {
        float slope = (corner >> d) & 1 ? 1.f : -1.f;
        for (int e = 0; e < D; ++e)
          if (e != d) slope *= (corner >> e) & 1 ? fraction[e] : 1.f - fraction[e];
        total[d] += level.scale * slope * dot;
      }
    }
  }
  for (int d = 0; d < D; ++d) out[(size_t)i * D + d] = total[d];
}

extern "C" __global__ void __launch_bounds__(256)
encode_3d_2(const float* __restrict__ points, int count, const float* __restrict__ table, const int* __restrict__ numbers,
             const float* __restrict__ scales, float* __restrict__ out, int width) {
  forward<3, 2>(points, count, table, numbers, scales, out, width);
}

extern "C" __global__ void __launch_bounds__(256)
encode_adjoint_3d_2(const float* __restrict__ points, int count, float* __restrict__ table,
                     const int* __restrict__ numbers, const float* __restrict__ scales,
                     const float* __restrict__ gradients, int width) {
  adjoint<3, 2>(points, count, table, numbers, scales, gradients, width);
}

extern "C" __global__ void __launch_bounds__(256)
encode_points_adjoint_3d_2(const float* __restrict__ points, int count, const float* __restrict__ table,
                            const int* __restrict__ numbers, const float* __restrict__ scales, int levels,
                            const float* __restrict__ gradients, int width, float* __restrict__ out) {
  points_adjoint<3, 2>(points, count, table, numbers, scales, levels, gradients, width, out);
}

extern "C" __global__ void __launch_bounds__(256)
encode_3d_8(const float* __restrict__ points, int count, const float* __restrict__ table, const int* __restrict__ numbers,
             const float* __restrict__ scales, float* __restrict__ out, int width) {
  forward<3, 8>(points, count, table, numbers, scales, out, width);
}

extern "C" __global__ void __launch_bounds__(256)
encode_adjoint_3d_8(const float* __restrict__ points, int count, float* __restrict__ table,
                     const int* __restrict__ numbers, const float* __restrict__ scales,
                     const float* __restrict__ gradients, int width) {
  adjoint<3, 8>(points, count, table, numbers, scales, gradients, width);
}

extern "C" __global__ void __launch_bounds__(256)
encode_points_adjoint_3d_8(const float* __restrict__ points, int count, const float* __restrict__ table,
                            const int* __restrict__ numbers, const float* __restrict__ scales, int levels,
                            const float* __restrict__ gradients, int width, float* __restrict__ out) {
  points_adjoint<3, 8>(points, count, table, numbers, scales, levels, gradients, width, out);
}

extern "C" __global__ void __launch_bounds__(256)
encode_4d_2(const float* __restrict__ points, int count, const float* __restrict__ table, const int* __restrict__ numbers,
             const float* __restrict__ scales, float* __restrict__ out, int width) {
  forward<4, 2>(points, count, table, numbers, scales, out, width);
}

extern "C" __global__ void __launch_bounds__(256)
encode_adjoint_4d_2(const float* __restrict__ points, int count, float* __restrict__ table,
                     const int* __restrict__ numbers, const float* __restrict__ scales,
                     const float* __restrict__ gradients, int width) {
  adjoint<4, 2>(points, count, table, numbers, scales, gradients, width);
}

extern "C" __global__ void __launch_bounds__(256)
encode_points_adjoint_4d_2(const float* __restrict__ points, int count, const float* __restrict__ table,
                            const int* __restrict__ numbers, const float* __restrict__ scales, int levels,
                            const float* __restrict__ gradients, int width, float* __restrict__ out) {
  points_adjoint<4, 2>(points, count, table, numbers, scales, levels, gradients, width, out);
}

extern "C" __global__ void __launch_bounds__(256)
encode_4d_8(const float* __restrict__ points, int count, const float* __restrict__ table, const int* __restrict__ numbers,
             const float* __restrict__ scales, float* __restrict__ out, int width) {
  forward<4, 8>(points, count, table, numbers, scales, out, width);
}

extern "C" __global__ void __launch_bounds__(256)
encode_adjoint_4d_8(const float* __restrict__ points, int count, float* __restrict__ table,
                     const int* __restrict__ numbers, const float* __restrict__ scales,
                     const float* __restrict__ gradients, int width) {
  adjoint<4, 8>(points, count, table, numbers, scales, gradients, width);
}

extern "C" __global__ void __launch_bounds__(256)
encode_points_adjoint_4d_8(const float* __restrict__ points, int count, const float* __restrict__ table,
                            const int* __restrict__ numbers, const float* __restrict__ scales, int levels,
                            const float* __restrict__ gradients, int width, float* __restrict__ out) {
  points_adjoint<4, 8>(points, count, table, numbers, scales, levels, gradients, width, out);
}

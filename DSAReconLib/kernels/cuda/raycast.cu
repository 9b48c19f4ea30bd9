// Ray casting kernels. Plain CUDA C++ without includes: NVRTC compiles it at run time, and the tests
// compile the same text with a host compiler. Arrays and records as in raycast/setup.py and
// raycast/cpu_joseph.py; one thread makes one output element, so nothing is added atomically and the
// results do not depend on the order of execution.

#define PADDING 3

struct Slopes {
  float a, b, step_mm;
};

// Slopes per slice of the ray through pixel (row, column), and its length per slice.
__device__ __forceinline__ Slopes ray_slopes(const float* ray, float row, float column, float3 spacing) {
  float inverse = __fdividef(1.f, ray[3] + column * ray[6] + row * ray[9]);
  Slopes s;
  s.a = (ray[4] + column * ray[7] + row * ray[10]) * inverse;
  s.b = (ray[5] + column * ray[8] + row * ray[11]) * inverse;
  float along = s.a * spacing.y, across = s.b * spacing.z;
  s.step_mm = sqrtf(spacing.x * spacing.x + along * along + across * across);
  return s;
}

__device__ __forceinline__ float bilinear(const float* __restrict__ corner, int pitch, float along, float across) {
  float low = __ldg(corner), high = __ldg(corner + pitch);
  low += along * (__ldg(corner + 1) - low);
  high += along * (__ldg(corner + pitch + 1) - high);
  return low + across * (high - low);
}

// Narrows [first, last] to the slices where -1 < origin + (k - source) * slope < count.
__device__ __forceinline__ void clip_slices(float source, float origin, float slope, int count, float* first, float* last) {
  if (fabsf(slope) < 1e-9f) return;
  float inverse = 1.f / slope;
  float low = source + (-1.f - origin) * inverse, high = source + (count - origin) * inverse;
  *first = fmaxf(*first, fminf(low, high));
  *last = fminf(*last, fmaxf(low, high));
}

// Line integrals of the tiles (T, 7) with rays (T, 12); grid: columns, rows, tiles.
extern "C" __global__ void __launch_bounds__(256)
project_joseph(const float* __restrict__ volume, int count_b, int count_a, const int* __restrict__ tiles,
               const float* __restrict__ rays, float spacing_m, float spacing_a, float spacing_b,
               float* __restrict__ out, int rows, int columns) {
  int column = blockIdx.x * blockDim.x + threadIdx.x, row = blockIdx.y * blockDim.y + threadIdx.y;
  const int* tile = tiles + 7 * blockIdx.z;
  const float* ray = rays + 12 * blockIdx.z;
  if (row < tile[1] || row >= tile[2] || column < tile[3] || column >= tile[4]) return;
  Slopes slopes = ray_slopes(ray, row, column, make_float3(spacing_m, spacing_a, spacing_b));
  float first = tile[5], last = tile[6] - 1;
  clip_slices(ray[0], ray[1], slopes.a, count_a, &first, &last);
  clip_slices(ray[0], ray[2], slopes.b, count_b, &first, &last);
  int pitch = count_a + PADDING, end = (int)floorf(last) + 1;
  size_t plane = (size_t)pitch * (count_b + PADDING);
  float last_a = count_a + 1, last_b = count_b + 1, origin_a = ray[1] + 1.f, origin_b = ray[2] + 1.f, sum = 0.f;
  for (int k = (int)ceilf(first); k < end; ++k) {
    float depth = k - ray[0];
    float a = fminf(fmaxf(origin_a + depth * slopes.a, 0.f), last_a);
    float b = fminf(fmaxf(origin_b + depth * slopes.b, 0.f), last_b);
    int ia = (int)a, ib = (int)b;
    sum += bilinear(volume + k * plane + (ib * pitch + ia), pitch, a - ia, b - ib);
  }
  out[((size_t)tile[0] * rows + row) * columns + column] = sum * slopes.step_mm;
}

// Pixels [row0, row1] x [column0, column1] whose rays can touch a voxel's footprint in its slice.
struct PixelRange {
  int row0, row1, column0, column1;
};

__device__ __forceinline__ PixelRange footprint(const float* m, const float* voxel, int axis_a, int axis_b, const int* tile) {
  float low_c = 1e30f, high_c = -1e30f, low_r = 1e30f, high_r = -1e30f;
  for (int corner = 0; corner < 4; ++corner) {
    float p[3] = {voxel[0], voxel[1], voxel[2]};
    p[axis_a] += (corner & 1) ? 1.f : -1.f;
    p[axis_b] += (corner & 2) ? 1.f : -1.f;
    float depth = m[8] * p[0] + m[9] * p[1] + m[10] * p[2] + m[11];
    if (depth < 1e-3f) {  // beside or behind the source: every pixel may see it
      low_c = low_r = -1e30f;
      high_c = high_r = 1e30f;
      break;
    }
    float inverse = __fdividef(1.f, depth);
    float c = (m[0] * p[0] + m[1] * p[1] + m[2] * p[2] + m[3]) * inverse;
    float r = (m[4] * p[0] + m[5] * p[1] + m[6] * p[2] + m[7]) * inverse;
    low_c = fminf(low_c, c), high_c = fmaxf(high_c, c), low_r = fminf(low_r, r), high_r = fmaxf(high_r, r);
  }
  const float margin = 0.02f;  // more than the rounding of float32 positions
  PixelRange range;
  range.column0 = (int)ceilf(fmaxf(low_c - margin, tile[3]));
  range.column1 = (int)floorf(fminf(high_c + margin, tile[4] - 1));
  range.row0 = (int)ceilf(fmaxf(low_r - margin, tile[1]));
  range.row1 = (int)floorf(fminf(high_r + margin, tile[2] - 1));
  return range;
}

// Adjoint of project_joseph, gathered per voxel; adds the tiles (T, 7) of one main axis to out (z, y, x).
// axis_m, axis_a, axis_b: x = 0, y = 1, z = 2. Grid: x, y, z.
extern "C" __global__ void __launch_bounds__(256)
backproject_joseph(float* __restrict__ out, int nz, int ny, int nx, int axis_m, int axis_a, int axis_b,
                   const int* __restrict__ tiles, const float* __restrict__ rays, int num_tiles,
                   const float* __restrict__ matrices, float spacing_m, float spacing_a, float spacing_b,
                   const float* __restrict__ projections, int rows, int columns) {
  int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y, z = blockIdx.z;
  if (x >= nx || y >= ny) return;
  float voxel[3] = {(float)x, (float)y, (float)z};
  float3 spacing = make_float3(spacing_m, spacing_a, spacing_b);
  float sum = 0.f;
  for (int t = 0; t < num_tiles; ++t) {
    const int* tile = tiles + 7 * t;
    const float* ray = rays + 12 * t;
    if (voxel[axis_m] < tile[5] || voxel[axis_m] >= tile[6]) continue;
    PixelRange range = footprint(matrices + 12 * tile[0], voxel, axis_a, axis_b, tile);
    float depth = voxel[axis_m] - ray[0], a = voxel[axis_a] - ray[1], b = voxel[axis_b] - ray[2];
    for (int row = range.row0; row <= range.row1; ++row) {
      const float* line = projections + ((size_t)tile[0] * rows + row) * columns;
      for (int column = range.column0; column <= range.column1; ++column) {
        Slopes slopes = ray_slopes(ray, row, column, spacing);
        float weight_a = 1.f - fabsf(depth * slopes.a - a), weight_b = 1.f - fabsf(depth * slopes.b - b);
        if (weight_a > 0.f && weight_b > 0.f) sum += weight_a * weight_b * slopes.step_mm * __ldg(line + column);
      }
    }
  }
  out[((size_t)z * ny + y) * nx + x] += sum;
}

// Sum over views of the padded image (V, R+3, C+3) at the voxel's projection / depth^2; grid: x, y, z.
extern "C" __global__ void __launch_bounds__(256)
backproject_voxels(float* __restrict__ out, int nz, int ny, int nx, const float* __restrict__ images,
                   const float* __restrict__ matrices, int views, int rows, int columns) {
  int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y, z = blockIdx.z;
  if (x >= nx || y >= ny) return;
  int pitch = columns + PADDING;
  size_t size = (size_t)pitch * (rows + PADDING);
  float last_column = columns + 1, last_row = rows + 1, sum = 0.f;
  for (int view = 0; view < views; ++view, images += size) {
    const float* m = matrices + 12 * view;
    float depth = m[8] * x + m[9] * y + m[10] * z + m[11];
    float inverse = depth > 1e-3f ? __fdividef(1.f, depth) : 0.f;
    float column = (m[0] * x + m[1] * y + m[2] * z + m[3]) * inverse + 1.f;
    float row = (m[4] * x + m[5] * y + m[6] * z + m[7]) * inverse + 1.f;
    column = fminf(fmaxf(column, 0.f), last_column);
    row = fminf(fmaxf(row, 0.f), last_row);
    int ic = (int)column, ir = (int)row;
    sum += inverse * inverse * bilinear(images + (ir * pitch + ic), pitch, column - ic, row - ir);
  }
  out[((size_t)z * ny + y) * nx + x] = sum;
}

// Sparse kernels: window test of points, projection of listed voxels, isotropic Gaussians, fused update steps.
// Formulas and layouts as in kernels/sparse/{windows,voxels,gaussians,descent}.py. No includes: NVRTC compiles the
// text at run time, the tests compile it with a host compiler. Every result is independent of the order in which
// threads run: gradients and backprojections are gathered, images are summed as 64-bit integers (fixed point).

#define RECORD_SIZE 17  // see kernels/sparse/views.py
#define OUTSIDE (-1e4f)
#define MISSING (-5e3f)
#define CUT 2.8f
#define MAX_HALF_WIDTH 40.f
#define ROOT_TWO_PI 2.5066282746310002f

struct Pixel {  // upper left of the four pixels around a projected point; mass 0 where one of them is missing
  int base;
  float share_u, share_v, mass;
};

struct Footprint {
  float u, v, inverse_depth, pure_u, pure_v, seen_u, seen_v, peak;
};

struct Span {
  int first, last;
};

__device__ __forceinline__ float row_times(const float* row, float x, float y, float z) {
  return row[0] * x + row[1] * y + row[2] * z + row[3];
}

__device__ __forceinline__ Pixel pixel_of(const float* record, const float* points, int count, int n, float volume,
                                          int rows, int columns) {
  float x = points[n], y = points[(size_t)count + n], z = points[2 * (size_t)count + n];
  float inverse_depth = 1.f / row_times(record + 8, x, y, z);
  float column = row_times(record, x, y, z) * inverse_depth, row = row_times(record + 4, x, y, z) * inverse_depth;
  Pixel pixel = {0, 0.f, 0.f, 0.f};
  if (!(column >= 0.f && row >= 0.f && column < (float)(columns - 1) && row < (float)(rows - 1))) return pixel;
  float tangent_u = (column - record[12]) * record[14], tangent_v = (row - record[13]) * record[15];
  float slant = sqrtf(1.f + tangent_u * tangent_u + tangent_v * tangent_v);
  int i = (int)row, j = (int)column;
  pixel.base = i * columns + j, pixel.share_u = column - (float)j, pixel.share_v = row - (float)i;
  pixel.mass = volume * record[16] * inverse_depth * inverse_depth * slant;
  return pixel;
}

// Exact sum in any order: the integer nearest to value * scale.
__device__ __forceinline__ void add_fixed(long long* sum, float value, float scale) {
  atomicAdd((unsigned long long*)sum, (unsigned long long)llrintf(value * scale));
}

__device__ __forceinline__ float sample(const float* image, const float* record, float x, float y, float z, int rows,
                                        int columns) {
  float inverse_depth = 1.f / row_times(record + 8, x, y, z);
  float column = row_times(record, x, y, z) * inverse_depth, row = row_times(record + 4, x, y, z) * inverse_depth;
  if (!(column >= 0.f && row >= 0.f && column < (float)(columns - 1) && row < (float)(rows - 1))) return OUTSIDE;
  int i = (int)row, j = (int)column;
  float share_u = column - (float)j, share_v = row - (float)i;
  const float* upper_left = image + i * columns + j;
  float a = __ldg(upper_left), b = __ldg(upper_left + 1), c = __ldg(upper_left + columns), d = __ldg(upper_left + columns + 1);
  float upper = a + share_u * (b - a), lower = c + share_u * (d - c);
  return upper + share_v * (lower - upper);
}

// Scores (N,) of points (3, N): second-smallest sample of the best window, 0 if not above the threshold.
// Samples are taken anew for each window: nearly all points fail within the first few.
extern "C" __global__ void __launch_bounds__(128)
score_windows(const float* points, int count, const float* images, const float* records, int rows, int columns,
              const int* stops, int windows, float threshold, float* scores) {
  int n = blockIdx.x * blockDim.x + threadIdx.x;
  if (n >= count) return;
  float x = points[n], y = points[(size_t)count + n], z = points[2 * (size_t)count + n], best = threshold;
  for (int start = 0; start < windows;) {
    int stop = stops[start], absent = 0, following = start + 1;
    float smallest = 1e9f, second = 1e9f;
    for (int view = stop - 1; view >= start; --view) {
      float value = sample(images + (size_t)view * rows * columns, records + RECORD_SIZE * view, x, y, z, rows, columns);
      if (value < MISSING) ++absent;
      else if (value < second) second = fmaxf(value, smallest), smallest = fminf(value, smallest);
      if (second <= best) {  // every window that holds both fails
        following = view + 1;
        break;
      }
      if (absent * 5 > stop - start) {
        second = best;
        break;
      }
    }
    if (best < second && second < 1e8f) best = second;
    start = following;
  }
  scores[n] = best > threshold ? best : 0.f;
}

// Values (V, N) into the mass that each voxel spreads over its four pixels; grid: voxels, views.
extern "C" __global__ void __launch_bounds__(256)
weigh_voxels(const float* points, int count, const float* values, float volume, const float* records, int rows,
             int columns, float* masses) {
  int n = blockIdx.x * blockDim.x + threadIdx.x, view = blockIdx.y;
  if (n >= count) return;
  size_t place = (size_t)view * count + n;
  masses[place] = values[place] * pixel_of(records + RECORD_SIZE * view, points, count, n, volume, rows, columns).mass;
}

// Add masses (V, N) to fixed-point images (V, R, C); grid: voxels, views.
extern "C" __global__ void __launch_bounds__(256)
splat_voxels(const float* points, int count, const float* masses, const float* records, int rows, int columns,
             const float* scale, long long* sums) {
  int n = blockIdx.x * blockDim.x + threadIdx.x, view = blockIdx.y;
  if (n >= count) return;
  float mass = masses[(size_t)view * count + n];
  if (mass == 0.f) return;
  Pixel pixel = pixel_of(records + RECORD_SIZE * view, points, count, n, 1.f, rows, columns);
  long long* sum = sums + (size_t)view * rows * columns + pixel.base;
  float lower = mass * pixel.share_v, upper = mass - lower;
  add_fixed(sum, upper * (1.f - pixel.share_u), *scale), add_fixed(sum + 1, upper * pixel.share_u, *scale);
  add_fixed(sum + columns, lower * (1.f - pixel.share_u), *scale), add_fixed(sum + columns + 1, lower * pixel.share_u, *scale);
}

// Fixed-point sums divided by the scale.
extern "C" __global__ void __launch_bounds__(256)
unscale_sums(const long long* sums, int count, const float* scale, float* values) {
  int n = blockIdx.x * blockDim.x + threadIdx.x;
  if (n < count) values[n] = (float)sums[n] * (1.f / *scale);
}

// Adjoint of weigh_voxels and splat_voxels: values (V, N) from images (V, R, C); grid: voxels, views.
extern "C" __global__ void __launch_bounds__(256)
gather_voxels(const float* points, int count, const float* images, float volume, const float* records, int rows,
              int columns, float* values) {
  int n = blockIdx.x * blockDim.x + threadIdx.x, view = blockIdx.y;
  if (n >= count) return;
  Pixel pixel = pixel_of(records + RECORD_SIZE * view, points, count, n, volume, rows, columns);
  float value = 0.f;
  if (pixel.mass != 0.f) {
    const float* corner = images + (size_t)view * rows * columns + pixel.base;
    float a = __ldg(corner), b = __ldg(corner + 1), c = __ldg(corner + columns), d = __ldg(corner + columns + 1);
    float upper = a + pixel.share_u * (b - a), lower = c + pixel.share_u * (d - c);
    value = pixel.mass * (upper + pixel.share_v * (lower - upper));
  }
  values[(size_t)view * count + n] = value;
}

// shape: center and log standard deviation of a Gaussian.
__device__ __forceinline__ Footprint footprint_of(const float* record, const float* shape, float aperture) {
  Footprint f;
  float x = shape[0], y = shape[1], z = shape[2], sigma = expf(shape[3]);
  f.inverse_depth = 1.f / row_times(record + 8, x, y, z);
  f.u = row_times(record, x, y, z) * f.inverse_depth, f.v = row_times(record + 4, x, y, z) * f.inverse_depth;
  float tangent_u = (f.u - record[12]) * record[14], tangent_v = (f.v - record[13]) * record[15];
  float scaled_u = sigma * f.inverse_depth / record[14], scaled_v = sigma * f.inverse_depth / record[15];
  f.pure_u = scaled_u * scaled_u * (1.f + tangent_u * tangent_u), f.pure_v = scaled_v * scaled_v * (1.f + tangent_v * tangent_v);
  f.seen_u = f.pure_u + aperture, f.seen_v = f.pure_v + aperture;
  f.peak = sigma * ROOT_TWO_PI * sqrtf(f.pure_u * f.pure_v / (f.seen_u * f.seen_v));
  return f;
}

__device__ __forceinline__ Span span_of(float center, float variance, int size) {
  float half = fminf(CUT * sqrtf(variance), MAX_HALF_WIDTH);
  Span span = {0, -1};
  if (!(center > -half - 1.f && center < (float)size + half)) return span;
  span.first = max((int)ceilf(center - half), 0), span.last = min((int)floorf(center + half), size - 1);
  return span;
}

// Add Gaussians to fixed-point images (V, R, C). Block (lanes, Gaussians): the lanes share the pixels of one; grid: Gaussians, views.
extern "C" __global__ void __launch_bounds__(256)
render_gaussians(const float* shapes, int count, const float* amplitudes, const float* records, float aperture, int rows,
                 int columns, const float* scale, long long* sums) {
  int n = blockIdx.x * blockDim.y + threadIdx.y, view = blockIdx.y;
  if (n >= count) return;
  float amplitude = amplitudes[(size_t)view * count + n];
  if (!(amplitude > 0.f)) return;
  Footprint f = footprint_of(records + RECORD_SIZE * view, shapes + 4 * (size_t)n, aperture);
  Span across = span_of(f.u, f.seen_u, columns), down = span_of(f.v, f.seen_v, rows);
  int width = across.last - across.first + 1, pixels = width * (down.last - down.first + 1);
  if (width <= 0 || pixels <= 0) return;
  long long* image = sums + (size_t)view * rows * columns;
  float rate_u = -0.5f / f.seen_u, rate_v = -0.5f / f.seen_v, peak = amplitude * f.peak;
  for (int pixel = threadIdx.x; pixel < pixels; pixel += blockDim.x) {
    int i = down.first + pixel / width, j = across.first + pixel % width;
    float du = (float)j - f.u, dv = (float)i - f.v;
    add_fixed(image + i * columns + j, peak * expf(rate_u * du * du + rate_v * dv * dv), *scale);
  }
}

// Gradients by shape (V, N, 4) and amplitude (V, N) of a loss with the given gradient by the images; grid: Gaussians, views.
extern "C" __global__ void __launch_bounds__(128)
gaussian_gradients(const float* shapes, int count, const float* amplitudes, const float* records, float aperture,
                   const float* images, int rows, int columns, float* by_shape, float* by_amplitude) {
  int n = blockIdx.x * blockDim.x + threadIdx.x, view = blockIdx.y;
  if (n >= count) return;
  const float* record = records + RECORD_SIZE * view;
  const float* image = images + (size_t)view * rows * columns;
  Footprint f = footprint_of(record, shapes + 4 * (size_t)n, aperture);
  Span across = span_of(f.u, f.seen_u, columns), down = span_of(f.v, f.seen_v, rows);
  float rate_u = -0.5f / f.seen_u, rate_v = -0.5f / f.seen_v;
  float total = 0.f, moment_u = 0.f, moment_v = 0.f, moment_uu = 0.f, moment_vv = 0.f;
  for (int i = down.first; i <= down.last; ++i) {
    float dv = (float)i - f.v, row_sum = 0.f, row_u = 0.f, row_uu = 0.f;
    for (int j = across.first; j <= across.last; ++j) {
      float du = (float)j - f.u, value = __ldg(image + i * columns + j) * expf(rate_u * du * du);
      row_sum += value, row_u += value * du, row_uu += value * du * du;
    }
    float along = expf(rate_v * dv * dv);
    total += along * row_sum, moment_u += along * row_u, moment_uu += along * row_uu;
    moment_v += along * row_sum * dv, moment_vv += along * row_sum * dv * dv;
  }
  size_t place = (size_t)view * count + n;
  float* out = by_shape + 4 * place;
  by_amplitude[place] = f.peak * total;
  float scale = fmaxf(amplitudes[place], 0.f) * f.peak;
  float by_u = scale * moment_u / f.seen_u, by_v = scale * moment_v / f.seen_v;
  float spread = 0.5f * scale * (moment_uu * f.pure_u / (f.seen_u * f.seen_u) + total * (1.f - f.pure_u / f.seen_u) +
                                 moment_vv * f.pure_v / (f.seen_v * f.seen_v) + total * (1.f - f.pure_v / f.seen_v));
  for (int axis = 0; axis < 3; ++axis)
    out[axis] = f.inverse_depth * (by_u * (record[axis] - f.u * record[8 + axis]) +
                                   by_v * (record[4 + axis] - f.v * record[8 + axis]) - 2.f * spread * record[8 + axis]);
  out[3] = 2.f * spread + scale * total;
}

// extrapolated (K, N) <- max(extrapolated - (gradient + penalty) / curvature, 0); progress (N,) = restart test.
extern "C" __global__ void __launch_bounds__(256)
proximal_step(float* extrapolated, const float* current, const float* gradient, const float* curvature,
              const float* penalty, int functions, int count, float* progress) {
  int n = blockIdx.x * blockDim.x + threadIdx.x;
  if (n >= count) return;
  float total = 0.f;
  for (int k = 0; k < functions; ++k) {
    size_t place = (size_t)k * count + n;
    float before = extrapolated[place];
    float after = fmaxf(before - (gradient[place] + penalty[place]) / curvature[place], 0.f);
    total += (before - after) * (after - current[place]);
    extrapolated[place] = after;
  }
  progress[n] = total;
}

// (updated, current) <- (updated + momentum (updated - current), updated).
extern "C" __global__ void __launch_bounds__(256)
extrapolate(float* updated, float* current, int count, float momentum) {
  int n = blockIdx.x * blockDim.x + threadIdx.x;
  if (n >= count) return;
  float value = updated[n];
  updated[n] = value + momentum * (value - current[n]);
  current[n] = value;
}

// Both of the above with a scaled gradient, without restart test.
extern "C" __global__ void __launch_bounds__(256)
accelerated_step(float* point, float* current, const float* gradient, const float* curvature, const float* penalty,
                 int count, float scale, float momentum) {
  int n = blockIdx.x * blockDim.x + threadIdx.x;
  if (n >= count) return;
  float after = fmaxf(point[n] - (scale * gradient[n] + penalty[n]) / curvature[n], 0.f);
  point[n] = after + momentum * (after - current[n]);
  current[n] = after;
}

extern "C" __global__ void __launch_bounds__(256)
adam_step(float* parameters, const float* gradient, float* first, float* second, const float* rates, int count,
          float beta1, float beta2, float correction1, float correction2) {
  int n = blockIdx.x * blockDim.x + threadIdx.x;
  if (n >= count) return;
  float slope = gradient[n];
  first[n] += (1.f - beta1) * (slope - first[n]);
  second[n] += (1.f - beta2) * (slope * slope - second[n]);
  parameters[n] -= rates[n] * first[n] * correction1 / (sqrtf(second[n] * correction2) + 1e-8f);
}

struct Cell {  // of a lattice of nodes: number of its first node, and where in it a point lies
  int first;
  float share[3];
};

// points (N, stride): x, y, z first; nodes (sx, sy, sz), z fastest.
__device__ __forceinline__ Cell cell_of(const float* point, float x0, float y0, float z0, float step, int sx, int sy, int sz) {
  float place[3] = {(point[0] - x0) / step, (point[1] - y0) / step, (point[2] - z0) / step};
  int size[3] = {sx, sy, sz};
  Cell cell = {0, {0.f, 0.f, 0.f}};
  for (int axis = 0; axis < 3; ++axis) {
    float inside = fminf(fmaxf(place[axis], 0.f), (float)size[axis] - 1.001f);
    int low = (int)inside;
    cell.share[axis] = inside - (float)low;
    cell.first = cell.first * size[axis] + low;
  }
  return cell;
}

__device__ __forceinline__ float corner_weight(const Cell& cell, int corner) {
  return (corner & 4 ? cell.share[0] : 1.f - cell.share[0]) * (corner & 2 ? cell.share[1] : 1.f - cell.share[1]) *
         (corner & 1 ? cell.share[2] : 1.f - cell.share[2]);
}

__device__ __forceinline__ int corner_node(const Cell& cell, int corner, int sy, int sz) {
  return cell.first + (corner >> 2) * sy * sz + ((corner >> 1) & 1) * sz + (corner & 1);
}

// Trilinear interpolation (F, N) of node values (F, sx * sy * sz); grid: points, fields.
extern "C" __global__ void __launch_bounds__(256)
read_nodes(const float* points, int stride, int count, float x0, float y0, float z0, float step, int sx, int sy, int sz,
           const float* nodes, float* values) {
  int n = blockIdx.x * blockDim.x + threadIdx.x, field = blockIdx.y;
  if (n >= count) return;
  Cell cell = cell_of(points + (size_t)stride * n, x0, y0, z0, step, sx, sy, sz);
  const float* own = nodes + (size_t)field * sx * sy * sz;
  float total = 0.f;
  for (int corner = 0; corner < 8; ++corner) total += corner_weight(cell, corner) * __ldg(own + corner_node(cell, corner, sy, sz));
  values[(size_t)field * count + n] = total;
}

// Adjoint of read_nodes, to fixed-point nodes (F, sx * sy * sz); grid: points, fields.
extern "C" __global__ void __launch_bounds__(256)
spread_to_nodes(const float* points, int stride, int count, float x0, float y0, float z0, float step, int sx, int sy,
                int sz, const float* values, const float* scale, long long* sums) {
  int n = blockIdx.x * blockDim.x + threadIdx.x, field = blockIdx.y;
  if (n >= count) return;
  float value = values[(size_t)field * count + n];
  if (value == 0.f) return;
  Cell cell = cell_of(points + (size_t)stride * n, x0, y0, z0, step, sx, sy, sz);
  long long* own = sums + (size_t)field * sx * sy * sz;
  for (int corner = 0; corner < 8; ++corner)
    add_fixed(own + corner_node(cell, corner, sy, sz), corner_weight(cell, corner) * value, *scale);
}

// Curves of coefficients (N, K) read at places (V, N) of tables (V, S, K): values and slopes (V, N); grid: points, views.
extern "C" __global__ void __launch_bounds__(128)
warped_curves(const float* coefficients, int count, int functions, const float* table, int samples, const float* place,
              float* values, float* slopes) {
  int n = blockIdx.x * blockDim.x + threadIdx.x, view = blockIdx.y;
  if (n >= count) return;
  size_t here = (size_t)view * count + n;
  int low = (int)place[here];
  const float* own = coefficients + (size_t)functions * n;
  const float* early = table + ((size_t)view * samples + low) * functions;
  float before = 0.f, after = 0.f;
  for (int k = 0; k < functions; ++k) before += own[k] * __ldg(early + k), after += own[k] * __ldg(early + functions + k);
  values[here] = before + (place[here] - (float)low) * (after - before);
  slopes[here] = after - before;
}

// Gradient (N, K) by the coefficients from that by the values (V, N).
extern "C" __global__ void __launch_bounds__(256)
warped_gradient(const float* table, int views, int samples, int functions, int count, const float* place,
                const float* gradient, float* result) {
  int element = blockIdx.x * blockDim.x + threadIdx.x;
  if (element >= count * functions) return;
  int n = element / functions, k = element - n * functions;
  float total = 0.f;
  for (int view = 0; view < views; ++view) {
    size_t here = (size_t)view * count + n;
    int low = (int)place[here];
    const float* early = table + ((size_t)view * samples + low) * functions + k;
    float late_share = (place[here] - (float)low) * gradient[here];
    total += (gradient[here] - late_share) * __ldg(early) + late_share * __ldg(early + functions);
  }
  result[element] = total;
}

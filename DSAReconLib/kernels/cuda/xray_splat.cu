// X-ray splatting of anisotropic Gaussians for fits: images, their gradients, and Gaussians on voxels.
// Formulas and records as in splat/cpu_footprint.py and splat/cpu_adjoint.py; the geometry of each
// Gaussian is float64 (few operations), its pixels are float32. No includes: NVRTC compiles the text at
// run time, the tests compile it with a host compiler. Images and volumes are added up atomically
// (their last bits depend on the order), gradients are gathered per Gaussian and do not.

#define VIEW_SIZE 22    // source, D_u, D_v (3 each), projection matrix (12), 1/sdd
#define RECORD_SIZE 11  // u0, v0, Quu, Quv, Qvv, peak, r_u, r_v, r_uu, r_uv, r_vv
#define LANES 32
#define ROOT_2PI 2.5066282746310002

struct Frame {       // whitened: rows of K, then a = K D_u, b = K D_v, c = K (mean - source)
  double k[3][3], a[3], b[3], c[3];
  double t, length, u, v, depth;
};

struct Conic {
  double uu, uv, vv;
};

__device__ __forceinline__ double dot3(const double* x, const double* y) { return x[0] * y[0] + x[1] * y[1] + x[2] * y[2]; }

// Rotation matrix of a quaternion (w, x, y, z) of any length; returns its length.
__device__ __forceinline__ double rotation_of(const float* q, double rot[3][3]) {
  double length = sqrt((double)q[0] * q[0] + (double)q[1] * q[1] + (double)q[2] * q[2] + (double)q[3] * q[3]);
  double w = q[0] / length, x = q[1] / length, y = q[2] / length, z = q[3] / length;
  rot[0][0] = 1 - 2 * (y * y + z * z), rot[0][1] = 2 * (x * y - w * z), rot[0][2] = 2 * (x * z + w * y);
  rot[1][0] = 2 * (x * y + w * z), rot[1][1] = 1 - 2 * (x * x + z * z), rot[1][2] = 2 * (y * z - w * x);
  rot[2][0] = 2 * (x * z - w * y), rot[2][1] = 2 * (y * z + w * x), rot[2][2] = 1 - 2 * (x * x + y * y);
  return length;
}

__device__ __forceinline__ void whiten(const float* mean, const float* scale, const double rot[3][3], const double* view, Frame* f) {
  double offset[3];
  for (int j = 0; j < 3; ++j) offset[j] = mean[j] - view[j];
  for (int i = 0; i < 3; ++i) {
    for (int j = 0; j < 3; ++j) f->k[i][j] = rot[j][i] / scale[i];
    f->a[i] = dot3(f->k[i], view + 3);
    f->b[i] = dot3(f->k[i], view + 6);
    f->c[i] = dot3(f->k[i], offset);
  }
  double m[3] = {mean[0], mean[1], mean[2]};
  f->depth = dot3(view + 17, m) + view[20];
  f->u = (dot3(view + 9, m) + view[12]) / f->depth;
  f->v = (dot3(view + 13, m) + view[16]) / f->depth;
  f->length = sqrt(dot3(f->c, f->c));
  f->t = f->depth * view[21];
}

__device__ __forceinline__ Conic conic_of(const Frame* f) {
  double inverse = 1 / (f->length * f->length), ac = dot3(f->a, f->c) * inverse, bc = dot3(f->b, f->c) * inverse;
  Conic q = {0, 0, 0};
  for (int i = 0; i < 3; ++i) {
    double across_a = f->a[i] - ac * f->c[i], across_b = f->b[i] - bc * f->c[i];
    q.uu += across_a * across_a, q.uv += across_a * across_b, q.vv += across_b * across_b;
  }
  double square = f->t * f->t;
  q.uu *= square, q.uv *= square, q.vv *= square;
  return q;
}

// Conic whose covariance is larger by ``variance`` (px^2); ``factor`` keeps the mass.
__device__ __forceinline__ Conic widened(Conic q, double variance, double* factor) {
  double det = q.uu * q.vv - q.uv * q.uv;
  double cuu = q.vv / det + variance, cuv = -q.uv / det, cvv = q.uu / det + variance;
  double wide = 1 / (cuu * cvv - cuv * cuv);
  *factor = sqrt(wide / det);
  Conic w = {cvv * wide, -cuv * wide, cuu * wide};
  return w;
}

__device__ __forceinline__ double distance_to(const float* mean, const double* source) {
  double x = mean[0] - source[0], y = mean[1] - source[1], z = mean[2] - source[2];
  return sqrt(x * x + y * y + z * z);
}

// Record of a Gaussian of unit amplitude; false behind the source.
__device__ __forceinline__ bool footprint(const Frame* f, const float* mean, const double* view, double variance, int affine, float* record) {
  if (f->depth <= 0) return false;
  Conic q = conic_of(f);
  double factor = 1;
  if (variance > 0) q = widened(q, variance, &factor);
  double peak = ROOT_2PI * f->t / f->length * factor;
  double inverse = affine ? 0 : f->t / (f->length * f->length), square = f->t * inverse;
  if (affine) peak *= distance_to(mean, view) / f->t;
  record[0] = f->u, record[1] = f->v, record[2] = q.uu, record[3] = q.uv, record[4] = q.vv, record[5] = peak;
  record[6] = 2 * inverse * dot3(f->a, f->c), record[7] = 2 * inverse * dot3(f->b, f->c);
  record[8] = square * dot3(f->a, f->a), record[9] = 2 * square * dot3(f->a, f->b), record[10] = square * dot3(f->b, f->b);
  return true;
}

struct Box {
  int row0, row1, column0, column1;  // inclusive; empty if row1 < row0
};

__device__ __forceinline__ Box box_of(const float* record, float cut, int rows, int columns) {
  Box box = {0, -1, 0, -1};
  float det = record[2] * record[4] - record[3] * record[3];
  if (!(det > 0.f)) return box;
  float half_rows = sqrtf(cut * record[2] / det), half_columns = sqrtf(cut * record[4] / det);
  if (record[0] + half_columns < 0.f || record[0] - half_columns > columns - 1) return box;
  if (record[1] + half_rows < 0.f || record[1] - half_rows > rows - 1) return box;
  box.row0 = (int)ceilf(fmaxf(record[1] - half_rows, 0.f));
  box.row1 = (int)floorf(fminf(record[1] + half_rows, (float)(rows - 1)));
  box.column0 = (int)ceilf(fmaxf(record[0] - half_columns, 0.f));
  box.column1 = (int)floorf(fminf(record[0] + half_columns, (float)(columns - 1)));
  if (box.column1 < box.column0) box.row1 = box.row0 - 1;
  return box;
}

// Records (V, N, 11) with peak = amplitude times line integral through the center; grid: Gaussians, views.
extern "C" __global__ void __launch_bounds__(128)
prepare_footprints(const float* means, const float* scales, const float* quats, const float* amplitudes, int count,
                   const double* views, float variance, int affine, float* records) {
  int i = blockIdx.x * blockDim.x + threadIdx.x, view = blockIdx.y;
  if (i >= count) return;
  float* record = records + ((size_t)view * count + i) * RECORD_SIZE;
  float amplitude = amplitudes[(size_t)view * count + i];
  double rot[3][3];
  Frame frame;
  rotation_of(quats + 4 * i, rot);
  whiten(means + 3 * i, scales + 3 * i, rot, views + VIEW_SIZE * view, &frame);
  bool seen = amplitude != 0.f && footprint(&frame, means + 3 * i, views + VIEW_SIZE * view, variance, affine, record);
  if (seen) record[5] *= amplitude;
  else record[2] = record[3] = record[4] = 0.f;
}

// Add footprints to images (V, R, C); 32 lanes share the pixels of one Gaussian; grid: Gaussians, views.
extern "C" __global__ void __launch_bounds__(256)
add_footprints(const float* records, int count, float cut, float* images, int rows, int columns) {
  int i = blockIdx.x * blockDim.y + threadIdx.y, view = blockIdx.y;
  if (i >= count) return;
  const float* record = records + ((size_t)view * count + i) * RECORD_SIZE;
  Box box = box_of(record, cut, rows, columns);
  int width = box.column1 - box.column0 + 1, pixels = width * (box.row1 - box.row0 + 1);
  float* image = images + (size_t)view * rows * columns;
  for (int pixel = threadIdx.x; pixel < pixels; pixel += LANES) {
    int row = box.row0 + pixel / width, column = box.column0 + pixel % width;
    float du = column - record[0], dv = row - record[1];
    float q = record[2] * du * du + 2.f * record[3] * du * dv + record[4] * dv * dv;
    if (q > cut) continue;
    float r = 1.f + du * (record[6] + record[8] * du + record[9] * dv) + dv * (record[7] + record[10] * dv);
    atomicAdd(image + (size_t)row * columns + column, record[5] / sqrtf(r) * expf(-0.5f * q / r));
  }
}

// Twelve weighted sums over the pixels of one Gaussian, see add_row_sums in cpu_footprint.py.
__device__ __forceinline__ void pixel_sums(const float* record, Box box, float cut, const float* image, int columns, double* sums) {
  for (int n = 0; n < 12; ++n) sums[n] = 0;
  for (int row = box.row0; row <= box.row1; ++row) {
    float dv = row - record[1], total = 0, e0 = 0, e1 = 0, e2 = 0, h0 = 0, h1 = 0, h2 = 0;
    const float* line = image + (size_t)row * columns;
    for (int column = box.column0; column <= box.column1; ++column) {
      float du = column - record[0];
      float q = record[2] * du * du + 2.f * record[3] * du * dv + record[4] * dv * dv;
      if (q > cut) continue;
      float inverse = 1.f / (1.f + du * (record[6] + record[8] * du + record[9] * dv) + dv * (record[7] + record[10] * dv));
      q *= inverse;
      float weight = __ldg(line + column) * sqrtf(inverse) * expf(-0.5f * q);
      total += weight;
      weight *= inverse;
      e0 += weight, e1 += weight * du, e2 += weight * du * du;
      weight *= q - 1.f;
      h0 += weight, h1 += weight * du, h2 += weight * du * du;
    }
    sums[0] += total, sums[1] += e1, sums[2] += e0 * dv, sums[3] += e2, sums[4] += e1 * dv, sums[5] += e0 * dv * dv;
    sums[6] += h0, sums[7] += h1, sums[8] += h0 * dv, sums[9] += h2, sums[10] += h1 * dv, sums[11] += h0 * dv * dv;
  }
}

// Gradient of the exact conic from that of the widened one (uv counted once).
__device__ __forceinline__ Conic narrowed_gradient(Conic wide, Conic exact, Conic grad, double peak_grad) {
  double det = wide.uu * wide.vv - wide.uv * wide.uv;
  double guu = grad.uu + 0.5 * peak_grad * wide.vv / det, guv = 0.5 * grad.uv - 0.5 * peak_grad * wide.uv / det;
  double gvv = grad.vv + 0.5 * peak_grad * wide.uu / det;
  double wuu = wide.uu * guu + wide.uv * guv, wuv = wide.uu * guv + wide.uv * gvv;
  double wvu = wide.uv * guu + wide.vv * guv, wvv = wide.uv * guv + wide.vv * gvv;
  double suu = wuu * wide.uu + wuv * wide.uv, suv = wuu * wide.uv + wuv * wide.vv, svv = wvu * wide.uv + wvv * wide.vv;
  det = exact.uu * exact.vv - exact.uv * exact.uv;
  double cuu = exact.vv / det, cuv = -exact.uv / det, cvv = exact.uu / det;
  wuu = cuu * suu + cuv * suv, wuv = cuu * suv + cuv * svv, wvu = cuv * suu + cvv * suv, wvv = cuv * suv + cvv * svv;
  Conic result;
  result.uu = wuu * cuu + wuv * cuv - 0.5 * peak_grad * cuu;
  result.uv = 2 * (wuu * cuv + wuv * cvv - 0.5 * peak_grad * cuv);
  result.vv = wvu * cuv + wvv * cvv - 0.5 * peak_grad * cvv;
  return result;
}

// Gradients (3, 3) of a, b, c; returns that of t. ``peak_grad`` is that of the peak's logarithm.
__device__ __forceinline__ double vectors_gradient(const Frame* f, Conic g, const double* r, double peak_grad, double grads[3][3]) {
  double inverse = 1 / (f->length * f->length), ac = dot3(f->a, f->c) * inverse, bc = dot3(f->b, f->c) * inverse;
  double t = f->t, square = t * t;
  double quadratic = r[2] * dot3(f->a, f->a) + 2 * r[3] * dot3(f->a, f->b) + r[4] * dot3(f->b, f->b);
  for (int i = 0; i < 3; ++i) {
    double a = f->a[i], b = f->b[i], c = f->c[i], across_a = a - ac * c, across_b = b - bc * c;
    grads[0][i] = square * (2 * g.uu * across_a + g.uv * across_b) + 2 * t * inverse * (r[0] * c + t * (r[2] * a + r[3] * b));
    grads[1][i] = square * (2 * g.vv * across_b + g.uv * across_a) + 2 * t * inverse * (r[1] * c + t * (r[4] * b + r[3] * a));
    grads[2][i] = -square * (across_a * (2 * g.uu * ac + g.uv * bc) + across_b * (2 * g.vv * bc + g.uv * ac)) +
                  2 * t * inverse * (r[0] * (a - 2 * ac * c) + r[1] * (b - 2 * bc * c)) -
                  c * inverse * (2 * square * inverse * quadratic + peak_grad);
  }
  Conic q = conic_of(f);
  return (2 * (g.uu * q.uu + g.uv * q.uv + g.vv * q.vv) + peak_grad) / t + 2 * (r[0] * ac + r[1] * bc) + 2 * t * inverse * quadratic;
}

__device__ __forceinline__ void quaternion_gradient(const float* quat, double length, const double g[3][3], double* out) {
  double w = quat[0] / length, x = quat[1] / length, y = quat[2] / length, z = quat[3] / length, d[4];
  d[0] = 2 * (x * (g[2][1] - g[1][2]) + y * (g[0][2] - g[2][0]) + z * (g[1][0] - g[0][1]));
  d[1] = 2 * (y * (g[0][1] + g[1][0]) + z * (g[0][2] + g[2][0]) + w * (g[2][1] - g[1][2])) - 4 * x * (g[1][1] + g[2][2]);
  d[2] = 2 * (x * (g[0][1] + g[1][0]) + z * (g[1][2] + g[2][1]) + w * (g[0][2] - g[2][0])) - 4 * y * (g[0][0] + g[2][2]);
  d[3] = 2 * (x * (g[0][2] + g[2][0]) + y * (g[1][2] + g[2][1]) + w * (g[1][0] - g[0][1])) - 4 * z * (g[0][0] + g[1][1]);
  double unit[4] = {w, x, y, z}, along = d[0] * w + d[1] * x + d[2] * y + d[3] * z;
  for (int n = 0; n < 4; ++n) out[n] += (d[n] - along * unit[n]) / length;
}

// Chain rule from the pixel sums to out (10) = mean, scale, quaternion; ``unit`` is the peak per amplitude.
__device__ __forceinline__ void chain(const Frame* f, const float* mean, const float* scale, const float* quat, double quat_length,
                      const double* view, double variance, int affine, const float* record, double peak,
                      const double* sums, double* out, float* pull) {
  double half = 0.5 * peak, bend = affine ? 0 : half, peak_grad = peak * sums[0];
  Conic g = {-half * sums[3], -peak * sums[4], -half * sums[5]};
  double r[5] = {bend * sums[7], bend * sums[8], bend * sums[9], bend * sums[10], bend * sums[11]};
  double u_grad = peak * (record[2] * sums[1] + record[3] * sums[2]) -
                  half * (record[6] * sums[6] + 2 * record[8] * sums[7] + record[9] * sums[8]);
  double v_grad = peak * (record[3] * sums[1] + record[4] * sums[2]) -
                  half * (record[7] * sums[6] + 2 * record[10] * sums[8] + record[9] * sums[7]);
  if (variance > 0) {
    double factor;
    Conic exact = conic_of(f), wide = widened(exact, variance, &factor);
    g = narrowed_gradient(wide, exact, g, peak_grad);
  }
  double grads[3][3], rot_grad[3][3], t_grad = vectors_gradient(f, g, r, peak_grad, grads);
  if (affine) {  // |D_c| = distance / t replaces the pixel's |D|
    double distance = distance_to(mean, view);
    t_grad -= peak_grad / f->t;
    for (int j = 0; j < 3; ++j) out[j] += peak_grad * (mean[j] - view[j]) / (distance * distance);
  }
  for (int j = 0; j < 3; ++j)
    out[j] += grads[2][0] * f->k[0][j] + grads[2][1] * f->k[1][j] + grads[2][2] * f->k[2][j] + t_grad * view[21] * view[17 + j] +
              (u_grad * (view[9 + j] - f->u * view[17 + j]) + v_grad * (view[13 + j] - f->v * view[17 + j])) / f->depth;
  for (int i = 0; i < 3; ++i) {
    double along = 0;
    for (int j = 0; j < 3; ++j) {
      double k_grad = grads[0][i] * view[3 + j] + grads[1][i] * view[6 + j] + grads[2][i] * (mean[j] - view[j]);
      along += k_grad * f->k[i][j];
      rot_grad[j][i] = k_grad / scale[i];
    }
    out[3 + i] -= along / scale[i];
  }
  quaternion_gradient(quat, quat_length, rot_grad, out + 6);
  *pull = (float)sqrt(u_grad * u_grad + v_grad * v_grad);
}

// Gradients (N, 10) of mean, scale, quaternion and (V, N) of the amplitudes from those of the images (V, R, C);
// pulls (V, N): length of the gradient of the projected center, -1 if unseen. Grid: Gaussians.
extern "C" __global__ void __launch_bounds__(128)
gather_gradients(const float* means, const float* scales, const float* quats, const float* amplitudes, int count,
                 const double* views, int num_views, float variance, int affine, float cut, const float* gradients,
                 int rows, int columns, float* shape_grads, float* amplitude_grads, float* pulls) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= count) return;
  const float *mean = means + 3 * i, *scale = scales + 3 * i, *quat = quats + 4 * i;
  double out[10] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, rot[3][3], quat_length = rotation_of(quat, rot);
  for (int view = 0; view < num_views; ++view) {
    const double* constants = views + VIEW_SIZE * view;
    size_t slot = (size_t)view * count + i;
    float record[RECORD_SIZE];
    Frame frame;
    whiten(mean, scale, rot, constants, &frame);
    amplitude_grads[slot] = 0.f, pulls[slot] = -1.f;
    if (!footprint(&frame, mean, constants, variance, affine, record)) continue;
    Box box = box_of(record, cut, rows, columns);
    if (box.row1 < box.row0) continue;
    double sums[12];
    pixel_sums(record, box, cut, gradients + (size_t)view * rows * columns, columns, sums);
    amplitude_grads[slot] = (float)(sums[0] * record[5]);
    double peak = (double)record[5] * amplitudes[slot];
    chain(&frame, mean, scale, quat, quat_length, constants, variance, affine, record, peak, sums, out, pulls + slot);
  }
  for (int n = 0; n < 10; ++n) shape_grads[10 * i + n] = (float)out[n];
}

// Add Gaussians to volumes (K, Z, Y, X); amplitudes (K, N); 32 lanes share the voxels of one; grid: Gaussians.
extern "C" __global__ void __launch_bounds__(256)
add_to_voxels(const float* means, const float* scales, const float* quats, const float* amplitudes, int count, int volumes,
              const float* origin, const float* spacing, float cut, float* out, int nz, int ny, int nx) {
  int i = blockIdx.x * blockDim.y + threadIdx.y;
  if (i >= count) return;
  double rot[3][3];
  rotation_of(quats + 4 * i, rot);
  const float *mean = means + 3 * i, *scale = scales + 3 * i;
  int first[3], size[3], shape[3] = {nx, ny, nz};
  for (int axis = 0; axis < 3; ++axis) {
    float x = (float)rot[axis][0] * scale[0], y = (float)rot[axis][1] * scale[1], z = (float)rot[axis][2] * scale[2];
    float half = sqrtf(cut * (x * x + y * y + z * z)), center = mean[axis] - origin[axis];
    first[axis] = (int)fmaxf(0.f, ceilf((center - half) / spacing[axis]));
    size[axis] = (int)fminf(shape[axis] - 1.f, floorf((center + half) / spacing[axis])) - first[axis] + 1;
    if (size[axis] <= 0) return;
  }
  int voxels = size[0] * size[1] * size[2];
  for (int voxel = threadIdx.x; voxel < voxels; voxel += LANES) {
    int index[3] = {first[0] + voxel % size[0], first[1] + voxel / size[0] % size[1], first[2] + voxel / (size[0] * size[1])};
    float offset[3], q = 0.f;
    for (int axis = 0; axis < 3; ++axis) offset[axis] = origin[axis] + index[axis] * spacing[axis] - mean[axis];
    for (int axis = 0; axis < 3; ++axis) {
      float along = (float)rot[0][axis] * offset[0] + (float)rot[1][axis] * offset[1] + (float)rot[2][axis] * offset[2];
      q += along * along / (scale[axis] * scale[axis]);
    }
    if (q > cut) continue;
    float weight = expf(-0.5f * q);
    size_t place = ((size_t)index[2] * ny + index[1]) * nx + index[0];
    for (int k = 0; k < volumes; ++k)
      atomicAdd(out + (size_t)k * nz * ny * nx + place, weight * amplitudes[(size_t)k * count + i]);
  }
}

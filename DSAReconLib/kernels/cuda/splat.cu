// X-ray splatting of Gaussians on one view: a warp per Gaussian, atomic sums into the picture.
// The mathematics is that of kernels/splat/cpu_footprint.py; constants of the view as in kernels/splat/scene.py.

__device__ __forceinline__ float dot3(const float* a, const float* b) { return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]; }

// kernels (N, 12): rows of the whitening matrices, 1/mm, and centers, mm. Block (32, g, 1), grid (ceil(N / g), 1, 1).
extern "C" __global__ void splat_view(const float* __restrict__ kernels, const float* __restrict__ amplitudes, int count,
                                      const double* __restrict__ view, float cut, float box_variance,
                                      float* __restrict__ picture, int rows, int columns)
{
    const int index = blockIdx.x * blockDim.y + threadIdx.y;
    if (index >= count) return;
    const float amplitude = amplitudes[index];
    if (amplitude == 0.0f) return;
    const float* k = kernels + 12 * (size_t)index;

    // float64: the source can be very far away
    const double x = k[9] - view[0], y = k[10] - view[1], z = k[11] - view[2];
    const double depth = view[15] * x + view[16] * y + view[17] * z;
    if (depth <= 0.0) return;
    const float u = (float)((view[9] * x + view[10] * y + view[11] * z) / depth);
    const float v = (float)((view[12] * x + view[13] * y + view[14] * z) / depth);
    const float t = (float)(depth * view[18]);
    const float offset[3] = {(float)x, (float)y, (float)z};
    const float step_u[3] = {(float)view[3], (float)view[4], (float)view[5]};
    const float step_v[3] = {(float)view[6], (float)view[7], (float)view[8]};
    float a[3], b[3], c[3], across_a[3], across_b[3];
    for (int i = 0; i < 3; ++i) {
        a[i] = dot3(k + 3 * i, step_u);
        b[i] = dot3(k + 3 * i, step_v);
        c[i] = dot3(k + 3 * i, offset);
    }
    const float cc = dot3(c, c);
    if (cc <= cut) return;  // the source is inside the kernel
    const float inverse = 1.0f / cc, ac = dot3(a, c) * inverse, bc = dot3(b, c) * inverse;
    for (int i = 0; i < 3; ++i) {
        across_a[i] = a[i] - ac * c[i];
        across_b[i] = b[i] - bc * c[i];
    }
    const float square = t * t;
    const float quu = square * dot3(across_a, across_a), quv = square * dot3(across_a, across_b),
                qvv = square * dot3(across_b, across_b), det = quu * qvv - quv * quv;
    if (!(det > 0.0f)) return;

    // the conic widened by the pixel's area, which keeps its mass
    const float cuu = qvv / det + box_variance, cuv = -quv / det, cvv = quu / det + box_variance;
    const float wide = 1.0f / (cuu * cvv - cuv * cuv);
    const float wuu = cvv * wide, wuv = -cuv * wide, wvv = cuu * wide;
    const float peak = amplitude * 2.50662827f * t * sqrtf(inverse * wide / det);
    const float ru = 2.0f * t * ac, rv = 2.0f * t * bc;
    const float ruu = square * inverse * dot3(a, a), ruv = 2.0f * square * inverse * dot3(a, b),
                rvv = square * inverse * dot3(b, b);

    const float half_u = sqrtf(cut * cuu), half_v = sqrtf(cut * cvv);
    const int left = (int)fminf(fmaxf(0.0f, ceilf(u - half_u)), columns);
    const int right = (int)fmaxf(fminf(columns - 1.0f, floorf(u + half_u)), -1.0f);
    const int top = (int)fminf(fmaxf(0.0f, ceilf(v - half_v)), rows);
    const int bottom = (int)fmaxf(fminf(rows - 1.0f, floorf(v + half_v)), -1.0f);
    const int width = right - left + 1, height = bottom - top + 1;
    if (width <= 0 || height <= 0) return;
    const long long pixels = (long long)width * height;
    for (long long p = threadIdx.x; p < pixels; p += blockDim.x) {
        const int row = top + (int)(p / width), column = left + (int)(p % width);
        const float du = column - u, dv = row - v;
        const float q = wuu * du * du + 2.0f * wuv * du * dv + wvv * dv * dv;
        if (q > cut) continue;
        const float r = 1.0f / (1.0f + du * (ru + ruv * dv + ruu * du) + dv * (rv + rvv * dv));
        atomicAdd(picture + (size_t)row * columns + column, peak * sqrtf(r) * expf(-0.5f * q * r));
    }
}

// Multiply by the distance from the source to each pixel. Block (32, 8, 1).
extern "C" __global__ void scale_by_ray_lengths(float* __restrict__ picture, const double* __restrict__ view, int rows,
                                                int columns)
{
    const int column = blockIdx.x * blockDim.x + threadIdx.x, row = blockIdx.y * blockDim.y + threadIdx.y;
    if (column >= columns || row >= rows) return;
    const float first = (float)(view[19] + row * (view[20] + row * view[21])), linear = (float)(view[22] + row * view[23]);
    picture[(size_t)row * columns + column] *= sqrtf(first + column * (linear + column * (float)view[24]));
}

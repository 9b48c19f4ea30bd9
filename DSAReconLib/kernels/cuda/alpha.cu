// Front-to-back compositing of footprints that are sorted by depth within tiles of 16 x 16 pixels.
// One thread per pixel; constants and rules as in kernels/alpha/cpu_tiles.py.
// records (N, 7): u, v, conic uu, uv, vv, opacity, color.

#define TILE 16
#define MAX_ALPHA 0.99f
#define MIN_ALPHA (1.0f / 255.0f)
#define MIN_TRANSMITTANCE 1e-4f

static __device__ __forceinline__ float unbounded_alpha(const float* record, float du, float dv) {
  float exponent = 0.5f * (record[2] * du * du + record[4] * dv * dv) + record[3] * du * dv;
  return record[5] * expf(-max(exponent, 0.0f));
}

extern "C" __global__ void alpha_composite(const float* records, const int* offsets, const int* lists, int rows,
                                           int columns, int wide, float background, float* image,
                                           float* transmittance, int* last) {
  int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y;
  if (x >= columns || y >= rows) return;
  int tile = (y / TILE) * wide + x / TILE;
  float light = 1.0f, shade = 0.0f;
  int end = offsets[tile];
  for (int j = offsets[tile]; j < offsets[tile + 1]; ++j) {
    const float* record = records + 7 * lists[j];
    float alpha = min(MAX_ALPHA, unbounded_alpha(record, x - record[0], y - record[1]));
    if (alpha < MIN_ALPHA) continue;
    float after = light * (1.0f - alpha);
    if (after <= MIN_TRANSMITTANCE) break;
    shade += record[6] * alpha * light;
    light = after;
    end = j + 1;
  }
  int pixel = y * columns + x;
  image[pixel] = shade + background * light;
  transmittance[pixel] = light;
  last[pixel] = end;
}

extern "C" __global__ void alpha_composite_adjoint(const float* records, const int* offsets, const int* lists, int rows,
                                                   int columns, int wide, float background, const float* gradient,
                                                   const float* transmittance, const int* last, float* out) {
  int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y;
  if (x >= columns || y >= rows) return;
  int tile = (y / TILE) * wide + x / TILE, pixel = y * columns + x;
  float light = transmittance[pixel], behind = background * light, slope = gradient[pixel];
  for (int j = last[pixel] - 1; j >= offsets[tile]; --j) {
    const float* record = records + 7 * lists[j];
    float du = x - record[0], dv = y - record[1];
    float open = unbounded_alpha(record, du, dv), alpha = min(MAX_ALPHA, open);
    if (alpha < MIN_ALPHA) continue;
    float before = light / (1.0f - alpha), weight = alpha * before;
    float* sums = out + 7 * lists[j];
    atomicAdd(sums + 6, slope * weight);
    if (open <= MAX_ALPHA) {
      float by_alpha = slope * (record[6] * before - behind / (1.0f - alpha)), scaled = by_alpha * open;
      atomicAdd(sums + 0, scaled * (record[2] * du + record[3] * dv));
      atomicAdd(sums + 1, scaled * (record[3] * du + record[4] * dv));
      atomicAdd(sums + 2, -0.5f * scaled * du * du);
      atomicAdd(sums + 3, -scaled * du * dv);
      atomicAdd(sums + 4, -0.5f * scaled * dv * dv);
      atomicAdd(sums + 5, scaled / record[5]);
    }
    behind += record[6] * weight;
    light = before;
  }
}

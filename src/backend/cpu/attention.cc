#include "backend/cpu/attention.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <type_traits>
#include <vector>

#include "base/half.h"

namespace velatura::backend::cpu {
namespace {

constexpr std::int64_t kQueryBlock = 32;
constexpr std::int64_t kKeyBlock = 64;

float load(float value) {
  return value;
}
float load(std::uint16_t value) {
  return bf16_to_float(value);
}
void store(float value, float& to) {
  to = value;
}
void store(float value, std::uint16_t& to) {
  to = float_to_bf16(value);
}

/// One head of one batch entry: rows `row_stride` elements apart, `width` of them used.
template <typename T>
struct HeadView {
  const T* q;
  const T* k;
  const T* v;
  T* y;
  std::int64_t row_stride, width, key_count;
  float scale;
  bool causal;
};

template <typename T>
void attend_block(const HeadView<T>& head, std::int64_t first, std::int64_t rows) {
  const std::int64_t width = head.width;
  std::vector<float> keys(static_cast<std::size_t>(width * kKeyBlock));  // [width][kKeyBlock]
  std::vector<float> sums(static_cast<std::size_t>(rows * width), 0.0f);
  std::vector<float> maxima(static_cast<std::size_t>(rows),
                            -std::numeric_limits<float>::infinity());
  std::vector<float> totals(static_cast<std::size_t>(rows), 0.0f);
  const std::int64_t visible =
      head.causal ? std::min(head.key_count, first + rows) : head.key_count;
  for (std::int64_t begin = 0; begin < visible; begin += kKeyBlock) {
    const std::int64_t count = std::min(kKeyBlock, visible - begin);
    for (std::int64_t j = 0; j < count; ++j) {
      for (std::int64_t c = 0; c < width; ++c) {
        keys[c * kKeyBlock + j] = load(head.k[(begin + j) * head.row_stride + c]);
      }
    }
    for (std::int64_t i = 0; i < rows; ++i) {
      const std::int64_t seen = head.causal ? std::min(count, first + i + 1 - begin) : count;
      if (seen <= 0) continue;
      const T* query = head.q + (first + i) * head.row_stride;
      float scores[kKeyBlock] = {};
      for (std::int64_t c = 0; c < width; ++c) {
        const float value = load(query[c]) * head.scale;
        for (std::int64_t j = 0; j < kKeyBlock; ++j) scores[j] += value * keys[c * kKeyBlock + j];
      }
      const float maximum = std::max(maxima[i], *std::max_element(scores, scores + seen));
      const float shrink = std::exp(maxima[i] - maximum);
      maxima[i] = maximum;
      float* row = &sums[i * width];
      for (std::int64_t c = 0; c < width; ++c) row[c] *= shrink;
      float total = totals[i] * shrink;
      for (std::int64_t j = 0; j < seen; ++j) {
        const float weight = std::exp(scores[j] - maximum);
        total += weight;
        const T* value = head.v + (begin + j) * head.row_stride;
        for (std::int64_t c = 0; c < width; ++c) row[c] += weight * load(value[c]);
      }
      totals[i] = total;
    }
  }
  for (std::int64_t i = 0; i < rows; ++i) {
    T* row = head.y + (first + i) * head.row_stride;
    for (std::int64_t c = 0; c < width; ++c) store(sums[i * width + c] / totals[i], row[c]);
  }
}

template <typename T>
void attend(const Tensor& q, const Tensor& k, const Tensor& v, const ops::AttentionArgs& args,
            Tensor& y) {
  const std::int64_t batch = q.size(0), queries = q.size(1), keys = k.size(1), stride = q.size(2);
  const std::int64_t heads = args.heads, width = stride / heads;
  const std::int64_t blocks = (queries + kQueryBlock - 1) / kQueryBlock;
  const T* q_data = q.data<T>();
  const T* k_data = k.data<T>();
  const T* v_data = v.data<T>();
  T* y_data = y.mutable_data<T>();
#pragma omp parallel for schedule(dynamic)
  for (std::int64_t job = 0; job < batch * heads * blocks; ++job) {
    const std::int64_t n = job / (heads * blocks), h = job / blocks % heads;
    const std::int64_t first = job % blocks * kQueryBlock;
    const HeadView<T> head{.q = q_data + n * queries * stride + h * width,
                           .k = k_data + n * keys * stride + h * width,
                           .v = v_data + n * keys * stride + h * width,
                           .y = y_data + n * queries * stride + h * width,
                           .row_stride = stride,
                           .width = width,
                           .key_count = keys,
                           .scale = args.scale,
                           .causal = args.causal};
    attend_block(head, first, std::min(kQueryBlock, queries - first));
  }
}

}  // namespace

void cpu_attention(const Tensor& q, const Tensor& k, const Tensor& v,
                   const ops::AttentionArgs& args, Tensor& y) {
  if (q.dtype() == DType::bf16) {
    attend<std::uint16_t>(q, k, v, args, y);
  } else {
    attend<float>(q, k, v, args, y);
  }
}

}  // namespace velatura::backend::cpu

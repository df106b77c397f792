#include <algorithm>
#include <cmath>
#include <vector>

#include "backend/reference/kernels.h"
#include "backend/reference/values.h"

namespace velatura::backend::reference {

namespace {

/// Turns scores into softmax weights.
void softmax(std::span<float> scores) {
  const float largest = *std::ranges::max_element(scores);
  double sum = 0;
  for (float& score : scores) {
    score = std::exp(score - largest);
    sum += score;
  }
  const float inverse = static_cast<float>(1.0 / sum);
  for (float& score : scores) score *= inverse;
}

/// One head of one picture: its slices of q, k, v and y, whose rows are `stride` values apart.
struct Head {
  const float* q;
  const float* k;
  const float* v;
  float* y;
  std::int64_t queries, keys, width, stride;
};

void attend(const Head& head, const ops::AttentionArgs& args) {
  // [width, keys], so that the scores of one query are sums over rows.
  std::vector<float> k_transposed(static_cast<std::size_t>(head.width * head.keys));
  for (std::int64_t j = 0; j < head.keys; ++j) {
    for (std::int64_t c = 0; c < head.width; ++c) {
      k_transposed[static_cast<std::size_t>(c * head.keys + j)] = head.k[j * head.stride + c];
    }
  }
  std::vector<float> scores(static_cast<std::size_t>(head.keys));
  for (std::int64_t i = 0; i < head.queries; ++i) {
    const std::int64_t seen = args.causal ? std::min(i + 1, head.keys) : head.keys;
    const std::span<float> weights(scores.data(), static_cast<std::size_t>(seen));
    std::ranges::fill(weights, 0.0f);
    for (std::int64_t c = 0; c < head.width; ++c) {
      const float value = head.q[i * head.stride + c] * args.scale;
      const float* row = k_transposed.data() + c * head.keys;
      for (std::size_t j = 0; j < weights.size(); ++j) weights[j] += value * row[j];
    }
    softmax(weights);
    float* y = head.y + i * head.stride;
    std::fill_n(y, head.width, 0.0f);
    for (std::int64_t j = 0; j < seen; ++j) {
      const float weight = scores[static_cast<std::size_t>(j)];
      const float* row = head.v + j * head.stride;
      for (std::int64_t c = 0; c < head.width; ++c) y[c] += weight * row[c];
    }
  }
}

}  // namespace

void attention(const Tensor& q, const Tensor& k, const Tensor& v, const ops::AttentionArgs& args,
               Tensor& y) {
  const std::int64_t queries = q.size(1), keys = k.size(1), stride = q.size(2);
  const std::int64_t width = stride / args.heads;
  const Tensor q_values = to_f32(q), k_values = to_f32(k), v_values = to_f32(v);
  compute_f32(y, [&](float* out) {
    for (std::int64_t picture = 0; picture < q.size(0); ++picture) {
      const std::int64_t query_offset = picture * queries * stride;
      const std::int64_t key_offset = picture * keys * stride;
      for (std::int64_t first = 0; first < stride; first += width) {
        attend({.q = q_values.data<float>() + query_offset + first,
                .k = k_values.data<float>() + key_offset + first,
                .v = v_values.data<float>() + key_offset + first,
                .y = out + query_offset + first,
                .queries = queries,
                .keys = keys,
                .width = width,
                .stride = stride},
               args);
      }
    }
  });
}

}  // namespace velatura::backend::reference

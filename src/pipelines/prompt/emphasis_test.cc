#include "pipelines/prompt/emphasis.h"

#include <gtest/gtest.h>

#include <numeric>

#include "velatura/error.h"

namespace velatura::pipelines::prompt {
namespace {

std::vector<Chunk> chunks_of(std::vector<std::vector<float>> weights) {
  std::vector<Chunk> chunks;
  for (auto& row : weights)
    chunks.push_back({.ids = std::vector<std::int32_t>(row.size()), .weights = row, .fixes = {}});
  return chunks;
}

TEST(Emphasis, MultipliesAndKeepsTheMeanOfEachChunk) {
  Tensor hidden = Tensor::from(std::vector<float>{1, 3, 2, 2, 5, 5, 1, 1}, {2, 2, 2});
  const Tensor before = hidden.clone();
  apply_emphasis(hidden, chunks_of({{2.0f, 0.5f}, {1.0f, 1.0f}}));
  // 1·2 3·2 2·½ 2·½ sums to 10, before to 8: scaled by 0.8.
  const float expected[] = {1.6f, 4.8f, 0.8f, 0.8f, 5, 5, 1, 1};
  for (std::size_t i = 0; i < 8; ++i) EXPECT_FLOAT_EQ(hidden.floats()[i], expected[i]);
  const auto mean = [](std::span<const float> v) {
    return std::accumulate(v.begin(), v.begin() + 4, 0.0);
  };
  EXPECT_NEAR(mean(hidden.floats()), mean(before.floats()), 1e-5);
}

TEST(Emphasis, WeightsOfOneChangeNoBit) {
  Tensor hidden = Tensor::from(std::vector<float>{0.1f, 0.7f, -0.3f, 1e-30f}, {1, 2, 2});
  const Tensor before = hidden.clone();
  apply_emphasis(hidden, chunks_of({{1.0f, 1.0f}}));
  for (std::size_t i = 0; i < 4; ++i) EXPECT_EQ(hidden.floats()[i], before.floats()[i]);
}

TEST(Emphasis, AMeanOfZeroIsNotDividedBy) {
  Tensor hidden = Tensor::from(std::vector<float>{1, 2}, {1, 2, 1});
  apply_emphasis(hidden, chunks_of({{0.0f, 0.0f}}));
  EXPECT_EQ(hidden.floats()[0], 0.0f);
  EXPECT_EQ(hidden.floats()[1], 0.0f);
}

TEST(Emphasis, ShapesMustAgree) {
  Tensor hidden = Tensor::zeros({1, 2, 2}, DType::f32);
  EXPECT_THROW(apply_emphasis(hidden, chunks_of({{1, 1}, {1, 1}})), Error);
  EXPECT_THROW(apply_emphasis(hidden, chunks_of({{1, 1, 1}})), Error);
}

}  // namespace
}  // namespace velatura::pipelines::prompt

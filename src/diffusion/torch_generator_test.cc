#include "diffusion/torch_generator.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "base/error.h"

namespace velatura::diffusion {
namespace {

TEST(TorchGenerator, SeedsUseTheirLow32Bits) {
  std::vector<float> low(20), high(20);
  TorchGenerator(5).randn(low);
  TorchGenerator((std::uint64_t{9} << 32) + 5).randn(high);
  EXPECT_EQ(low, high);
}

TEST(TorchGenerator, NormalsHaveMeanZeroAndVarianceOne) {
  std::vector<float> values(100'003);  // no multiple of 16: the tail is drawn twice
  TorchGenerator(1).randn(values);
  double sum = 0, squares = 0;
  for (float value : values) sum += value, squares += static_cast<double>(value) * value;
  const double count = static_cast<double>(values.size());
  EXPECT_NEAR(sum / count, 0.0, 5 / std::sqrt(count));
  EXPECT_NEAR(squares / count, 1.0, 5 * std::sqrt(2 / count));
}

TEST(TorchGenerator, SmallDrawsGoOnWhereTheLastStopped) {
  std::vector<float> together(6), apart(6);
  TorchGenerator one(3), many(3);
  one.randn(together);
  for (std::size_t i = 0; i < apart.size(); ++i) many.randn(std::span(apart).subspan(i, 1));
  EXPECT_EQ(together, apart);
}

TEST(TorchGenerator, RandintRefusesAnEmptyRange) {
  std::vector<std::int64_t> values(1);
  EXPECT_THROW(TorchGenerator(0).randint(3, 3, values), Error);
}

}  // namespace
}  // namespace velatura::diffusion

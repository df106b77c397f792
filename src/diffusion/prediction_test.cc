#include "diffusion/prediction.h"

#include <gtest/gtest.h>

#include <cmath>

#include "diffusion/combine.h"
#include "diffusion/noise_source.h"

namespace velatura::diffusion {
namespace {

double largest_difference(const Tensor& a, const Tensor& b) {
  double largest = 0;
  for (std::size_t i = 0; i < a.floats().size(); ++i) {
    largest = std::max(largest, std::abs(static_cast<double>(a.floats()[i]) - b.floats()[i]));
  }
  return largest;
}

TEST(Prediction, EveryKindGivesBackTheCleanPicture) {
  BatchNoise draws(1);
  const Tensor clean = draws.draw({1, 4, 4, 4}), noise = draws.draw({1, 4, 4, 4});
  for (double sigma : {0.03, 1.0, 14.6, 4096.0}) {
    const double scale = input_scale(sigma);
    const Tensor x = combine({{1.0, clean}, {sigma, noise}});
    const Tensor v = combine({{scale, noise}, {-sigma * scale, clean}});
    // x carries the picture with a unit in the last place of sigma's size.
    const double tolerance = 8 * 0x1p-24 * (sigma + 1);
    EXPECT_LE(largest_difference(to_denoised(Prediction::epsilon, x, noise, sigma), clean),
              tolerance)
        << sigma;
    EXPECT_LE(largest_difference(to_denoised(Prediction::v, x, v, sigma), clean), tolerance)
        << sigma;
    EXPECT_EQ(largest_difference(to_denoised(Prediction::sample, x, clean, sigma), clean), 0.0)
        << sigma;
  }
}

TEST(Prediction, NamesAreThoseOfConfigurations) {
  EXPECT_EQ(prediction_from_name("v_prediction"), Prediction::v);
  EXPECT_EQ(prediction_from_name("epsilon"), Prediction::epsilon);
  EXPECT_EQ(prediction_from_name("flow"), std::nullopt);
  for (Prediction prediction : {Prediction::epsilon, Prediction::v, Prediction::sample}) {
    EXPECT_EQ(prediction_from_name(to_string(prediction)), prediction);
  }
}

}  // namespace
}  // namespace velatura::diffusion

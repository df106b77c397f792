#include "diffusion/noise_source.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"

namespace velatura::diffusion {
namespace {

std::vector<float> values_of(const Tensor& tensor) {
  return {tensor.floats().begin(), tensor.floats().end()};
}

TEST(NoiseSource, APictureOfABatchIsThePictureMadeAlone) {
  constexpr std::uint64_t kSeed = 42;
  PictureNoise batch(kSeed, 3);
  const Shape shape{3, 4, 5, 3}, one{1, 4, 5, 3};
  const Tensor first = batch.draw(shape), second = batch.draw(shape);
  for (std::int64_t picture = 0; picture < 3; ++picture) {
    PictureNoise alone(kSeed + static_cast<std::uint64_t>(picture), 1);
    EXPECT_EQ(values_of(alone.draw(one)), values_of(first.slice(picture, picture + 1)));
    EXPECT_EQ(values_of(alone.draw(one)), values_of(second.slice(picture, picture + 1)));
  }
}

TEST(NoiseSource, OnePictureDrawsTheSameEitherWay) {
  PictureNoise picture(7, 1);
  BatchNoise batch(7);
  EXPECT_EQ(values_of(picture.draw({1, 4, 4, 4})), values_of(batch.draw({1, 4, 4, 4})));
}

TEST(NoiseSource, ADrawBetweenMovesOnlyItsPicture) {
  PictureNoise touched(1, 2), plain(1, 2);
  std::vector<float> extra(64);
  touched.generator(0).randn(extra);
  const Tensor a = touched.draw({2, 4, 4, 4}), b = plain.draw({2, 4, 4, 4});
  EXPECT_NE(values_of(a.slice(0, 1)), values_of(b.slice(0, 1)));
  EXPECT_EQ(values_of(a.slice(1, 2)), values_of(b.slice(1, 2)));
}

TEST(NoiseSource, RefusesAnotherNumberOfPictures) {
  PictureNoise noise(1, 2);
  EXPECT_THROW(noise.draw({3, 4, 4, 4}), Error);
}

}  // namespace
}  // namespace velatura::diffusion

#include "diffusion/guidance/classifier_free.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/error.h"
#include "diffusion/noise_source.h"

namespace velatura::diffusion::guidance {
namespace {

double deviation(const Tensor& tensor) {
  double mean = 0, squares = 0;
  for (float value : tensor.floats()) mean += value / static_cast<double>(tensor.count());
  for (float value : tensor.floats()) squares += (value - mean) * (value - mean);
  return std::sqrt(squares / static_cast<double>(tensor.count()));
}

class ClassifierFree : public ::testing::Test {
 protected:
  BatchNoise draws_{3};
  Tensor unconditional_ = draws_.draw({2, 4, 4, 4});
  Tensor conditional_ = draws_.draw({2, 4, 4, 4});
};

TEST_F(ClassifierFree, GoesPastTheConditionalByScale) {
  const Tensor guided = classifier_free(unconditional_, conditional_, 7.5);
  const Tensor all_conditional = classifier_free(unconditional_, conditional_, 1);
  const Tensor none_conditional = classifier_free(unconditional_, conditional_, 0);
  for (std::size_t i = 0; i < guided.floats().size(); ++i) {
    const float u = unconditional_.floats()[i], c = conditional_.floats()[i];
    EXPECT_NEAR(guided.floats()[i], u + 7.5 * (c - u), 1e-5);
    EXPECT_EQ(all_conditional.floats()[i], c);
    EXPECT_EQ(none_conditional.floats()[i], u);
  }
}

TEST_F(ClassifierFree, RescaleGivesEachPictureTheConditionalDeviation) {
  const Tensor guided = classifier_free(unconditional_, conditional_, 7.5);
  const Tensor whole = rescaled(guided, conditional_, 1.0),
               none = rescaled(guided, conditional_, 0.0);
  for (std::int64_t picture = 0; picture < 2; ++picture) {
    EXPECT_NEAR(deviation(whole.slice(picture, picture + 1)),
                deviation(conditional_.slice(picture, picture + 1)), 1e-5);
  }
  for (std::size_t i = 0; i < guided.floats().size(); ++i)
    EXPECT_EQ(none.floats()[i], guided.floats()[i]);
}

TEST_F(ClassifierFree, RefusesOtherShapesAndRanges) {
  EXPECT_THROW(rescaled(conditional_, conditional_, 1.5), Error);
  EXPECT_THROW(rescaled(conditional_, conditional_, std::nan("")), Error);
  EXPECT_THROW(rescaled(conditional_, conditional_.slice(0, 1), 0.5), Error);
  EXPECT_THROW(classifier_free(conditional_, conditional_.slice(0, 1), 2), Error);
}

TEST_F(ClassifierFree, AConstantOutputStays) {
  const Tensor constant = Tensor::zeros({2, 4, 4, 4}, DType::f32);
  const Tensor result = rescaled(constant, conditional_, 1.0);
  for (float value : result.floats()) EXPECT_EQ(value, 0.0f);
}

}  // namespace
}  // namespace velatura::diffusion::guidance

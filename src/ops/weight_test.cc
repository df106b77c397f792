#include "ops/weight.h"

#include <gtest/gtest.h>

namespace velatura::ops {
namespace {

TEST(Weight, MakesAFormOnceForEachKey) {
  const Weight weight(Tensor::zeros({2, 3}, DType::f32));
  int made = 0;
  const auto make = [&made]() -> std::shared_ptr<const void> {
    return std::make_shared<int>(++made);
  };
  const auto first = weight.form("a", make);
  EXPECT_EQ(weight.form("a", make), first);
  EXPECT_EQ(made, 1);
  EXPECT_NE(weight.form("b", make), first);
  EXPECT_EQ(made, 2);
}

TEST(Weight, AFormThatCannotBeMadeMayBeTriedAgain) {
  const Weight weight(Tensor::zeros({1}, DType::f32));
  EXPECT_THROW(weight.form("a", []() -> std::shared_ptr<const void> { throw 1; }), int);
  EXPECT_NE(weight.form("a", [] { return std::make_shared<int>(1); }), nullptr);
}

}  // namespace
}  // namespace velatura::ops

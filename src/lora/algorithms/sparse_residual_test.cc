#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/adapter_module.h"

namespace velatura::lora {
namespace {

using testing::AdapterModule;
using testing::cuts_like_dense;
using ::testing::HasSubstr;
using testing::Matrix;
using testing::relative_error;
using testing::uniform_tensor;

template <typename Integer>
Tensor integers(const std::vector<std::int64_t>& values, const Shape& shape, DType type) {
  Tensor tensor = Tensor::allocate(shape, type);
  std::ranges::transform(values, tensor.mutable_data<Integer>(),
                         [](std::int64_t value) { return static_cast<Integer>(value); });
  return tensor;
}
Tensor shorts(const std::vector<std::int64_t>& values, const Shape& shape) {
  return integers<std::int16_t>(values, shape, DType::i16);
}

const std::vector<std::int64_t> kRows = {0, 3, 7, 3, 5}, kColumns = {5, 0, 2, 0, 1};

AdapterModule& add_residual(AdapterModule& module, std::int64_t rows = 8, std::int64_t columns = 6,
                            std::vector<std::int64_t> at = {}) {
  if (at.empty()) {
    at = kRows;
    at.insert(at.end(), kColumns.begin(), kColumns.end());
  }
  return module.add("bias_indices", shorts(at, {2, static_cast<std::int64_t>(at.size()) / 2}))
      .add("bias_values", uniform_tensor({5}, DType::f16, 4))
      .add("bias_size", shorts({rows, columns}, {2}));
}

Matrix residual() {
  const Matrix values = Matrix::of(uniform_tensor({5}, DType::f16, 4));
  Matrix dense(8, 6);
  for (std::size_t i = 0; i < kRows.size(); ++i)
    dense(kRows[i], kColumns[i]) += values(static_cast<std::int64_t>(i), 0);
  return dense;
}

TEST(SparseResidual, AloneIsItsElementsAndThoseAtOnePlaceAdd) {
  for (const Shape& weight : {Shape{8, 6}, Shape{8, 2, 1, 3}}) {
    AdapterModule module(weight);
    add_residual(module);
    EXPECT_LT(relative_error(module.change(-0.5F), -0.5 * residual()), 1e-6);
    EXPECT_TRUE(cuts_like_dense(module, {{3, 6}}));
    EXPECT_TRUE(cuts_like_dense(module, {{4, 8}, {0, 4}}));
    EXPECT_EQ(module.make().algorithm, "sparse residual");
  }
}

TEST(SparseResidual, AddsToAPairUnscaled) {
  const Tensor down = uniform_tensor({2, 6}, DType::f32, 2),
               up = uniform_tensor({8, 2}, DType::f32, 3);
  AdapterModule module({8, 6});
  add_residual(module.add("lora_down.weight", down).add("lora_up.weight", up).add("alpha", 1.0F));
  const MadeDelta made = module.make();
  EXPECT_EQ(made.delta->thin(), nullptr) << "the pair is not all of the change";
  EXPECT_LT(relative_error(module.change(2),
                           2.0 * (0.5 * (Matrix::of(up) * Matrix::of(down)) + residual())),
            1e-6);
}

TEST(SparseResidual, IndicesOfAnyType) {
  std::vector<std::int64_t> at = kRows;
  at.insert(at.end(), kColumns.begin(), kColumns.end());
  Tensor floats = Tensor::allocate({2, 5}, DType::f32);
  std::ranges::copy(at, floats.mutable_data<float>());
  const auto module = [&](Tensor indices) {
    return AdapterModule({8, 6})
        .add("bias_indices", std::move(indices))
        .add("bias_values", uniform_tensor({5}, DType::f16, 4))
        .add("bias_size", shorts({8, 6}, {2}));
  };
  for (const Tensor& indices : {integers<std::int64_t>(at, {2, 5}, DType::i64),
                                integers<std::int32_t>(at, {2, 5}, DType::i32), floats})
    EXPECT_LT(relative_error(module(indices).change(1), residual()), 1e-6);
  floats.mutable_floats()[0] = 0.5F;
  EXPECT_EQ(module(floats).error().first, ErrorKind::bad_file);
}

TEST(SparseResidual, EveryIndexIsChecked) {
  const auto error_of = [](std::vector<std::int64_t> at, std::int64_t rows = 8,
                           std::int64_t columns = 6) {
    AdapterModule module({8, 6});
    return add_residual(module, rows, columns, std::move(at)).error();
  };
  EXPECT_THAT(error_of({0, 3, 8, 3, 5, 5, 0, 2, 0, 1}).second, HasSubstr("[8, 2]"));
  EXPECT_EQ(error_of({0, 3, 7, 3, 5, 5, 0, 6, 0, 1}).first, ErrorKind::bad_file);
  EXPECT_EQ(error_of({0, 3, -1, 3, 5, 5, 0, 2, 0, 1}).first, ErrorKind::bad_file);
  EXPECT_EQ(error_of({0, 3, 7, 5, 0, 2}).first, ErrorKind::mismatch) << "fewer indices than values";
  EXPECT_EQ(error_of({}, 8, 7).first, ErrorKind::mismatch);
  EXPECT_EQ(error_of({}, -8, 6).first, ErrorKind::mismatch);
  EXPECT_EQ(error_of(std::vector<std::int64_t>(1000)).first, ErrorKind::bad_file)
      << "more than the weight has";
}

TEST(SparseResidual, MatricesTooWideForItsIndicesAreNamed) {
  AdapterModule module({1, 40000});
  add_residual(module, 1, static_cast<std::int16_t>(40000 - 65536));
  EXPECT_THAT(module.error().second, HasSubstr("16-bit"));
}

}  // namespace
}  // namespace velatura::lora

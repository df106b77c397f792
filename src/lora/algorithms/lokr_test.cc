#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "tests/support/adapter_module.h"

namespace velatura::lora {
namespace {

using testing::AdapterModule;
using ::testing::AllOf;
using testing::cuts_like_dense;
using ::testing::HasSubstr;
using testing::Matrix;
using testing::relative_error;
using testing::uniform_tensor;

constexpr double kClose = 1e-6;

/// (w1 ⊗ w2)[o1·out2 + o2, i1·in2 + i2] = w1[o1,i1] · w2[o2,i2].
Matrix kronecker(const Matrix& w1, const Matrix& w2) {
  return Matrix::generate(
      w1.rows() * w2.rows(), w1.columns() * w2.columns(), [&](std::int64_t r, std::int64_t c) {
        return w1(r / w2.rows(), c / w2.columns()) * w2(r % w2.rows(), c % w2.columns());
      });
}

/// One factor of a module: its tensors by suffix, and what they stand for.
struct Factor {
  std::vector<std::pair<std::string, Tensor>> tensors;
  Matrix matrix;
};

Factor whole(const std::string& name, const Shape& shape, std::uint64_t seed) {
  const Tensor values = uniform_tensor(shape, DType::f16, seed);
  return {{{"lokr_" + name, values}}, values.count() > 0 ? Matrix::of(values) : Matrix(0, 0)};
}

Factor factored(const std::string& name, std::int64_t rows, const Shape& down_shape,
                std::uint64_t seed) {
  const Tensor up = uniform_tensor({rows, down_shape[0]}, DType::f16, seed),
               down = uniform_tensor(down_shape, DType::f16, seed + 1);
  return {{{"lokr_" + name + "_a", up}, {"lokr_" + name + "_b", down}},
          Matrix::of(up) * Matrix::of(down)};
}

/// w[o, (i,y,x)] = Σ_{p,q} t[p,q,y,x] · a[p,o] · b[q,i].
Factor through_core(const std::string& name, const std::string& core_name, const Shape& core_shape,
                    std::int64_t rows, std::int64_t columns, std::uint64_t seed) {
  const Tensor core = uniform_tensor(core_shape, DType::f16, seed),
               a = uniform_tensor({core_shape[0], rows}, DType::f16, seed + 1),
               b = uniform_tensor({core_shape[1], columns}, DType::f16, seed + 2);
  const Matrix t = Matrix::of(core), wa = Matrix::of(a), wb = Matrix::of(b);
  const std::int64_t kernel = core_shape[2] * core_shape[3];
  return {{{"lokr_" + name + "_a", a}, {"lokr_" + name + "_b", b}, {"lokr_" + core_name, core}},
          Matrix::generate(rows, columns * kernel, [&](std::int64_t o, std::int64_t c) {
            double sum = 0;
            for (std::int64_t p = 0; p < t.rows(); ++p) {
              for (std::int64_t q = 0; q < wb.rows(); ++q)
                sum += t(p, q * kernel + c % kernel) * wa(p, o) * wb(q, c / kernel);
            }
            return sum;
          })};
}

AdapterModule module_of(const Shape& weight, const Factor& w1, const Factor& w2) {
  AdapterModule module(weight);
  for (const Factor* factor : {&w1, &w2}) {
    for (const auto& [suffix, tensor] : factor->tensors) module.add(suffix, tensor);
  }
  return module;
}

struct Case {
  Shape weight;
  Factor w1, w2;
  double scale;  ///< with α = 9
  std::int64_t rank;
};

std::vector<Case> all_cases() {
  const Shape linear{12, 20}, conv{12, 20, 3, 3};
  return {
      {linear, whole("w1", {3, 4}, 1), whole("w2", {4, 5}, 2), 1, 0},
      {linear, factored("w1", 3, {2, 4}, 1), whole("w2", {4, 5}, 3), 9.0 / 2, 2},
      {linear, whole("w1", {3, 4}, 1), factored("w2", 4, {3, 5}, 2), 9.0 / 3, 3},
      {linear, factored("w1", 3, {2, 4}, 1), factored("w2", 4, {3, 5}, 3), 9.0 / 3, 3},
      {linear, whole("w1", {3, 4}, 1), factored("w2", 4, {1, 5}, 2), 9.0, 1},
      {conv, whole("w1", {3, 4}, 1), whole("w2", {4, 5, 3, 3}, 2), 1, 0},
      {conv, whole("w1", {3, 4, 1, 1}, 1), whole("w2", {4, 5, 3, 3}, 2), 1, 0},
      {conv, whole("w1", {3, 4}, 1), factored("w2", 4, {3, 45}, 2), 3, 3},
      {conv, whole("w1", {3, 4}, 1), factored("w2", 4, {3, 5, 3, 3}, 2), 3, 3},
      {conv, whole("w1", {3, 4}, 1), through_core("w2", "t2", {3, 2, 3, 3}, 4, 5, 2), 9.0 / 2, 2},
      {conv, factored("w1", 3, {2, 4}, 1), through_core("w2", "t2", {3, 3, 3, 3}, 4, 5, 3), 3, 3},
      {conv, through_core("w1", "t1", {2, 2, 1, 1}, 3, 4, 1), factored("w2", 4, {3, 45}, 4), 3, 3},
      {linear, through_core("w1", "t1", {2, 2, 1, 1}, 3, 4, 1), whole("w2", {4, 5}, 4), 9.0 / 2, 2},
      // The first generation: the kernel's height in w1, its width in w2.
      {conv, factored("w1", 3, {4, 12}, 1), factored("w2", 4, {4, 15}, 3), 9.0 / 4, 4},
      {conv, whole("w1", {3, 12}, 1), whole("w2", {4, 15}, 3), 1, 0},
  };
}

TEST(Lokr, IsTheKroneckerProductInEveryGeneration) {
  int index = 0;
  for (const Case& test : all_cases()) {
    SCOPED_TRACE(index++);
    const auto module = module_of(test.weight, test.w1, test.w2).add("alpha", 9.0F);
    const MadeDelta made = module.make();
    EXPECT_EQ(made.algorithm, "LoKr");
    EXPECT_TRUE(made.unused.empty());
    EXPECT_EQ(made.delta->rank(), test.rank);
    EXPECT_TRUE(made.delta->is_linear());
    const Matrix delta = test.scale * kronecker(test.w1.matrix, test.w2.matrix);
    for (const float strength : {1.0F, -0.5F})
      EXPECT_LT(relative_error(module.change(strength), static_cast<double>(strength) * delta),
                kClose);
  }
}

TEST(Lokr, WithoutAlphaTheScaleIsOne) {
  const Case test = all_cases()[2];
  EXPECT_LT(relative_error(module_of(test.weight, test.w1, test.w2).change(1),
                           kronecker(test.w1.matrix, test.w2.matrix)),
            kClose);
}

TEST(Lokr, StoredScaleAndScalarCountForWholeFactors) {
  const Case test = all_cases()[0];
  const auto module =
      module_of(test.weight, test.w1, test.w2).add("alpha", 9.0F).add("scalar", 2.0F);
  EXPECT_LT(relative_error(module.change(1), 2.0 * kronecker(test.w1.matrix, test.w2.matrix)),
            kClose);
}

TEST(Lokr, LiveFormHoldsBothFactorsSmall) {
  for (const Case& test : all_cases()) {
    const MadeDelta made = module_of(test.weight, test.w1, test.w2).add("alpha", 9.0F).make();
    const KroneckerFactors* live = made.delta->kronecker();
    ASSERT_EQ(live != nullptr, test.weight[1] % test.w1.matrix.columns() == 0)
        << "w1 holds channels alone";
    if (!live) continue;
    EXPECT_EQ(live->w2->shape().rank(), test.weight.rank()) << "a convolution's holds the kernel";
    EXPECT_LT(relative_error(live->w1->original(), test.w1.matrix), kClose);
    const Tensor w2 = live->w2->original();
    EXPECT_LT(relative_error(w2.reshaped({w2.size(0), w2.count() / w2.size(0)}), test.w2.matrix),
              kClose);
    EXPECT_NEAR(live->scale, test.scale, 1e-6);
  }
}

TEST(Lokr, IsCutAtBlockRowsAndInsideOne) {
  for (const Case& test : all_cases()) {
    const auto module = module_of(test.weight, test.w1, test.w2).add("alpha", 9.0F);
    const std::vector<std::vector<RowRange>> cuts = {{{0, 4}}, {{4, 12}}, {{8, 12}, {0, 4}},
                                                     {{5, 7}}, {{4, 6}},  {{6, 8}}};
    for (const std::vector<RowRange>& rows : cuts) EXPECT_TRUE(cuts_like_dense(module, rows));
    const MadeDelta made = module.make();
    EXPECT_EQ(made.delta->rows(std::vector<RowRange>{{3, 6}}), nullptr) << "over a boundary";
    EXPECT_EQ(made.delta->rows(std::vector<RowRange>{{4, 8}, {1, 2}}), nullptr);
    const auto piece =
        cut(std::shared_ptr<const ModuleDelta>(module.make().delta), std::vector<RowRange>{{3, 6}});
    EXPECT_EQ(piece->kronecker(), nullptr);
    EXPECT_TRUE(
        testing::bit_identical(piece->weight_change(testing::no_base, 1, 0),
                               gather_rows(module.change(1), std::vector<RowRange>{{3, 6}})));
  }
}

TEST(Lokr, AlphaThatMayHaveBeenMeantIsSaid) {
  const Case test = all_cases()[0];
  const auto remark = [&](const std::string& dim, const std::string& alpha) {
    return module_of(test.weight, test.w1, test.w2)
        .add("alpha", 1.0F)
        .metadata("ss_network_dim", dim)
        .metadata("ss_network_alpha", alpha)
        .make()
        .delta->remark();
  };
  EXPECT_THAT(remark("32", "1"), AllOf(HasSubstr("α is ignored"), HasSubstr("0.03125")));
  EXPECT_THAT(remark("32", "1.0"), HasSubstr("0.03125"));
  EXPECT_EQ(remark("1", "1"), "") << "no difference";
  EXPECT_EQ(remark("32", "16"), "") << "the stored α is another";
  EXPECT_EQ(remark("Dynamic", "1"), "");
  EXPECT_EQ(remark("0", "1"), "");
}

TEST(Lokr, RowsAndColumnsMustBothFit) {
  const auto error_of = [](const Shape& weight, const Factor& w1, const Factor& w2) {
    return module_of(weight, w1, w2).error();
  };
  const auto [kind, message] = error_of({12, 20}, whole("w1", {4, 3}, 1), whole("w2", {5, 4}, 2));
  EXPECT_EQ(kind, ErrorKind::mismatch) << "the element count alone fits";
  EXPECT_THAT(message, AllOf(HasSubstr("[4, 3]"), HasSubstr("[5, 4]"), HasSubstr("[12, 20]")));
  EXPECT_EQ(error_of({12, 20}, whole("w1", {3, 0}, 1), whole("w2", {4, 5}, 2)).first,
            ErrorKind::mismatch);
  EXPECT_EQ(error_of({12, 20}, whole("w1", {0, 4}, 1), whole("w2", {4, 5}, 2)).first,
            ErrorKind::mismatch);
  EXPECT_EQ(error_of({12}, whole("w1", {3, 1}, 1), whole("w2", {4, 1}, 2)).first,
            ErrorKind::mismatch);
}

TEST(Lokr, FactorsMustAgreeAmongThemselves) {
  const Factor w1 = whole("w1", {3, 4}, 1);
  const auto refused = [&](const std::vector<std::pair<std::string, Shape>>& w2) {
    Factor factor{{}, Matrix(0, 0)};
    for (const auto& [suffix, shape] : w2)
      factor.tensors.emplace_back("lokr_" + suffix, uniform_tensor(shape, DType::f32, 1));
    const ErrorKind kind = module_of({12, 20, 3, 3}, w1, factor).error().first;
    return kind == ErrorKind::mismatch;
  };
  EXPECT_TRUE(refused({{"w2_a", {4, 3}}, {"w2_b", {2, 45}}}));
  EXPECT_TRUE(refused({{"w2_a", {4, 0}}, {"w2_b", {0, 45}}}));
  EXPECT_TRUE(refused({{"w2_a", {4}}, {"w2_b", {45}}}));
  EXPECT_TRUE(refused({{"w2_a", {}}, {"w2_b", {}}}));
  EXPECT_TRUE(refused({{"w2_a", {2, 4}}, {"w2_b", {2, 5}}, {"t2", {2, 2, 9}}}));
  EXPECT_TRUE(refused({{"w2_a", {2, 4}}, {"w2_b", {2, 5}}, {"t2", {2, 2, 3, 0}}}));
  EXPECT_TRUE(refused({{"w2_a", {2, 4}}, {"w2_b", {2, 5}}, {"t2", {3, 2, 3, 3}}}));
  EXPECT_TRUE(refused({{"w2_a", {2, 4}}, {"w2_b", {2, 5}}, {"t2", {2, 2, 5, 5}}}));
}

TEST(Lokr, FactorsThatClaimMoreThanTheLayerAreRefusedBeforeTheyAreMultiplied) {
  // Of a megabyte each, their product would take a terabyte.
  constexpr std::int64_t kHuge = 500'000;
  const Factor w2{{{"lokr_w2_a", uniform_tensor({kHuge, 1}, DType::f16, 1)},
                   {"lokr_w2_b", uniform_tensor({1, kHuge}, DType::f16, 2)}},
                  Matrix(0, 0)};
  EXPECT_EQ(module_of({12, 20}, whole("w1", {3, 4}, 1), w2).error().first, ErrorKind::mismatch);
}

TEST(Lokr, ZerosInEitherFactorAreNoChange) {
  const Case test = all_cases()[2];
  const Factor dead{{{"lokr_w2_a", Tensor::zeros({4, 3}, DType::f16)},
                     {"lokr_w2_b", uniform_tensor({3, 5}, DType::f16, 2)}},
                    Matrix(0, 0)};
  EXPECT_TRUE(module_of(test.weight, test.w1, dead).make().delta->is_zero());
  EXPECT_FALSE(module_of(test.weight, test.w1, test.w2).make().delta->is_zero());
  EXPECT_TRUE(module_of(test.weight, test.w1, test.w2).add("alpha", 0.0F).make().delta->is_zero());
}

}  // namespace
}  // namespace velatura::lora

// Fits against matrices made from singular values that are known: the least error of any rank is
// then known too.
#include "lora/tools/low_rank_fit.h"

#include <gtest/gtest.h>
#include <omp.h>

#include <algorithm>
#include <cmath>
#include <random>

#include "lora/algorithms/matrix.h"

namespace velatura::lora::tools {
namespace {

/// [count, width] with orthonormal rows: Gram and Schmidt, twice.
std::vector<std::vector<double>> orthonormal_rows(std::int64_t count, std::int64_t width,
                                                  unsigned seed) {
  std::mt19937 generator(seed);
  std::normal_distribution<double> normal;
  std::vector<std::vector<double>> rows;
  for (std::int64_t k = 0; k < count; ++k) {
    std::vector<double> row(static_cast<std::size_t>(width));
    for (double& value : row) value = normal(generator);
    for (int pass = 0; pass < 2; ++pass) {
      for (const auto& other : rows) {
        double dot = 0;
        for (std::size_t i = 0; i < row.size(); ++i) dot += row[i] * other[i];
        for (std::size_t i = 0; i < row.size(); ++i) row[i] -= dot * other[i];
      }
    }
    double norm = 0;
    for (const double value : row) norm += value * value;
    for (double& value : row) value /= std::sqrt(norm);
    rows.push_back(std::move(row));
  }
  return rows;
}

Tensor matrix_of(const std::vector<double>& singular, std::int64_t rows, std::int64_t columns,
                 unsigned seed = 3) {
  const auto count = static_cast<std::int64_t>(singular.size());
  const auto u = orthonormal_rows(count, rows, seed), v = orthonormal_rows(count, columns, ~seed);
  std::vector<double> sums(static_cast<std::size_t>(rows * columns));
  for (std::size_t k = 0; k < singular.size(); ++k) {
    for (std::size_t r = 0; r < u[k].size(); ++r) {
      for (std::size_t c = 0; c < v[k].size(); ++c)
        sums[r * v[k].size() + c] += singular[k] * u[k][r] * v[k][c];
    }
  }
  Tensor matrix = Tensor::allocate({rows, columns}, DType::f32);
  std::ranges::transform(sums, matrix.mutable_data<float>(),
                         [](double value) { return static_cast<float>(value); });
  return matrix;
}

double norm_of(std::span<const double> values) {
  double sum = 0;
  for (const double value : values) sum += value * value;
  return std::sqrt(sum);
}

/// ‖matrix − up·down‖
double error_of(const Tensor& matrix, const LowRankFit& fit) {
  const Tensor fitted = product(fit.up, fit.down);
  EXPECT_EQ(fitted.shape(), matrix.shape());
  double sum = 0;
  for (std::int64_t i = 0; i < matrix.count(); ++i) {
    const double difference = matrix.data<float>()[i] - fitted.data<float>()[i];
    sum += difference * difference;
  }
  return std::sqrt(sum);
}

/// Singular values that fall as `power` of their number.
std::vector<double> decaying(std::int64_t count, double power) {
  std::vector<double> values;
  for (std::int64_t k = 1; k <= count; ++k)
    values.push_back(std::pow(static_cast<double>(k), power));
  return values;
}

void expect_near_best(const Tensor& matrix, const std::vector<double>& singular, std::int64_t rank,
                      double excess) {
  const LowRankFit fit = fit_low_rank(matrix, rank);
  ASSERT_EQ(fit.down.size(0), rank);
  const auto kept = static_cast<std::size_t>(rank);
  const double best = norm_of(std::span(singular).subspan(kept)), all = norm_of(singular);
  EXPECT_LE(error_of(matrix, fit), best * (1 + excess));
  EXPECT_NEAR(fit.energy, 1 - best * best / (all * all), 2e-3);
}

constexpr std::int64_t kLong = 300, kShort = 120;

TEST(LowRankFit, NearlyTheBestOneWhereTheSpectrumDecays) {
  for (const double power : {-0.5, -1.0, -2.0}) {
    const std::vector<double> singular = decaying(kShort, power);
    for (const std::int64_t rank : {1, 4, 16, 64}) {
      SCOPED_TRACE(::testing::Message() << "power " << power << ", rank " << rank);
      expect_near_best(matrix_of(singular, kLong, kShort), singular, rank, 5e-3);
      expect_near_best(matrix_of(singular, kShort, kLong), singular, rank, 5e-3);
    }
  }
}

TEST(LowRankFit, TheBestOneWhereTheMatrixIsSmall) {
  const std::vector<double> singular = decaying(20, -1.0);
  expect_near_best(matrix_of(singular, 20, kLong), singular, 5, 1e-5);
  expect_near_best(matrix_of(singular, kLong, 20), singular, 5, 1e-5);
}

TEST(LowRankFit, ExactWhereTheRankSuffices) {
  const std::vector<double> singular = {3, 2, 1, 1, 0.5};
  for (const std::int64_t rank : {5, 8}) {
    const Tensor matrix = matrix_of(singular, kLong, kShort);
    const LowRankFit fit = fit_low_rank(matrix, rank);
    EXPECT_LE(error_of(matrix, fit), 1e-5 * norm_of(singular));
    EXPECT_NEAR(fit.energy, 1, 1e-6);
  }
}

TEST(LowRankFit, RankIsCutAtTheSmallerSideAndZeroStaysZero) {
  const Tensor matrix = matrix_of({2, 1}, 3, 7);
  EXPECT_EQ(fit_low_rank(matrix, 9).down.shape(), Shape({3, 7}));
  const Tensor zeros = Tensor::zeros({kLong, kShort}, DType::f32);
  EXPECT_EQ(error_of(zeros, fit_low_rank(zeros, 4)), 0);
}

TEST(LowRankFit, SameBitsWithAnyNumberOfThreads) {
  const Tensor matrix = matrix_of(decaying(kShort, -1), kLong, kShort);
  const int threads = omp_get_max_threads();
  omp_set_num_threads(1);
  const LowRankFit one = fit_low_rank(matrix, 8);
  omp_set_num_threads(3);
  const LowRankFit three = fit_low_rank(matrix, 8);
  omp_set_num_threads(threads);
  EXPECT_TRUE(std::ranges::equal(one.up.floats(), three.up.floats()));
  EXPECT_TRUE(std::ranges::equal(one.down.floats(), three.down.floats()));
}

std::shared_ptr<const ops::Weight> weight(Tensor tensor) {
  return std::make_shared<const ops::Weight>(std::move(tensor));
}

/// Its factors alone: making the whole change is a mistake here.
struct FactoredDelta : ModuleDelta {
  Tensor weight_change(const Pristine&, float, std::int64_t) const override {
    ADD_FAILURE() << "the whole change was made";
    return {};
  }
  const ThinFactors* thin() const override { return pair.up ? &pair : nullptr; }
  const KroneckerFactors* kronecker() const override { return product.w1 ? &product : nullptr; }
  ThinFactors pair;
  KroneckerFactors product;
};

Tensor kronecker_product(const Tensor& w1, const Tensor& w2, float scale) {
  const std::int64_t rows = w1.size(0) * w2.size(0), columns = w1.size(1) * w2.size(1);
  Tensor whole = Tensor::allocate({rows, columns}, DType::f32);
  for (std::int64_t r = 0; r < rows; ++r) {
    for (std::int64_t c = 0; c < columns; ++c) {
      whole.mutable_data<float>()[r * columns + c] =
          scale * w1.data<float>()[r / w2.size(0) * w1.size(1) + c / w2.size(1)] *
          w2.data<float>()[r % w2.size(0) * w2.size(1) + c % w2.size(1)];
    }
  }
  return whole;
}

TEST(LowRankFit, KroneckerProductThroughItsFactors) {
  const std::vector<double> first = {2, 1, 0.5, 0.1}, second = decaying(30, -1.0);
  std::vector<double> singular;
  for (const double a : first) {
    for (const double b : second) singular.push_back(1.5 * a * b);
  }
  std::ranges::sort(singular, std::ranges::greater());
  const Tensor w1 = matrix_of(first, 8, 4), w2 = matrix_of(second, 30, 40);
  FactoredDelta delta;
  delta.product = {.w1 = weight(w1), .w2 = weight(w2), .scale = -1.5F};
  const Tensor whole = kronecker_product(w1, w2, -1.5F);
  for (const std::size_t rank : {1, 7, 13}) {
    const LowRankFit fit = fit_low_rank(delta, {}, static_cast<std::int64_t>(rank));
    const double best = norm_of(std::span(singular).subspan(rank)), all = norm_of(singular);
    EXPECT_NEAR(error_of(whole, fit), best, 2e-5 * all) << rank;
    EXPECT_NEAR(fit.energy, 1 - best * best / (all * all), 1e-5) << rank;
  }
  // Of factors of a convolution the kernel's columns are columns.
  delta.product.w2 = weight(w2.reshaped({30, 10, 2, 2}));
  EXPECT_NEAR(error_of(whole, fit_low_rank(delta, {}, 120)), 0, 2e-5 * norm_of(singular));
}

TEST(LowRankFit, PairThroughItsFactors) {
  const std::vector<double> singular = decaying(12, -1.0);
  const Tensor up = matrix_of(singular, 90, 12), down = matrix_of(std::vector(12, 1.0), 12, 70, 5);
  FactoredDelta delta;
  delta.pair = {.down = weight(down), .up = weight(up), .scale = -2};
  const LowRankFit fit = fit_low_rank(delta, {}, 4);
  const Tensor whole = product(scaled(up, -2), down);
  EXPECT_NEAR(error_of(whole, fit), 2 * norm_of(std::span(singular).subspan(4)), 1e-5);
}

TEST(LowRankFit, ManyAreFittedInTheirOrderAndCanBeStopped) {
  const auto pair = std::make_shared<FactoredDelta>();
  pair->pair = {.down = weight(matrix_of({1, 1}, 2, 9)), .up = weight(matrix_of({1, 1}, 8, 2))};
  const auto kronecker = std::make_shared<FactoredDelta>();
  kronecker->product = {.w1 = weight(matrix_of({1}, 2, 3)), .w2 = weight(matrix_of({1}, 5, 4))};
  const BoundModule first{.target = {}, .delta = pair, .placement = nullptr};
  const BoundModule second{.target = {}, .delta = kronecker, .placement = nullptr};
  const std::vector<const BoundModule*> modules = {&first, &second, &first};
  std::size_t reported = 0;
  StopSource source;
  const Watch watch{.stop = source.get_token(),
                    .on_progress = [&](std::size_t, std::size_t total) { reported = total; }};
  const std::vector<LowRankFit> fits = fit_low_rank(modules, {}, 2, watch);
  ASSERT_EQ(fits.size(), 3U);
  EXPECT_EQ(fits[1].up.shape(), Shape({10, 2}));
  EXPECT_EQ(fits[2].up.shape(), Shape({8, 2}));
  EXPECT_TRUE(reported == 0 || reported == 3);  // other threads may have taken all
  source.request_stop();
  EXPECT_THROW(fit_low_rank(modules, {}, 2, watch), Error);
}

}  // namespace
}  // namespace velatura::lora::tools

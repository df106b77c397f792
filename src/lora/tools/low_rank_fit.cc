#include "lora/tools/low_rank_fit.h"

// Threads are the products' of lora/algorithms alone, where their number changes no bit.
#define EIGEN_DONT_PARALLELIZE
#include <omp.h>

#include <Eigen/Dense>
#include <algorithm>
#include <atomic>
#include <cmath>
#include <exception>
#include <mutex>
#include <random>

#include "lora/algorithms/matrix.h"
#include "lora/bind/component.h"

namespace velatura::lora::tools {

namespace {

using Matrix = Eigen::MatrixXf;
/// A row-major tensor [rows, columns] is in memory the column-major matrix [columns, rows].
using TransposedView = Eigen::Map<const Matrix>;

constexpr int kPowerIterations = 3;

/// Vectors of the subspace: half as many again, so that slow decay behind a high rank is seen too.
std::int64_t subspace_width(std::int64_t rank) {
  constexpr std::int64_t kLeastBeyond = 16;
  return rank + std::max(kLeastBeyond, rank / 2);
}

/// u · diag(s) · vᵀ, the largest values first.
struct Svd {
  Matrix u;            ///< [rows, n]
  Eigen::VectorXd s;   ///< [n]
  Matrix v;            ///< [columns, n]
  double squares = 0;  ///< of the whole matrix
  std::int64_t rank() const { return s.size(); }
};

TransposedView transposed_view(const Tensor& matrix) {
  return {matrix.data<float>(), matrix.size(1), matrix.size(0)};
}

double sum_of_squares(const Tensor& matrix) {
  return Eigen::Map<const Eigen::VectorXf>(matrix.data<float>(), matrix.count())
      .cast<double>()
      .squaredNorm();
}

/// In double: the matrices are small, and what is lost here is lost in every module.
Svd decompose_square(const Matrix& matrix) {
  const Eigen::BDCSVD<Eigen::MatrixXd> svd(matrix.cast<double>(),
                                           Eigen::ComputeThinU | Eigen::ComputeThinV);
  return {.u = svd.matrixU().cast<float>(),
          .s = svd.singularValues(),
          .v = svd.matrixV().cast<float>()};
}

struct Qr {
  explicit Qr(const Eigen::Ref<const Matrix>& tall) : householder(tall) {}
  Matrix triangle() const {
    const Eigen::Index n = householder.matrixQR().cols();
    return householder.matrixQR().topRows(n).triangularView<Eigen::Upper>();
  }
  /// Q · `small`, [rows, columns of small]
  Matrix expand(const Matrix& small) const {
    Matrix result = Matrix::Zero(householder.matrixQR().rows(), small.cols());
    result.topRows(small.rows()) = small;
    result.applyOnTheLeft(householder.householderQ());
    return result;
  }
  Eigen::HouseholderQR<Matrix> householder;
};

/// Of a matrix with no more columns than rows.
Svd decompose_tall(const Eigen::Ref<const Matrix>& tall) {
  const Qr qr(tall);
  Svd svd = decompose_square(qr.triangle());
  svd.u = qr.expand(svd.u);
  return svd;
}

/// [n, columns] with orthonormal rows that span those of `rows`, n ≤ columns.
Tensor orthonormal(const Tensor& rows) {
  const Qr qr(transposed_view(rows));
  Tensor result = Tensor::allocate({rows.size(0), rows.size(1)}, DType::f32);
  Eigen::Map<Matrix>(result.mutable_data<float>(), rows.size(1), rows.size(0)) =
      qr.expand(Matrix::Identity(rows.size(0), rows.size(0)));
  return result;
}

Svd decompose_subspace(const Tensor& matrix, std::int64_t width, const StopToken& stop) {
  Tensor basis = Tensor::allocate({width, matrix.size(1)}, DType::f32);
  std::mt19937 generator(1);
  std::normal_distribution<float> normal;
  std::generate_n(basis.mutable_data<float>(), basis.count(), [&] { return normal(generator); });
  Tensor range, seen;
  for (int iteration = 0;; ++iteration) {
    throw_if_stopped(stop);
    range = orthonormal(transposed(product(matrix, transposed(basis))));
    seen = product(range, matrix);
    if (iteration == kPowerIterations) break;
    basis = orthonormal(seen);
  }
  // matrix ≈ rangeᵀ · seen, and seenᵀ = u · s · vᵀ.
  Svd svd = decompose_tall(transposed_view(seen));
  std::swap(svd.u, svd.v);
  svd.u = transposed_view(range) * svd.u;
  return svd;
}

Svd decompose(const Tensor& matrix, std::int64_t rank, const StopToken& stop) {
  const std::int64_t rows = matrix.size(0), columns = matrix.size(1);
  const std::int64_t side = std::min(rows, columns);
  Svd svd;
  if (subspace_width(rank) < side) {
    svd = decompose_subspace(matrix, subspace_width(rank), stop);
  } else if (rows <= columns) {
    svd = decompose_tall(transposed_view(matrix));
    std::swap(svd.u, svd.v);
  } else {
    svd = decompose_tall(transposed_view(matrix).transpose());
  }
  svd.squares = sum_of_squares(matrix);
  return svd;
}

/// Of scale · up · down, [rows, r] and [r, columns] with r ≤ rows and columns.
Svd decompose_pair(const Tensor& up, const Tensor& down, double scale) {
  const Qr left(transposed_view(up).transpose()), right(transposed_view(down));
  const Svd inner = decompose_square(left.triangle() * right.triangle().transpose());
  Svd svd{.u = left.expand(inner.u) * std::copysign(1.0F, static_cast<float>(scale)),
          .s = inner.s * std::abs(scale),
          .v = right.expand(inner.v)};
  svd.squares = svd.s.squaredNorm();
  return svd;
}

/// (u₁ ⊗ u₂) · (s₁ ⊗ s₂) · (v₁ ⊗ v₂)ᵀ, of which the largest values are looked up.
Svd decompose_kronecker(const KroneckerFactors& factors, std::int64_t rank, const StopToken& stop) {
  const Svd first = decompose(to_f32(factors.w1->original()), rank, stop);
  const Svd second = decompose(flattened(to_f32(factors.w2->original())), rank, stop);
  struct Value {
    double s;
    Eigen::Index i, j;
  };
  std::vector<Value> values;
  for (Eigen::Index i = 0; i < first.s.size(); ++i) {
    for (Eigen::Index j = 0; j < second.s.size(); ++j)
      values.push_back({first.s[i] * second.s[j], i, j});
  }
  std::ranges::stable_sort(values, std::ranges::greater(), &Value::s);
  const auto count = std::min<Eigen::Index>(rank, static_cast<Eigen::Index>(values.size()));
  Svd svd{.u = Matrix(first.u.rows() * second.u.rows(), count),
          .s = Eigen::VectorXd(count),
          .v = Matrix(first.v.rows() * second.v.rows(), count)};
  const auto fill = [](Matrix& to, Eigen::Index k, const auto& outer, const auto& inner) {
    for (Eigen::Index block = 0; block < outer.size(); ++block)
      to.col(k).segment(block * inner.size(), inner.size()) = outer[block] * inner;
  };
  const float sign = std::copysign(1.0F, factors.scale);
  for (Eigen::Index k = 0; k < count; ++k) {
    const Value& value = values[static_cast<std::size_t>(k)];
    svd.s[k] = value.s * std::abs(static_cast<double>(factors.scale));
    fill(svd.u, k, first.u.col(value.i) * sign, second.u.col(value.j));
    fill(svd.v, k, first.v.col(value.i), second.v.col(value.j));
  }
  svd.squares = first.squares * second.squares * factors.scale * factors.scale;
  return svd;
}

LowRankFit as_pair(const Svd& svd, std::int64_t rank) {
  rank = std::min(rank, svd.rank());
  LowRankFit fit{.down = Tensor::allocate({rank, svd.v.rows()}, DType::f32),
                 .up = Tensor::allocate({svd.u.rows(), rank}, DType::f32)};
  const Eigen::VectorXf root = svd.s.head(rank).cwiseMax(0).cwiseSqrt().cast<float>();
  // Both are row-major: their transposes are Eigen's.
  Eigen::Map<Matrix>(fit.down.mutable_data<float>(), svd.v.rows(), rank) =
      svd.v.leftCols(rank) * root.asDiagonal();
  Eigen::Map<Matrix>(fit.up.mutable_data<float>(), rank, svd.u.rows()) =
      root.asDiagonal() * svd.u.leftCols(rank).transpose();
  if (svd.squares > 0) fit.energy = std::min(svd.s.head(rank).squaredNorm() / svd.squares, 1.0);
  return fit;
}

/// The two matrices whose product a kind is, but for its scale; nothing where it is none, or where
/// their inner side is the longest.
struct PairView {
  explicit PairView(const ModuleDelta& delta) {
    if (const ThinFactors* thin = delta.thin()) {
      up = flattened(to_f32(thin->up->original()));
      down = flattened(to_f32(thin->down->original()));
      scale = thin->scale;
    } else if (const TuckerFactors* tucker = delta.tucker()) {
      up = flattened(to_f32(tucker->up->original()));
      down = through_core(to_f32(tucker->mid->original()),
                          flattened(to_f32(tucker->down->original())));
      scale = tucker->scale;
    }
    if (up.defined()) is_thin = up.size(1) <= std::min(up.size(0), down.size(1));
  }
  Tensor up, down;
  double scale = 1;
  bool is_thin = false;
};

bool has_factors(const ModuleDelta& delta) {
  return delta.kronecker() != nullptr || delta.thin() != nullptr || delta.tucker() != nullptr;
}

}  // namespace

LowRankFit fit_low_rank(const Tensor& matrix, std::int64_t rank, const StopToken& stop) {
  return as_pair(decompose(matrix, rank, stop), rank);
}

LowRankFit fit_low_rank(const ModuleDelta& delta, const Pristine& base, std::int64_t rank,
                        const StopToken& stop) {
  if (const KroneckerFactors* factors = delta.kronecker())
    return as_pair(decompose_kronecker(*factors, rank, stop), rank);
  if (const PairView pair(delta); pair.is_thin)
    return as_pair(decompose_pair(pair.up, pair.down, pair.scale), rank);
  const Tensor change = delta.weight_change(base, 1, 0);
  return change.defined() ? fit_low_rank(flattened(change), rank, stop) : LowRankFit{};
}

std::vector<LowRankFit> fit_low_rank(std::span<const BoundModule* const> modules,
                                     std::span<const Component> components, std::int64_t rank,
                                     const Watch& watch) {
  std::vector<LowRankFit> fits(modules.size());
  const auto fit = [&](std::size_t i) {
    throw_if_stopped(watch.stop);
    const BoundModule& module = *modules[i];
    const auto base = [&] { return pristine_weight(*module.placement, components); };
    fits[i] = fit_low_rank(*module.delta, base, rank, watch.stop);
  };
  std::atomic<std::size_t> done = 0;
  std::exception_ptr failure;
  std::mutex mutex;
#pragma omp parallel for schedule(dynamic)
  for (std::size_t i = 0; i < modules.size(); ++i) {
    if (!has_factors(*modules[i]->delta)) continue;
    try {
      fit(i);
      ++done;
      if (omp_get_thread_num() == 0) watch.report(done, modules.size());
    } catch (...) {
      const std::lock_guard lock(mutex);
      failure = std::current_exception();
    }
  }
  if (failure) std::rethrow_exception(failure);
  for (std::size_t i = 0; i < modules.size(); ++i) {
    if (has_factors(*modules[i]->delta)) continue;
    fit(i);
    watch.report(++done, modules.size());
  }
  return fits;
}

}  // namespace velatura::lora::tools

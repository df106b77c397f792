#include "lora/tools/low_rank_fit.h"

#include <Eigen/Dense>
#include <algorithm>
#include <cmath>
#include <random>

namespace velatura::lora::tools {

namespace {

using Matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using MatrixView = Eigen::Map<const Matrix>;

/// Up to this side the whole decomposition takes seconds at most.
constexpr std::int64_t kWhole = 256;
constexpr std::int64_t kOversampling = 16;
constexpr int kPowerIterations = 4;

struct Svd {
  Matrix u;  ///< [rows, n]
  Eigen::VectorXf s;
  Matrix v;  ///< [columns, n]
};

Svd decompose(const Matrix& matrix) {
  const Eigen::BDCSVD<Matrix> svd(matrix, Eigen::ComputeThinU | Eigen::ComputeThinV);
  return {svd.matrixU(), svd.singularValues(), svd.matrixV()};
}

Matrix orthonormal(const Matrix& columns) {
  const Eigen::HouseholderQR<Matrix> qr(columns);
  return qr.householderQ() * Matrix::Identity(columns.rows(), columns.cols());
}

Svd decompose_subspace(const MatrixView& matrix, std::int64_t width) {
  std::mt19937 generator(1);
  std::normal_distribution<float> normal;
  Matrix basis(matrix.cols(), width);
  for (Eigen::Index i = 0; i < basis.size(); ++i) basis.data()[i] = normal(generator);
  Matrix range = orthonormal(matrix * basis);
  for (int iteration = 0; iteration < kPowerIterations; ++iteration) {
    basis = orthonormal(matrix.transpose() * range);
    range = orthonormal(matrix * basis);
  }
  Svd small = decompose(range.transpose() * matrix);
  small.u = (range * small.u).eval();
  return small;
}

}  // namespace

LowRankFit fit_low_rank(const Tensor& matrix, std::int64_t rank) {
  const MatrixView view(matrix.data<float>(), matrix.size(0), matrix.size(1));
  const std::int64_t side = std::min(matrix.size(0), matrix.size(1));
  rank = std::min(rank, side);
  const bool whole = side <= std::max(kWhole, rank + kOversampling);
  const Svd svd = whole ? decompose(view) : decompose_subspace(view, rank + kOversampling);
  LowRankFit fit{.down = Tensor::allocate({rank, matrix.size(1)}, DType::f32),
                 .up = Tensor::allocate({matrix.size(0), rank}, DType::f32)};
  Eigen::Map<Matrix> down(fit.down.mutable_data<float>(), rank, matrix.size(1));
  Eigen::Map<Matrix> up(fit.up.mutable_data<float>(), matrix.size(0), rank);
  const Eigen::VectorXf root = svd.s.head(rank).cwiseMax(0).cwiseSqrt();
  up = svd.u.leftCols(rank) * root.asDiagonal();
  down = root.asDiagonal() * svd.v.leftCols(rank).transpose();
  const double all = view.cast<double>().squaredNorm();
  if (all > 0) fit.energy = svd.s.head(rank).cast<double>().squaredNorm() / all;
  return fit;
}

}  // namespace velatura::lora::tools

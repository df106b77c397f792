// Matrices in double, element by element and slow: what formulas are written with in tests, apart
// from the library's own arithmetic.
#pragma once

#include <cmath>
#include <cstdint>
#include <functional>
#include <utility>
#include <vector>

#include "tensor/tensor.h"

namespace velatura::testing {

class Matrix {
 public:
  Matrix(std::int64_t rows, std::int64_t columns)
      : rows_(rows), columns_(columns), values_(static_cast<std::size_t>(rows * columns)) {}
  /// A tensor of any floating type with its axes behind the first folded.
  static Matrix of(const Tensor& tensor) {
    return of(tensor, tensor.size(0), tensor.count() / tensor.size(0));
  }
  static Matrix of(const Tensor& tensor, std::int64_t rows, std::int64_t columns) {
    const Tensor values = to_f32(tensor);
    return generate(rows, columns, [&](std::int64_t r, std::int64_t c) {
      return static_cast<double>(values.data<float>()[r * columns + c]);
    });
  }
  static Matrix identity(std::int64_t n) {
    return generate(n, n, [](std::int64_t r, std::int64_t c) { return r == c ? 1.0 : 0.0; });
  }
  static Matrix generate(std::int64_t rows, std::int64_t columns,
                         const std::function<double(std::int64_t, std::int64_t)>& value) {
    Matrix result(rows, columns);
    for (std::int64_t r = 0; r < rows; ++r) {
      for (std::int64_t c = 0; c < columns; ++c) result(r, c) = value(r, c);
    }
    return result;
  }

  std::int64_t rows() const { return rows_; }
  std::int64_t columns() const { return columns_; }
  double& operator()(std::int64_t r, std::int64_t c) {
    return values_[static_cast<std::size_t>(r * columns_ + c)];
  }
  double operator()(std::int64_t r, std::int64_t c) const {
    return values_[static_cast<std::size_t>(r * columns_ + c)];
  }

  Matrix transposed() const {
    return generate(columns_, rows_, [&](std::int64_t r, std::int64_t c) { return (*this)(c, r); });
  }
  Matrix block(std::int64_t row, std::int64_t column, std::int64_t rows,
               std::int64_t columns) const {
    return generate(rows, columns,
                    [&](std::int64_t r, std::int64_t c) { return (*this)(row + r, column + c); });
  }
  /// Gauss and Jordan with pivots.
  Matrix inverse() const {
    Matrix left = *this, right = identity(rows_);
    for (std::int64_t k = 0; k < rows_; ++k) {
      std::int64_t best = k;
      for (std::int64_t r = k; r < rows_; ++r) {
        if (std::abs(left(r, k)) > std::abs(left(best, k))) best = r;
      }
      for (std::int64_t c = 0; c < rows_; ++c) {
        std::swap(left(k, c), left(best, c));
        std::swap(right(k, c), right(best, c));
      }
      const double pivot = left(k, k);
      for (std::int64_t c = 0; c < rows_; ++c) left(k, c) /= pivot, right(k, c) /= pivot;
      for (std::int64_t r = 0; r < rows_; ++r) {
        const double factor = r == k ? 0 : left(r, k);
        for (std::int64_t c = 0; c < rows_; ++c) {
          left(r, c) -= factor * left(k, c);
          right(r, c) -= factor * right(k, c);
        }
      }
    }
    return right;
  }
  /// Frobenius.
  double norm() const {
    double sum = 0;
    for (const double value : values_) sum += value * value;
    return std::sqrt(sum);
  }

 private:
  std::int64_t rows_, columns_;
  std::vector<double> values_;
};

inline Matrix operator*(const Matrix& a, const Matrix& b) {
  return Matrix::generate(a.rows(), b.columns(), [&](std::int64_t r, std::int64_t c) {
    double sum = 0;
    for (std::int64_t k = 0; k < a.columns(); ++k) sum += a(r, k) * b(k, c);
    return sum;
  });
}
inline Matrix operator*(double factor, const Matrix& a) {
  return Matrix::generate(a.rows(), a.columns(),
                          [&](std::int64_t r, std::int64_t c) { return factor * a(r, c); });
}
inline Matrix operator+(const Matrix& a, const Matrix& b) {
  return Matrix::generate(a.rows(), a.columns(),
                          [&](std::int64_t r, std::int64_t c) { return a(r, c) + b(r, c); });
}
inline Matrix operator-(const Matrix& a, const Matrix& b) {
  return a + -1.0 * b;
}

/// ‖actual − expected‖ / ‖expected‖ over all elements.
inline double relative_error(const Tensor& actual, const Matrix& expected) {
  return (Matrix::of(actual, expected.rows(), expected.columns()) - expected).norm() /
         expected.norm();
}

}  // namespace velatura::testing

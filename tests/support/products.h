// What tests of products share: cases as arguments, and tolerances derived from the lengths of
// sums. Inputs are uniform in [-1, 1). Header-only.
#pragma once

#include <cmath>
#include <random>
#include <string>
#include <vector>

#include "ops/conv2d.h"
#include "tests/support/against_reference.h"

namespace velatura::testing {

using ops::ConvGeometry;

/// Types of weights in files. At real sizes the commonest alone: the reference takes its time.
inline std::vector<DType> weight_types(const ShapeCase& shape) {
  if (shape.is("large")) return {DType::f16};
  return {DType::f32, DType::f16, DType::bf16};
}

inline ConvGeometry geometry_of(const ShapeCase& shape) {
  ConvGeometry geometry{.stride = static_cast<int>(shape.get("stride", 1))};
  if (!shape.has("pad")) return geometry;
  const std::vector<std::int64_t> pads = shape.list("pad");
  const auto side = [&pads](std::size_t index) {
    return static_cast<int>(pads.size() == 1 ? pads[0] : pads.at(index));
  };
  geometry.pad_top = side(0);
  geometry.pad_left = side(1);
  geometry.pad_bottom = side(2);
  geometry.pad_right = side(3);
  return geometry;
}

/// Standard deviation of a sum of `terms` products of inputs.
inline double sum_deviation(std::int64_t terms) {
  return std::sqrt(static_cast<double>(terms)) * kInputDeviation * kInputDeviation;
}

/// Two f32 sums of `terms` products in different orders: each partial sum, at most about the
/// deviation of the whole, is rounded once a term and the errors add like a random walk,
/// ε·√terms·deviation. Bias and residual add two roundings at magnitude 1.
inline double f32_sum_error(std::int64_t terms) {
  const double walk = std::sqrt(static_cast<double>(terms)) * sum_deviation(terms);
  return kWorst * epsilon_of(DType::f32) * (walk + 2);
}

/// What rounding one factor of every product to bf16 makes of a sum with this deviation: relative
/// errors uniform within ±ε/2.
inline double bf16_factor_error(double deviation) {
  return kWorst * epsilon_of(DType::bf16) / 2 * kInputDeviation * deviation;
}

/// bf16 activations meet weights rounded to bf16 (linear.h); the reference keeps the file's values.
inline Tolerance product_tolerance(std::int64_t terms, DType type, DType weight_type) {
  Tolerance tolerance{f32_sum_error(terms), result_rounding(type)};
  if (type == DType::bf16 && weight_type != DType::bf16) {
    tolerance.absolute += bf16_factor_error(sum_deviation(terms));
  }
  return tolerance;
}

/// The error of the pair: the inner sum over `terms` and the outer over the ranks, each as of one
/// product; in bf16 both weights and the inner vector may be rounded.
inline Tolerance low_rank_tolerance(std::int64_t terms, std::int64_t rank, DType type) {
  const double outer = sum_deviation(rank) / kInputDeviation;   // for an inner deviation of 1
  const double inner = sum_deviation(terms) * kInputDeviation;  // `scales` are inputs too
  const double deviation = inner * outer;
  const double sums = std::sqrt(static_cast<double>(terms)) + std::sqrt(static_cast<double>(rank));
  Tolerance tolerance{kWorst * epsilon_of(DType::f32) * (sums * deviation + 2),
                      result_rounding(type)};
  constexpr int kRoundedFactors = 3;
  if (type == DType::bf16) tolerance.absolute += kRoundedFactors * bf16_factor_error(deviation);
  return tolerance;
}

/// Lines of shape lists that nobody chose, the same for the same seed.
class RandomShapes {
 public:
  explicit RandomShapes(unsigned seed) : random_(seed) {}
  /// " name=value" with a value from `from` to `to`.
  std::string field(const char* name, int from, int to) {
    return std::string(" ") + name + "=" + number(from, to);
  }
  /// Pictures, kernel and geometry of a convolution; a window always fits.
  std::string window() {
    return field("batch", 1, 3) + field("height", 3, 9) + field("width", 3, 9) +
           field("kernel", 1, 3) + field("stride", 1, 2) + " pad=" + number(0, 2) + "," +
           number(0, 2) + "," + number(0, 2) + "," + number(0, 2);
  }

 private:
  std::string number(int from, int to) {
    const auto span = static_cast<unsigned>(to - from + 1);
    return std::to_string(from + static_cast<int>(random_() % span));
  }
  std::mt19937 random_;
};

}  // namespace velatura::testing

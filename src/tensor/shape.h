// The extents of a tensor, outermost first. Row-major order is the only order.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>

namespace velatura {

/// At most kMaxRank extents, each >= 0. A rank-0 shape has one element.
class Shape {
 public:
  static constexpr int kMaxRank = 8;

  Shape() = default;
  Shape(std::initializer_list<std::int64_t> extents)
      : Shape(std::span(extents.begin(), extents.size())) {}
  /// Throws bad_file on more than kMaxRank extents or a negative one.
  explicit Shape(std::span<const std::int64_t> extents);

  int rank() const { return rank_; }
  /// Extent of `axis`; negative counts from the end.
  std::int64_t operator[](int axis) const {
    return extents_[static_cast<std::size_t>(axis < 0 ? axis + rank_ : axis)];
  }
  std::int64_t count()
      const;  ///< number of elements; throws bad_file when it does not fit in 63 bits
  std::span<const std::int64_t> extents() const {
    return {extents_.data(), static_cast<std::size_t>(rank_)};
  }
  bool operator==(const Shape& other) const;
  std::string to_string() const;  ///< "[2, 77, 768]"

 private:
  std::array<std::int64_t, kMaxRank> extents_{};
  int rank_ = 0;
};

}  // namespace velatura

#include "tensor/shape.h"

#include <algorithm>

#include "base/error.h"

namespace velatura {

Shape::Shape(std::span<const std::int64_t> extents) {
  if (extents.size() > kMaxRank) {
    fail(ErrorKind::bad_file, "a shape of {} axes was found; at most {} are supported",
         extents.size(), kMaxRank);
  }
  for (std::int64_t extent : extents) {
    if (extent < 0)
      fail(ErrorKind::bad_file, "a shape with the negative extent {} was found", extent);
    extents_[static_cast<std::size_t>(rank_++)] = extent;
  }
}

std::int64_t Shape::count() const {
  std::int64_t product = 1;
  for (std::int64_t extent : extents()) {
    if (__builtin_mul_overflow(product, extent, &product)) {
      fail(ErrorKind::bad_file, "the shape {} has more elements than 63 bits can count",
           to_string());
    }
  }
  return product;
}

bool Shape::operator==(const Shape& other) const {
  return std::ranges::equal(extents(), other.extents());
}

std::string Shape::to_string() const {
  std::string text = "[";
  for (int axis = 0; axis < rank_; ++axis)
    text += (axis ? ", " : "") + std::to_string((*this)[axis]);
  return text + "]";
}

}  // namespace velatura

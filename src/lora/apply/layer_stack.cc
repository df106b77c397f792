#include "lora/apply/layer_stack.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"

namespace velatura::lora {

namespace {

const ThinFactors& factors_of(const StackPart& part) {
  const ThinFactors* factors = part.delta->thin();
  VELATURA_CHECK(factors != nullptr);
  return *factors;
}

/// The type that holds all parts exactly: theirs where they agree, else f32.
DType common_type(const std::vector<StackPart>& parts, bool of_up) {
  const auto type_of = [&](const StackPart& part) {
    const ThinFactors& factors = factors_of(part);
    return (of_up ? factors.up : factors.down)->original().dtype();
  };
  const DType first = type_of(parts.front());
  const bool agree =
      std::ranges::all_of(parts, [&](const StackPart& part) { return type_of(part) == first; });
  return agree ? first : DType::f32;
}

Tensor in_common_type(const ops::Weight& weight, DType type) {
  return type == DType::f32 ? to_f32(weight.original()) : weight.original();
}

}  // namespace

LayerStack::LayerStack(std::vector<StackPart> parts) : parts_(std::move(parts)) {
  for (const StackPart& part : parts_) rank_ += part.ranks;
}

bool LayerStack::stands_alone() const {
  return parts_.size() == 1 && parts_.front().ranks == parts_.front().delta->rank();
}

std::size_t LayerStack::bytes() const {
  if (stands_alone()) return 0;
  const ThinFactors& first = factors_of(parts_.front());
  const std::int64_t columns = first.down->shape().count() / first.down->shape()[0];
  const std::int64_t out = first.up->shape()[0];
  return static_cast<std::size_t>(rank_ * (columns + out)) * 2 * sizeof(float);
}

const LayerStack::Pair& LayerStack::pair() const {
  std::call_once(laid_, [this] { pair_ = lay(); });
  return pair_;
}

LayerStack::Pair LayerStack::lay() const {
  const ThinFactors& first = factors_of(parts_.front());
  if (stands_alone()) return {first.down, first.up};
  const Shape& down_shape = first.down->shape();
  const std::int64_t columns = down_shape.count() / down_shape[0], out = first.up->shape()[0];
  Tensor down = Tensor::allocate(down_shape.rank() == 4
                                     ? Shape{rank_, down_shape[1], down_shape[2], down_shape[3]}
                                     : Shape{rank_, columns},
                                 common_type(parts_, false));
  Tensor up = Tensor::allocate({out, rank_}, common_type(parts_, true));
  const std::size_t down_row = static_cast<std::size_t>(columns) * size_of(down.dtype());
  const std::size_t element = size_of(up.dtype()),
                    up_row = static_cast<std::size_t>(rank_) * element;
  std::size_t at = 0;
  for (const StackPart& part : parts_) {
    const Tensor part_down = in_common_type(*factors_of(part).down, down.dtype()),
                 part_up = in_common_type(*factors_of(part).up, up.dtype());
    const auto used = static_cast<std::size_t>(part.ranks);
    const std::size_t stored_row = static_cast<std::size_t>(part_up.size(1)) * element;
    std::memcpy(down.mutable_bytes() + at * down_row, part_down.bytes(), used * down_row);
    for (std::size_t o = 0; o < static_cast<std::size_t>(out); ++o) {
      std::memcpy(up.mutable_bytes() + o * up_row + at * element, part_up.bytes() + o * stored_row,
                  used * element);
    }
    at += used;
  }
  return {std::make_shared<const ops::Weight>(std::move(down)),
          std::make_shared<const ops::Weight>(std::move(up))};
}

}  // namespace velatura::lora

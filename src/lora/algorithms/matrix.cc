#include "lora/algorithms/matrix.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/error.h"

namespace velatura::lora {

std::int64_t columns_of(const Tensor& matrix) {
  return matrix.rank() == 0 || matrix.size(0) < 1 ? 0 : matrix.count() / matrix.size(0);
}

std::optional<std::int64_t> rows_of(const Tensor& matrix, std::int64_t columns) {
  if (matrix.rank() < 2 || columns < 1 || columns_of(matrix) != columns) return std::nullopt;
  return matrix.size(0);
}

Tensor flattened(const Tensor& matrix) {
  return matrix.reshaped({matrix.size(0), columns_of(matrix)});
}

Shape with_rows(const Shape& weight, std::int64_t rows) {
  std::vector<std::int64_t> extents(weight.extents().begin(), weight.extents().end());
  extents.at(0) = rows;
  return Shape(extents);
}

Kernel kernel_of(const Shape& weight) {
  return weight.rank() == 4 ? Kernel{weight[2], weight[3]} : Kernel{1, 1};
}

Tensor transposed(const Tensor& matrix) {
  const std::int64_t rows = matrix.size(0), columns = matrix.size(1);
  Tensor result = Tensor::allocate({columns, rows}, matrix.dtype());
  const std::size_t width = size_of(matrix.dtype());
  const auto move = [&](auto element) {
    using Element = decltype(element);
    const Element* from = matrix.data<Element>();
    Element* to = result.mutable_data<Element>();
    for (std::int64_t r = 0; r < rows; ++r) {
      for (std::int64_t c = 0; c < columns; ++c) to[c * rows + r] = from[r * columns + c];
    }
  };
  VELATURA_CHECK(width == 2 || width == 4);
  width == 2 ? move(std::uint16_t{}) : move(float{});
  return result;
}

Tensor take_columns(const Tensor& matrix, RowRange columns) {
  const std::int64_t rows = matrix.size(0), stored = columns_of(matrix);
  VELATURA_CHECK(columns.begin >= 0 && columns.begin <= columns.end && columns.end <= stored);
  Tensor result = Tensor::allocate({rows, columns.count()}, matrix.dtype());
  const std::size_t width = size_of(matrix.dtype());
  for (std::int64_t r = 0; r < rows; ++r) {
    std::memcpy(result.mutable_bytes() + static_cast<std::size_t>(r * columns.count()) * width,
                matrix.bytes() + static_cast<std::size_t>(r * stored + columns.begin) * width,
                static_cast<std::size_t>(columns.count()) * width);
  }
  return result;
}

RowRange used_columns(const Tensor& matrix) {
  const std::int64_t stored = columns_of(matrix);
  const std::size_t width = size_of(matrix.dtype());
  const auto is_used = [&](std::int64_t column) {
    for (std::int64_t row = 0; row < matrix.size(0); ++row) {
      const std::byte* value =
          matrix.bytes() + static_cast<std::size_t>(row * stored + column) * width;
      if (std::any_of(value, value + width, [](std::byte byte) { return byte != std::byte{0}; }))
        return true;
    }
    return false;
  };
  RowRange used{0, stored};
  while (used.begin < used.end && !is_used(used.begin)) ++used.begin;
  while (used.end > used.begin && !is_used(used.end - 1)) --used.end;
  return used;
}

Tensor take_rows(const Tensor& whole, std::span<const RowRange> rows) {
  return rows.size() == 1 ? whole.slice(rows.front().begin, rows.front().end)
                          : gather_rows(whole, rows);
}

Tensor scaled(const Tensor& values, float factor) {
  Tensor result = values.dtype() == DType::f32 ? values.clone() : to_f32(values);
  for (float& value : result.mutable_floats()) value *= factor;
  return result;
}

Tensor through_core(const Tensor& core, const Tensor& down) {
  const std::int64_t p = core.size(0), q = core.size(1), kernel = core.count() / (p * q);
  const Tensor columns = transposed(flattened(down));
  const std::int64_t in = columns.size(0);
  Tensor result = Tensor::allocate({p, in * kernel}, DType::f32);
  for (std::int64_t row = 0; row < p; ++row) {
    const Tensor slice = product(columns, core.slice(row, row + 1).reshaped({q, kernel}));
    std::memcpy(result.mutable_floats().data() + row * in * kernel, slice.bytes(),
                slice.byte_size());
  }
  return result;
}

std::int64_t most_core_ranks(const ModuleInput& input) {
  return std::max(input.out(), input.columns());
}

void require_product_layer(const ModuleInput& input, std::string_view kind) {
  const bool is_linear = input.kind == nn::LayerKind::linear && input.weight.rank() == 2;
  const bool is_conv = input.kind == nn::LayerKind::conv2d && input.weight.rank() == 4;
  if ((!is_linear && !is_conv) || input.weight.count() == 0) {
    fail(ErrorKind::mismatch,
         "{} \"{}\" on \"{}\", whose weight {} is neither a linear layer's nor "
         "a convolution's",
         kind, input.module.name, input.path, input.weight.to_string());
  }
}

std::vector<std::int64_t> read_integers(const ModuleInput& input, Role role, std::int64_t most) {
  const std::string& name = input.module.tensors.at(role);
  const Tensor stored = input.file.source().load(name);
  if (stored.count() > most) {
    fail(ErrorKind::bad_file, "tensor \"{}\" has shape {}, at most {} elements are expected", name,
         stored.shape().to_string(), most);
  }
  std::vector<std::int64_t> values(static_cast<std::size_t>(stored.count()));
  const auto copy = [&](auto element) {
    std::copy_n(stored.data<decltype(element)>(), values.size(), values.begin());
  };
  switch (stored.dtype()) {
    case DType::i64:
      copy(std::int64_t{});
      break;
    case DType::i32:
      copy(std::int32_t{});
      break;
    case DType::i16:
      copy(std::int16_t{});
      break;
    case DType::i8:
      copy(std::int8_t{});
      break;
    case DType::u8:
      copy(std::uint8_t{});
      break;
    default: {
      // Trainers that cast a whole file on saving leave integers as floats.
      constexpr float kExact = 16777216;
      const Tensor floats = to_f32(stored);
      const auto is_integer = [](float value) {
        return std::fabs(value) <= kExact && value == std::floor(value);
      };
      if (!std::ranges::all_of(floats.floats(), is_integer))
        fail(ErrorKind::bad_file, "tensor \"{}\" holds values that are no integers", name);
      std::ranges::transform(floats.floats(), values.begin(),
                             [](float value) { return static_cast<std::int64_t>(value); });
    }
  }
  return values;
}

Tensor read_shaped_as_weight(const ModuleInput& input, Role role) {
  const Tensor values = read_finite(input, role);
  // [C] of a norm may come as [C, 1]; a kernel may be folded into its row.
  const bool fits = values.rank() > 0 && input.weight.rank() > 0 && values.size(0) > 0 &&
                    values.size(0) == input.out() && columns_of(values) == input.columns();
  if (!fits) {
    fail(ErrorKind::mismatch, "\"{}\" has shape {}, the weight of \"{}\" is {}",
         input.module.tensors.at(role), values.shape().to_string(), input.path,
         input.weight.to_string());
  }
  return values.reshaped(input.weight);
}

Tensor read_shaped_as_bias(const ModuleInput& input, Role role) {
  const Tensor values = read_f32(input, role);
  if (values.rank() < 1 || values.size(0) != input.out() || values.count() != input.out()) {
    fail(ErrorKind::mismatch, "\"{}\" has shape {}, the bias of \"{}\" has [{}]",
         input.module.tensors.at(role), values.shape().to_string(), input.path, input.out());
  }
  return values.reshaped({input.out()});
}

}  // namespace velatura::lora

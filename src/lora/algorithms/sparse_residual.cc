// What LyCORIS' extraction leaves beside its factors: single elements of the flattened weight
// (lora-formats §1.14).
#include <fmt/ranges.h>

#include <algorithm>
#include <limits>

#include "base/error.h"
#include "lora/algorithms/matrix.h"

namespace velatura::lora {

namespace {

/// Elements of a matrix; those at the same place add.
struct Elements {
  std::vector<std::int64_t> rows, columns;
  std::vector<float> values;
};

class SparseDelta : public ModuleDelta {
 public:
  SparseDelta(Elements elements, const Shape& weight)
      : elements_(std::move(elements)), weight_(weight) {}

  bool is_zero() const override {
    return std::ranges::all_of(elements_.values, [](float value) { return value == 0; });
  }
  Tensor weight_change(const Pristine&, float strength, std::int64_t) const override {
    Tensor change = Tensor::zeros(weight_, DType::f32);
    const std::int64_t width = weight_.count() / weight_[0];
    float* values = change.mutable_data<float>();
    for (std::size_t i = 0; i < elements_.values.size(); ++i)
      values[elements_.rows[i] * width + elements_.columns[i]] += strength * elements_.values[i];
    return change;
  }
  std::unique_ptr<ModuleDelta> rows(std::span<const RowRange> rows) const override;

 private:
  Elements elements_;
  Shape weight_;
};

std::unique_ptr<ModuleDelta> SparseDelta::rows(std::span<const RowRange> rows) const {
  Elements piece;
  std::int64_t first = 0;  // of the range, among the piece's rows
  for (const RowRange& range : rows) {
    for (std::size_t i = 0; i < elements_.values.size(); ++i) {
      if (elements_.rows[i] < range.begin || elements_.rows[i] >= range.end) continue;
      piece.rows.push_back(elements_.rows[i] - range.begin + first);
      piece.columns.push_back(elements_.columns[i]);
      piece.values.push_back(elements_.values[i]);
    }
    first += range.count();
  }
  return std::make_unique<SparseDelta>(std::move(piece), with_rows(weight_, first));
}

/// The matrix that the indices count in must be the layer's.
void check_size(const ModuleInput& input) {
  const std::vector<std::int64_t> size = read_integers(input, Role::sparse_size, Shape::kMaxRank);
  if (size.size() == 2 && size[0] == input.out() && size[1] == input.columns()) return;
  const bool overflowed = input.columns() > std::numeric_limits<std::int16_t>::max();
  fail(ErrorKind::mismatch, "\"{}\" says [{}], the weight of \"{}\" is [{}, {}]{}",
       input.module.tensors.at(Role::sparse_size), fmt::join(size, ", "), input.path, input.out(),
       input.columns(),
       overflowed
           ? ", more than the 16-bit indices of this form can count: the file was broken when "
             "it was made"
           : "");
}

}  // namespace

std::unique_ptr<ModuleDelta> make_sparse_residual(const ModuleInput& input) {
  require_product_layer(input, "sparse residual");
  check_size(input);
  const Tensor values = read_f32(input, Role::sparse_values);
  const std::int64_t count = values.count();
  // Twice a weight's elements and more would be no sparse matrix; the bound keeps memory in hand.
  const std::vector<std::int64_t> indices =
      read_integers(input, Role::sparse_indices, 2 * input.weight.count());
  if (values.rank() != 1 || static_cast<std::int64_t>(indices.size()) != 2 * count) {
    fail(ErrorKind::mismatch,
         "\"{}\" has {} indices for {} values of shape {}, two for each of one "
         "axis are expected",
         input.module.name, indices.size(), count, values.shape().to_string());
  }
  Elements elements;
  elements.rows.assign(indices.begin(), indices.begin() + count);
  elements.columns.assign(indices.begin() + count, indices.end());
  elements.values.assign(values.floats().begin(), values.floats().end());
  for (std::size_t i = 0; i < elements.values.size(); ++i) {
    const std::int64_t row = elements.rows[i], column = elements.columns[i];
    if (row >= 0 && row < input.out() && column >= 0 && column < input.columns()) continue;
    fail(ErrorKind::bad_file, "\"{}\" points at [{}, {}], outside [{}, {}]",
         input.module.tensors.at(Role::sparse_indices), row, column, input.out(), input.columns());
  }
  return std::make_unique<SparseDelta>(std::move(elements), input.weight);
}

}  // namespace velatura::lora

#include "weights/name_map.h"

#include <cstring>
#include <set>

#include "base/error.h"

namespace velatura::weights {

namespace {

/// The shape of what `row` takes out of a tensor; throws mismatch where the tensor has no such
/// rows.
Shape shape_of_row(const NameRow& row, const TensorInfo& info, const std::string& file) {
  Shape shape = info.shape;
  if (row.transposed) {
    if (shape.rank() != 2) {
      fail(ErrorKind::mismatch, "\"{}\": tensor \"{}\" has shape {}, expected a matrix", file,
           row.file, shape.to_string());
    }
    shape = Shape{shape[1], shape[0]};
  }
  if (row.halves_swapped && (shape.rank() == 0 || shape[0] % 2 != 0 || row.end != 0)) {
    fail(ErrorKind::mismatch, "\"{}\": tensor \"{}\" has shape {}, expected two halves of rows",
         file, row.file, shape.to_string());
  }
  if (row.end == 0) return shape;
  if (shape.rank() == 0 || row.begin < 0 || row.begin >= row.end || row.end > shape[0]) {
    fail(ErrorKind::mismatch, "\"{}\": tensor \"{}\" has shape {}, expected rows {} to {} in it",
         file, row.file, shape.to_string(), row.begin, row.end);
  }
  std::vector<std::int64_t> extents(shape.extents().begin(), shape.extents().end());
  extents[0] = row.end - row.begin;
  return Shape(extents);
}

Tensor transposed(const Tensor& matrix) {
  const std::int64_t rows = matrix.size(0), columns = matrix.size(1);
  const std::size_t width = size_of(matrix.dtype());
  Tensor result = Tensor::allocate({columns, rows}, matrix.dtype());
  for (std::int64_t r = 0; r < rows; ++r) {
    for (std::int64_t c = 0; c < columns; ++c) {
      std::memcpy(result.mutable_bytes() + static_cast<std::size_t>(c * rows + r) * width,
                  matrix.bytes() + static_cast<std::size_t>(r * columns + c) * width, width);
    }
  }
  return result;
}

Tensor with_halves_swapped(const Tensor& tensor) {
  Tensor result = Tensor::allocate(tensor.shape(), tensor.dtype());
  const std::size_t half = tensor.byte_size() / 2;
  std::memcpy(result.mutable_bytes(), tensor.bytes() + half, half);
  std::memcpy(result.mutable_bytes() + half, tensor.bytes(), half);
  return result;
}

}  // namespace

MappedSource::MappedSource(std::shared_ptr<const Source> source, NameMap rows)
    : source_(std::move(source)) {
  std::set<std::string_view> named;
  for (NameRow& row : rows) {
    const TensorInfo* info = source_->find(row.file);
    const auto known = rows_.find(row.canonical);
    if (info != nullptr) named.insert(info->name);
    if (known != rows_.end() && (info == nullptr || source_->find(known->second.file) != nullptr))
      continue;
    if (info != nullptr) {
      tensors_.push_back(
          {row.canonical, shape_of_row(row, *info, source_->description()), info->dtype});
    }
    rows_.insert_or_assign(row.canonical, std::move(row));
  }
  for (const TensorInfo& info : source_->tensors()) {
    if (!named.contains(info.name)) unmapped_.push_back(info.name);
  }
}

const std::vector<TensorInfo>& MappedSource::tensors() const {
  return tensors_;
}

Tensor MappedSource::load(std::string_view name) const {
  const auto found = rows_.find(name);
  if (found == rows_.end()) {
    fail(ErrorKind::not_found, "tensor \"{}\" has no spelling in \"{}\"", name, description());
  }
  const NameRow& row = found->second;
  if (source_->find(row.file) == nullptr) {
    fail(ErrorKind::not_found, "tensor \"{}\" (there \"{}\") is not in \"{}\"", name, row.file,
         description());
  }
  Tensor tensor = source_->load(row.file);
  if (row.transposed) tensor = transposed(tensor);
  if (row.halves_swapped) tensor = with_halves_swapped(tensor);
  return row.end == 0 ? tensor : tensor.slice(row.begin, row.end);
}

const std::map<std::string, std::string>& MappedSource::metadata() const {
  return source_->metadata();
}

std::string MappedSource::description() const {
  return source_->description();
}

void MappedSource::release(std::string_view name) const {
  const auto found = rows_.find(name);
  // Rows of a fused matrix share pages with their neighbours, which may not be converted yet; their
  // pages are only read again, so letting go is harmless.
  if (found != rows_.end()) source_->release(found->second.file);
}

std::vector<std::string> MappedSource::unmapped() const {
  return unmapped_;
}

}  // namespace velatura::weights

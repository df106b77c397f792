#include "backend/cpu/weight_forms.h"

#include <string>

#include "backend/cpu/kernels/kernels.h"
#include "backend/cpu/parallel.h"
#include "base/error.h"
#include "base/platform/memory.h"

namespace velatura::backend::cpu {

Pages::Pages(std::size_t size) : data_(platform::allocate_pages(size)), size_(size) {
  if (data_ == nullptr) {
    fail(ErrorKind::out_of_memory, "cannot allocate {} bytes for weights or scratch", size);
  }
}

Pages::~Pages() {
  platform::free_pages(data_, size_);
}

void* thread_scratch(std::size_t size) {
  thread_local std::unique_ptr<Pages> pages;
  if (!pages || pages->size() < size) {
    pages.reset();
    pages = std::make_unique<Pages>(size);
  }
  return pages->data();
}

Tensor in_type(const Tensor& values, DType type) {
  if (values.dtype() == type) return values;
  const std::size_t size = static_cast<std::size_t>(values.count()) * size_of(type);
  auto pages = std::make_shared<Pages>(size + 1);
  auto* data = static_cast<std::byte*>(pages->data());
  Tensor converted({std::shared_ptr<void>(pages, data), data, size + 1}, values.shape(), type);
  if (!convert(values.bytes(), values.dtype(), data, type, values.count())) {
    const Tensor wide = to_f32(values);
    convert(wide.bytes(), DType::f32, data, type, values.count());
  }
  return converted;
}

namespace {

bool convertible(DType type) {
  return type == DType::f32 || type == DType::f16 || type == DType::bf16;
}

}  // namespace

WidenedRows::WidenedRows(const Tensor& matrix, DType type, std::int64_t most_rows,
                         std::int64_t row_length)
    : source_(convertible(matrix.dtype()) ? matrix : to_f32(matrix)),
      type_(type),
      row_length_(row_length),
      staged_bytes_(most_rows * row_length * static_cast<std::int64_t>(size_of(type))),
      staged_(static_cast<std::size_t>(staged_bytes_) *
              static_cast<std::size_t>(std::max(omp_get_max_threads(), 1))) {}

const std::byte* WidenedRows::at(std::int64_t first_row, std::int64_t rows) const {
  const std::byte* from = source_.bytes() + first_row * row_length_ *
                                                static_cast<std::int64_t>(size_of(source_.dtype()));
  if (source_.dtype() == type_) return from;
  std::byte* to = static_cast<std::byte*>(staged_.data()) + omp_get_thread_num() * staged_bytes_;
  convert(from, source_.dtype(), to, type_, rows * row_length_);
  return to;
}

const std::byte* plain_weight(const ops::Weight& weight, DType type) {
  if (weight.original().dtype() == type) return weight.original().bytes();
  const auto form = weight.form(std::string(to_string(type)), [&] {
    return std::make_shared<const Tensor>(in_type(weight.original(), type));
  });
  return static_cast<const Tensor*>(form.get())->bytes();
}

}  // namespace velatura::backend::cpu

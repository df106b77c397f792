#include "backend/cpu/weight_forms.h"

#include <string>

#include "backend/cpu/kernels/kernels.h"
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

const std::byte* plain_weight(const ops::Weight& weight, DType type) {
  if (weight.original().dtype() == type) return weight.original().bytes();
  const auto form = weight.form(std::string(to_string(type)), [&] {
    return std::make_shared<const Tensor>(in_type(weight.original(), type));
  });
  return static_cast<const Tensor*>(form.get())->bytes();
}

}  // namespace velatura::backend::cpu

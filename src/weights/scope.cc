#include "weights/scope.h"

#include "base/error.h"

namespace velatura::weights {

namespace {

/// A 1×1 convolution where a linear layer is expected, a column where a vector is: the same
/// elements in one order.
bool equal_up_to_unit_axes(const Shape& a, const Shape& b) {
  int i = 0, j = 0;
  while (true) {
    while (i < a.rank() && a[i] == 1) ++i;
    while (j < b.rank() && b[j] == 1) ++j;
    if (i == a.rank() || j == b.rank()) return i == a.rank() && j == b.rank();
    if (a[i++] != b[j++]) return false;
  }
}

}  // namespace

Scope::Scope(std::shared_ptr<const Source> source, std::string prefix)
    : source_(std::move(source)),
      used_(std::make_shared<std::set<std::string, std::less<>>>()),
      prefix_(std::move(prefix)) {
  VELATURA_CHECK(source_ != nullptr);
}

Scope Scope::child(std::string_view name) const {
  Scope result = *this;
  result.prefix_ = path(name) + ".";
  return result;
}

bool Scope::has(std::string_view name) const {
  return source_->find(path(name)) != nullptr;
}

Tensor Scope::get(std::string_view name) const {
  const std::string full = path(name);
  Tensor tensor = source_->load(full);
  used_->insert(full);
  return tensor;
}

Tensor Scope::get(std::string_view name, const Shape& expected) const {
  const TensorInfo* info = source_->find(path(name));
  if (info != nullptr && !equal_up_to_unit_axes(info->shape, expected)) {
    fail(ErrorKind::mismatch,
         "\"{}\": tensor \"{}\" has shape {}, expected {}; the file and the model's configuration "
         "do not belong together",
         source_->description(), path(name), info->shape.to_string(), expected.to_string());
  }
  return get(name).reshaped(expected);
}

Tensor Scope::get_f32(std::string_view name, const Shape& expected) const {
  return to_f32(get(name, expected));
}

std::function<void()> Scope::releaser(std::string_view name) const {
  return [source = source_, full = path(name)] { source->release(full); };
}

std::vector<std::string> Scope::unused() const {
  std::vector<std::string> names;
  for (const TensorInfo& info : source_->tensors()) {
    if (!used_->contains(info.name)) names.push_back(info.name);
  }
  return names;
}

}  // namespace velatura::weights

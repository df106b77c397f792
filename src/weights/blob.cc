#include "weights/blob.h"

#include <cstring>

#include "base/error.h"

namespace velatura::weights {

Blob Blob::map(const std::filesystem::path& path) {
  Blob blob;
  blob.file_ = MappedFile::open(path);
  blob.owner_ = std::const_pointer_cast<MappedFile>(blob.file_);
  blob.bytes_ = blob.file_->bytes();
  blob.description_ = path.string();
  return blob;
}

Blob Blob::of(std::vector<std::byte> bytes, std::string description) {
  Blob blob;
  auto memory = std::make_shared<std::vector<std::byte>>(std::move(bytes));
  blob.bytes_ = *memory;
  blob.owner_ = std::move(memory);
  blob.description_ = std::move(description);
  return blob;
}

std::span<const std::byte> Blob::bytes_at(std::uint64_t offset, std::uint64_t length,
                                          const char* what) const {
  if (offset > size() || length > size() - offset) {
    fail(ErrorKind::bad_file,
         "\"{}\" ends too early: {} needs {} bytes at offset {}, the file has {} ({} bytes are "
         "missing); download or "
         "copy it again",
         description_, what, length, offset, size(),
         offset > size() ? length + (offset - size()) : length - (size() - offset));
  }
  return bytes_.subspan(offset, length);
}

Tensor Blob::tensor_at(std::uint64_t offset, const Shape& shape, DType type) const {
  const std::uint64_t length = static_cast<std::uint64_t>(shape.count()) * size_of(type);
  const std::span<const std::byte> range = bytes_at(offset, length, "a tensor");
  if (!range.empty() && reinterpret_cast<std::uintptr_t>(range.data()) % size_of(type) == 0) {
    return Tensor({owner_, const_cast<std::byte*>(range.data()), range.size()}, shape, type);
  }
  Tensor copy = Tensor::allocate(shape, type);
  if (!range.empty()) std::memcpy(copy.mutable_bytes(), range.data(), range.size());
  return copy;
}

void Blob::release(std::uint64_t offset, std::uint64_t length) const {
  if (file_) file_->release(offset, length);
}

}  // namespace velatura::weights

// The bytes of one weight file and who keeps them alive. Formats parse a Blob, so that tests and
// fuzzers hand them memory where the library hands them mapped files. Not here: what the bytes
// mean.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/mapped_file.h"
#include "tensor/tensor.h"

namespace velatura::weights {

/// Cheap to copy, immutable, thread-safe.
class Blob {
 public:
  /// Maps `path`; throws not_found / io / bad_file.
  static Blob map(const std::filesystem::path& path);
  static Blob of(std::vector<std::byte> bytes, std::string description);

  std::span<const std::byte> bytes() const { return bytes_; }
  std::uint64_t size() const { return bytes_.size(); }
  const std::string& description() const { return description_; }

  /// Little-endian integer at `offset`; throws bad_file with `what` when it lies beyond the end.
  template <typename T>
  T read(std::uint64_t offset, const char* what) const {
    const std::span<const std::byte> range = bytes_at(offset, sizeof(T), what);
    T value = 0;
    for (std::size_t i = 0; i < sizeof(T); ++i)
      value |= static_cast<T>(std::to_integer<T>(range[i]) << (8 * i));
    return value;
  }
  std::span<const std::byte> bytes_at(std::uint64_t offset, std::uint64_t length,
                                      const char* what) const;

  /// The elements at `offset`: a view when it is aligned to the element size, else a copy.
  Tensor tensor_at(std::uint64_t offset, const Shape& shape, DType type) const;
  /// Lets the pages of the range go where a file is mapped.
  void release(std::uint64_t offset, std::uint64_t length) const;

 private:
  std::shared_ptr<const MappedFile> file_;
  std::shared_ptr<void> owner_;
  std::span<const std::byte> bytes_;
  std::string description_;
};

}  // namespace velatura::weights

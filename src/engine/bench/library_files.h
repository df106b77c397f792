// A folder of adapter files as a collector has them, for measuring the library: real headers of
// four layouts with trainers' metadata, tensors of holes that take no disk.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

namespace velatura::engine::bench {

/// Writes adapters one by one. The same number gives the same file.
class AdapterFiles {
 public:
  AdapterFiles();
  ~AdapterFiles();
  AdapterFiles(const AdapterFiles&) = delete;
  AdapterFiles& operator=(const AdapterFiles&) = delete;

  /// Writes file `number` and gives the bytes of its header.
  std::uint64_t write(const std::filesystem::path& path, int number) const;

 private:
  struct Layout;
  std::unique_ptr<const Layout[]> layouts_;
};

}  // namespace velatura::engine::bench

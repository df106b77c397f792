// Where tensors come from: a file, a folder of shards, or another source under other names. Formats
// implement this.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "tensor/tensor.h"

namespace velatura::weights {

struct TensorInfo {
  std::string name;
  Shape shape;
  DType dtype = DType::f32;
};

/// Named tensors. Immutable after opening; thread-safe. Every file is hostile until checked:
/// opening validates offsets, lengths, overlaps and counts, so that load() only hands out views.
class Source {
 public:
  virtual ~Source() = default;
  /// In the file's order.
  virtual const std::vector<TensorInfo>& tensors() const = 0;
  /// A view into the mapped file where alignment allows, else a copy. Throws not_found with the
  /// name and the file.
  virtual Tensor load(std::string_view name) const = 0;
  /// The file's own key → value metadata (safetensors "__metadata__"; of pickles the numbers and
  /// texts beside the tensors, by their path: "name", "step").
  virtual const std::map<std::string, std::string>& metadata() const = 0;
  /// For messages: the path of the file or folder.
  virtual std::string description() const = 0;
  /// Lets go the pages behind `name` after its values were converted; harmless where nothing is
  /// mapped.
  virtual void release(std::string_view name) const = 0;

  const TensorInfo* find(
      std::string_view name) const;  ///< null when absent; O(1) after the first call
  /// Where `name` stands in tensors(). Throws internal when absent.
  std::size_t position_of(std::string_view name) const;

 private:
  mutable std::once_flag indexed_;
  mutable std::unordered_map<std::string_view, std::size_t> index_;
};

/// Opens a weight file by its content, not its extension: safetensors, torch pickle (zip or
/// legacy). A
/// `*.safetensors.index.json` opens its shards. Throws bad_file / unsupported / not_found.
std::shared_ptr<const Source> open_source(const std::filesystem::path& path);

}  // namespace velatura::weights

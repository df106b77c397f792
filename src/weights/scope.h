// A prefix in a source: what a module's constructor reads its tensors from, and the record of what
// was read.
#pragma once

#include <functional>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <string_view>

#include "weights/source.h"

namespace velatura::weights {

/// Cheap to copy; copies share the record of used names. Names in it are canonical (a MappedSource
/// translates).
class Scope {
 public:
  explicit Scope(std::shared_ptr<const Source> source, std::string prefix = "");

  Scope child(std::string_view name) const;  ///< prefix + name + "."
  const std::string& prefix() const { return prefix_; }
  /// The full canonical name of `name` here, e.g. "down_blocks.0.resnets.0.conv1".
  std::string path(std::string_view name) const { return prefix_ + std::string(name); }

  bool has(std::string_view name) const;
  /// The tensor, its shape checked. Throws mismatch naming file, tensor, expected and found shape;
  /// not_found.
  Tensor get(std::string_view name, const Shape& expected) const;
  Tensor get(std::string_view name) const;
  /// As get(), converted to f32 (biases, norms).
  Tensor get_f32(std::string_view name, const Shape& expected) const;

  /// Lets the file's pages behind `name` go; for whoever converted the values.
  std::function<void()> releaser(std::string_view name) const;

  const Source& source() const { return *source_; }
  std::shared_ptr<const Source> shared_source() const { return source_; }
  /// Names of the source that no get() asked for: reported by loaders, never silently dropped.
  std::vector<std::string> unused() const;

 private:
  std::shared_ptr<const Source> source_;
  std::shared_ptr<std::set<std::string, std::less<>>> used_;
  std::string prefix_;
};

}  // namespace velatura::weights

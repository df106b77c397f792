// From any spelling to a place on the model: one map, built from the model's own parameter names.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "lora/bind/placement.h"
#include "lora/dialects/dialect.h"

namespace velatura::lora {

class NameIndex {
 public:
  explicit NameIndex(std::span<const Component> components);
  struct Entry {
    std::shared_ptr<const Placement> placement;
    std::string_view dialect;
  };
  /// Null where the model has no such module. One trailing underscore, left by a converter in the
  /// wild, is forgiven.
  const Entry* find(std::string_view module) const;

  /// A whole parameter: what a file names that replaces one (lora-formats §2.0, rule 4).
  struct Parameter {
    Entry entry;
    bool is_bias = false;
  };
  /// By a parameter's own name in either naming ("….norm.query_norm.scale"), or a module's spelling
  /// and ".weight" or ".bias"; nullopt where the model has none.
  std::optional<Parameter> find_parameter(std::string_view tensor) const;

  /// The known spelling closest to `module`, for messages.
  std::string nearest(std::string_view module) const;

 private:
  void add(const Component& component, int index);
  void add_module(const ModuleNames& names, std::shared_ptr<const Placement> placement);
  void insert(std::string alias, Entry entry);
  std::unordered_map<std::string, Entry> entries_;
  std::unordered_map<std::string, Parameter> parameters_;  ///< those not called .weight or .bias
};

}  // namespace velatura::lora

// From any spelling to a place on the model: one map, built from the model's own parameter names.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
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
    /// Not empty: the model lacks this module of its family's, and why that is harmless. The
    /// placement then has no pieces.
    std::string_view absent{};
  };
  /// By AdapterFile::lookup_name(). Null where no model of the family has such a module. One
  /// trailing underscore, left by a converter in the wild, is forgiven.
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
  void add_places(const Component& component,
                  const std::vector<std::shared_ptr<const Placement>>& plain);
  void add_absent(const Component& component);
  void add_module(const ModuleNames& names, std::shared_ptr<const Placement> placement,
                  std::string_view absent = {});
  void add_parameter(weights::Part part, const std::string& name,
                     std::shared_ptr<const Placement> placement);
  void insert(std::string alias, Entry entry);
  /// Asked with views: a file may have a million names.
  struct Hash {
    using is_transparent = void;
    // Not noexcept: the library then keeps every hash beside its name, which most misses end at.
    std::size_t operator()(std::string_view text) const {
      return std::hash<std::string_view>()(text);
    }
  };
  template <typename Value>
  using Map = std::unordered_map<std::string, Value, Hash, std::equal_to<>>;
  Map<Entry> entries_;
  struct SortedNames {
    std::once_flag once;
    std::vector<std::string> names;
  };
  std::shared_ptr<SortedNames> sorted_ = std::make_shared<SortedNames>();  ///< for nearest()
  Map<Parameter> parameters_;  ///< those not called .weight or .bias
};

}  // namespace velatura::lora

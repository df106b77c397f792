// From any spelling to a layer of the loaded model: one map, built from the model's own parameter
// names.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "lora/dialects/dialect.h"
#include "nn/module_tree.h"
#include "weights/name_map.h"

namespace velatura::lora {

/// A part of the model that adapters can change. Holds no ownership; the model outlives what is
/// bound to it.
struct Component {
  std::string name;  ///< "unet", "te": as in reports
  ComponentKind kind = ComponentKind::denoiser;
  const nn::ModuleTree* tree = nullptr;
  weights::NameMap native;  ///< rows of the single-file naming; may be empty
};

struct Target {
  int component = 0;  ///< index into the components
  nn::LayerId layer = 0;
};

class NameIndex {
 public:
  explicit NameIndex(std::span<const Component> components);
  struct Entry {
    Target target;
    std::string_view dialect;
  };
  /// Null where the model has no such module. One trailing underscore, left by a converter in the
  /// wild, is forgiven.
  const Entry* find(std::string_view module) const;
  /// The known spelling closest to `module`, for messages.
  std::string nearest(std::string_view module) const;

 private:
  void add(const ModuleNames& names, Target target);
  std::unordered_map<std::string, Entry> entries_;
};

}  // namespace velatura::lora

// SD 1.5's layers at full size, from the embedded manifests: names and shapes without weights.
#pragma once

#include <memory>
#include <vector>

#include "lora/bind/names.h"
#include "nn/module_tree.h"

namespace velatura::testing {

/// What adapters bind to. All weights are views of one block of zeros, which takes no memory while
/// nobody reads it.
class Sd15Names {
 public:
  Sd15Names();
  const std::vector<lora::Component>& components() const { return components_; }
  const lora::NameIndex& names() const { return *names_; }

 private:
  nn::ModuleTree unet_, text_;
  std::vector<lora::Component> components_;
  std::unique_ptr<lora::NameIndex> names_;
};

}  // namespace velatura::testing

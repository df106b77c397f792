// The published models at full size as adapters see them, by their embedded lists of names: no
// weights.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "lora/bind/names.h"

namespace velatura::testing {

class FullSize {
 public:
  /// `family` is "sd15", "sdxl", "flux" or "zimage".
  explicit FullSize(std::string_view family);
  const std::vector<lora::Component>& components() const { return components_; }
  const lora::NameIndex& names() const { return *names_; }

 private:
  std::vector<lora::Component> components_;
  std::unique_ptr<lora::NameIndex> names_;
};

/// Built once a process.
const FullSize& full_size(const std::string& family);

/// The repository's root: where a test that is run by hand, from anywhere, finds its data.
std::string source_dir();

}  // namespace velatura::testing

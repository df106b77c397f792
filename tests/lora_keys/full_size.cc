#include "tests/lora_keys/full_size.h"

#include <cstdlib>
#include <filesystem>
#include <map>

#include "models/families.h"

namespace velatura::testing {

FullSize::FullSize(std::string_view family) {
  for (models::PartShape& part : models::full_size(family).parts) {
    components_.push_back(
        lora::component_of(part.component, part.part, part.parameters, std::move(part.native)));
  }
  names_ = std::make_unique<lora::NameIndex>(components_);
}

const FullSize& full_size(const std::string& family) {
  static std::map<std::string, FullSize> built;
  const auto found = built.find(family);
  return found != built.end() ? found->second : built.try_emplace(family, family).first->second;
}

std::string source_dir() {
  const char* dir = std::getenv("VELATURA_SOURCE_DIR");
  return dir != nullptr ? dir : std::filesystem::current_path().string();
}

}  // namespace velatura::testing

#include "lora/library/family_of.h"

#include <array>

#include "lora/bind/family.h"

namespace velatura::lora::library {

FamilyOf family_of(const AdapterFile& file) {
  struct Row {
    std::string_view name, id;
  };
  static constexpr auto kIds = std::to_array<Row>(
      {{"SD 1.x", "sd15"}, {"SDXL", "sdxl"}, {"FLUX.1", "flux"}, {"Z-Image", "zimage"}});
  OtherFamily found = detect_other_family(file, {}, NameIndex({}));
  for (const Row& row : kIds) {
    if (found.name == row.name) return {std::string(row.id), std::move(found.evidence)};
  }
  return {std::move(found.name), std::move(found.evidence)};
}

}  // namespace velatura::lora::library

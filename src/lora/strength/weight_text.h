// Small pieces of the texts that block weights are written in, for this folder alone.
#pragma once

#include <optional>
#include <span>
#include <string_view>
#include <vector>

namespace velatura::lora {

/// At every one of `separators`; never empty.
std::vector<std::string_view> split(std::string_view text, std::string_view separators);
/// A finite number, blanks and a leading '+' allowed.
std::optional<double> number_in(std::string_view text);

/// A preset that every version has. Of a UNet of another size the values are spread: the i-th of n
/// IN blocks with attention takes that of the ⌊6i/n⌋-th of SD1.5, and OUT of ⌊9i/n⌋.
struct BuiltInPreset {
  std::string_view name;
  std::string_view values;  ///< SD1.5's 17, FLUX.1's 61; one value: everywhere
};
std::span<const BuiltInPreset> built_in_presets();
/// By name, case aside; null where there is none.
const BuiltInPreset* find_built_in(std::string_view name);

}  // namespace velatura::lora

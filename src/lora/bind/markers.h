// Names that one family or kind of file alone has: tables that detection goes through. Patterns as
// pattern_of() makes them (traits.h).
#pragma once

#include <span>
#include <string_view>

namespace velatura::lora {

struct Marker {
  std::string_view part;  ///< within the pattern of a tensor's name
  std::string_view name;
};

/// Kinds of files that change no layers of a model by the algorithms that there are; the first
/// match in the table's order wins (lora-formats §1.15–1.17, §3.2).
std::span<const Marker> kind_markers();
/// Whole networks that are told by name where a file has no adapter's matrices at all.
std::span<const Marker> network_markers();
/// Families that are not ours, by name (lora-formats §3.3).
std::span<const Marker> family_markers();

/// Parts of the names of our families' denoisers.
std::span<const std::string_view> flux_parts();
std::span<const std::string_view> z_image_parts();
std::span<const std::string_view> unet_parts();

}  // namespace velatura::lora

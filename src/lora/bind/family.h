// Which other model an adapter was made for (lora-formats §3.3). Not here: binding.
#pragma once

#include <span>
#include <string>

#include "lora/adapter_file.h"
#include "lora/bind/names.h"

namespace velatura::lora {

struct OtherFamily {
  std::string name;      ///< "SDXL"; empty where the file fits the model or says nothing
  std::string evidence;  ///< the tensor that decides, with its shape where that is the point
};

/// By names that the model lacks and another family has, then by the width of the text that
/// cross-attention reads, where no such layer of the file fits the model.
OtherFamily detect_other_family(const AdapterFile& file, std::span<const Component> components,
                                const NameIndex& names);

/// The name of a layout without module names that no dialect reads; empty otherwise.
std::string_view nameless_layout(const AdapterFile& file);

}  // namespace velatura::lora

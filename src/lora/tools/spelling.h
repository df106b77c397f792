// How a module's name in a file is built: which prefix, and which of the model's namings behind it.
// What other programs' maps of names are told apart by (lora-formats §2.7).
#pragma once

#include <string_view>

#include "lora/tools/modules.h"

namespace velatura::lora::tools {

struct Spelling {
  std::string_view prefix;  ///< "lora_unet_", "transformer."; empty: the bare name
  /// What stands behind it: diffusers' or transformers' path, the single file's. Both where these
  /// are one; neither in a form of its own (processors, slices, numbers without names).
  bool is_canonical = false, is_native = false;
};

Spelling spelling_of(const ModuleView& module);

}  // namespace velatura::lora::tools

// The family of models that an adapter was made for, as the library names it. One thin function
// over bind's detection.
#pragma once

#include <string>

#include "lora/adapter_file.h"

namespace velatura::lora::library {

struct FamilyOf {
  std::string family;    ///< sd15, sdxl, flux, zimage, or another's name; empty: not known
  std::string evidence;  ///< the tensor that decides
};
FamilyOf family_of(const AdapterFile& file);

}  // namespace velatura::lora::library

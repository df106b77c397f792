// Numbers that a trainer wrote into a file's header, and what follows from them. Not here: the
// header as people read it (library/metadata.h).
#pragma once

#include <optional>
#include <string>

#include "lora/adapter_file.h"

namespace velatura::lora {

/// The header's finite number under `key`; nullopt where it is none.
std::optional<double> header_number(const AdapterFile& file, const std::string& key);

/// LoKr of two whole factors is applied at scale 1 whatever its alpha says: trainers that overrode
/// it are the rule, and store a number without meaning. A header whose own alpha is the stored one
/// and whose dim is another says that its trainer did not (lora-formats §1.5).
struct StatedScale {
  double dim = 0, alpha = 0;
  double strength() const { return alpha / dim; }
};
/// Of a module with two whole factors and `alpha`; nullopt where its header says nothing of the
/// kind.
std::optional<StatedScale> stated_scale(const AdapterFile& file, double alpha);

}  // namespace velatura::lora

// What is strange about an adapter file, though it may bind: broken values, modules without effect,
// suspicious scales, a header that says otherwise than the tensors (lora-formats §1.5, §3.5, §5).
// Not here: what binds (bind/), other programs (programs.h).
#pragma once

#include <span>
#include <string>
#include <vector>

#include "lora/bind/family.h"
#include "lora/tools/modules.h"
#include "lora/tools/values.h"

namespace velatura::lora::tools {

struct Finding {
  std::string code;        ///< stable: "not-finite", "dead-modules"
  bool is_warning = true;  ///< else worth knowing only
  std::string text;
  std::vector<std::string> names;  ///< tensors or modules that it is about; may be empty
};

struct FindingsInput {
  const AdapterFile& file;
  std::string_view family;  ///< the id that the names show; may be empty
  std::span<const ModuleView> modules;
  const std::vector<TensorValues>* values = nullptr;  ///< scan_values(); null: not looked at
};

/// In the order of their rules; warnings and others mixed. Reads single numbers, and the up
/// matrices of fused projections whose alpha is suspicious.
std::vector<Finding> find_oddities(const FindingsInput& input);

}  // namespace velatura::lora::tools

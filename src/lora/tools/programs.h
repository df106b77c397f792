// What other programs do with an adapter file, as far as their sources and reports tell
// (lora-formats §2.2 to §2.6, §5): which spellings they look up, which algorithms they compute,
// what they compute otherwise. A new program or rule is a row of programs.cc; every row says where
// it is from.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "lora/tools/modules.h"

namespace velatura::lora::tools {

enum class Effect {
  differs,  ///< applied, but otherwise than its trainer meant
  lost,     ///< the module is left out
  refused,  ///< the whole file is not loaded
};
std::string_view to_string(Effect effect);

struct ProgramRemark {
  Effect effect = Effect::lost;
  int modules = 0;  ///< that it is about
  std::string reason;
  std::string source;  ///< "ComfyUI issue 11487", "A1111 extensions-builtin/Lora/network_glora.py"
};

struct ProgramVerdict {
  std::string program;
  bool is_refused = false;
  int loaded = 0, lost = 0;  ///< modules that Velatura uses; 0 loaded where refused
  std::vector<ProgramRemark> remarks;
  /// "loads all", "loads all; 12 modules otherwise", "loses 24 of 192 modules", "refuses it"
  std::string summary() const;
};

/// One for each program, in the order of the table. Modules that Velatura itself leaves out are not
/// counted.
std::vector<ProgramVerdict> judge_programs(const AdapterFile& file, std::string_view family,
                                           std::span<const ModuleView> modules);

}  // namespace velatura::lora::tools

// The tables behind programs.h: data, with its sources.
#pragma once

#include <span>
#include <string_view>

#include "lora/tools/programs.h"
#include "lora/tools/spelling.h"

namespace velatura::lora::tools {

inline constexpr unsigned kSd15 = 1, kSdxl = 2, kFlux = 4, kZImage = 8;
inline constexpr unsigned kUNets = kSd15 | kSdxl, kAllFamilies = 15;
inline constexpr unsigned kCanonical = 1, kNative = 2, kEither = 3, kAnyForm = 7;

/// A form of names that a program looks up.
struct SpellingRow {
  unsigned families;
  bool is_text;
  std::string_view prefix;
  unsigned namings;
};

/// A kind that a program lacks or computes otherwise.
struct KindRow {
  std::string_view kind;
  Effect effect;
  std::string_view reason;
  std::string_view source;
};

/// About the whole file.
struct FileFacts {
  bool is_kohya_alone = false;  ///< every module begins lora_unet_, lora_te_, lora_te1_, lora_te2_
  bool has_flat_canonical = false, has_flat_native = false;  ///< behind lora_unet_
  bool has_outer_scale = false;  ///< scaling stands in a configuration, not in tensors
  bool is_mixed_without_alpha = false;
};

struct Asked {
  const ModuleView& module;
  const Spelling& spelling;
  const FileFacts& facts;
};

/// What else a program does with single modules.
struct RuleRow {
  unsigned families;
  bool (*applies)(const Asked& asked);
  Effect effect;
  std::string_view reason;
  std::string_view source;
};

struct Program {
  std::string_view name;
  unsigned families;        ///< whose models it runs
  std::string_view source;  ///< of its map of names
  std::span<const SpellingRow> spellings;
  std::span<const KindRow> kinds;
  std::span<const RuleRow> rules;
  int most_unknown_keys = 0;  ///< beyond which it refuses a file; 0: no such bound
};
std::span<const Program> programs();

/// Reports of names that are not found.
struct LossRow {
  std::string_view map;  ///< Program::source: Forge has ComfyUI's
  unsigned families;
  std::string_view prefix;
  bool split_only;  ///< only names of parts of a fused projection
  std::string_view reason;
  std::string_view source;
};
std::span<const LossRow> known_losses();

}  // namespace velatura::lora::tools

// Adapter tags in prompts, <lora:name:te:unet> and its kin (web UIs' modules/extra_networks.py and
// extensions-builtin/Lora/extra_networks_lora.py), the <trigger> marker, and comments. Not here:
// what stands behind a name (adapter_items.h), emphasis (attention.h).
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "velatura/request.h"

namespace velatura::pipelines::prompt {

/// One <lora:…> or <lyco:…>, which mean the same.
struct AdapterTag {
  LoraRequest lora;
  std::string text;  ///< as written, for messages
};

struct TaggedPrompt {
  std::string prompt;                ///< without comments and tags; a <trigger> marker stays
  std::vector<AdapterTag> adapters;  ///< in the order written; the same name twice adds up
  bool has_trigger = false;
};

/// Takes comments and tags out of `prompt`. Throws invalid_argument for a malformed number, an item
/// or name that is not known, an empty name or a tag that is not closed, unsupported for
/// <hypernet:…> and for <word:…> of an unknown word: a tag never goes by in silence.
TaggedPrompt read_tags(std::string_view prompt, LoraOrder order = LoraOrder::text_first);

/// `text` without comments, from a '#' to the end of its line (A1111's processing_scripts/
/// comments.py).
std::string strip_comments(std::string_view text);

/// `prompt` with each <trigger> replaced by `words`, joined by ", ".
std::string insert_triggers(std::string_view prompt, std::span<const std::string> words);

}  // namespace velatura::pipelines::prompt

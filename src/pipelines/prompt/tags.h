// Adapter tags in prompts, <lora:name:te:unet> and its kin (web UIs' modules/extra_networks.py and
// extensions-builtin/Lora/extra_networks_lora.py), and the <trigger> marker. Not here: what a name
// resolves to and what a strength does (lora), emphasis (attention.h).
#pragma once

#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace velatura::pipelines::prompt {

/// One <lora:…> or <lyco:…>, which mean the same. Strengths are any finite numbers; absent ones are
/// the adapter's recommended weight, else 1.
struct AdapterTag {
  std::string name;
  std::optional<double> text_encoder;  ///< first number or te=
  std::optional<double>
      denoiser;  ///< second number or unet=; equal to text_encoder when only that was given
  std::optional<int> dynamic_rank;  ///< third number or dyn=: use the first ranks only; at least 1
  /// Items this reader knows no meaning for, by lower-case name: lbw, lbwe, start, stop, step, hr,
  /// x …; a list of points strength@position in place of the strength is "schedule", a preset or
  /// list in place of the second number "lbw". Whoever uses the tag applies them or refuses them by
  /// name.
  std::map<std::string, std::string> other;
  std::string text;  ///< as written, for messages
};

struct TaggedPrompt {
  std::string prompt;                ///< without the tags; a <trigger> marker stays
  std::vector<AdapterTag> adapters;  ///< in the order written; the same name twice adds up
  bool has_trigger = false;
};

/// Takes the tags out of `prompt`. module=unet gives the text encoder strength 0, module=te the
/// denoiser. Throws invalid_argument for a malformed number, an empty name or a tag that is not
/// closed, unsupported for <hypernet:…> and for <word:…> of an unknown word: a tag never goes by in
/// silence.
TaggedPrompt read_tags(std::string_view prompt);

/// `prompt` with each <trigger> replaced by `words`, joined by ", ".
std::string insert_triggers(std::string_view prompt, std::span<const std::string> words);

}  // namespace velatura::pipelines::prompt

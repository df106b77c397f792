// The text web UIs store under `parameters`: writing it so that they read it back, reading theirs.
// Source: AUTOMATIC1111 stable-diffusion-webui 1.10.1, modules/infotext_utils.py and
// processing.create_infotext. Not here: which fields a request has (pipelines), other programs'
// JSON.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace velatura::image {

/// prompt ⏎ `Negative prompt: …` ⏎ `Steps: 20, Sampler: Euler a, …`. All UTF-8.
struct Infotext {
  std::string prompt;
  std::string negative;
  std::vector<std::pair<std::string, std::string>> fields;  ///< in order, values unquoted

  /// The value of the last field called `key` (a repeated key counts last, as in web UIs), or
  /// nullptr.
  const std::string* find(std::string_view key) const;
  bool operator==(const Infotext&) const = default;
};

/// The negative line is left out when it is empty. A value with `,` `:` or a line break becomes a
/// JSON string, as web UIs do; so do values they would read back changed (empty, outer blanks, a
/// leading quote). Reading gives the same Infotext back when there are at least three fields (fewer
/// are not recognised, in web UIs neither), the prompts have no outer white space, and no line of
/// the prompt begins with "Negative prompt:". A key is letters, digits, `_`, blanks, `-` and `/`,
/// at least two.
std::string write_infotext(const Infotext& infotext);

/// Never fails: text without a field line is all prompt. Lines keep their inner white space, \r\n
/// counts as a line break, and both prompts lose outer white space. Beyond the web UI's reader, a
/// value that is a JSON list or object is taken whole.
Infotext parse_infotext(std::string_view text);

/// "512x768" → {512, 768}.
std::optional<std::pair<int, int>> parse_size(std::string_view text);

/// The value of `Lora hashes`: "name: hash, name: hash".
std::string join_hashes(const std::vector<std::pair<std::string, std::string>>& hashes);
/// Entries without a hash are dropped.
std::vector<std::pair<std::string, std::string>> split_hashes(std::string_view text);

}  // namespace velatura::image

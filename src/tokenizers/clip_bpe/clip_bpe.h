// CLIP's byte-pair tokenizer (openai/CLIP simple_tokenizer.py), as the "fast" CLIPTokenizer of
// transformers 4.57 reads text: normal form C, white space runs to one space, lower case, CLIP's
// word pattern, bytes, merges by rank. Not here: prompt syntax, chunks of 77, padding
// (pipelines/prompt).
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace velatura::tokenizers {

/// A cheap handle on an immutable tokenizer; every call is const and thread-safe.
class ClipBpe {
 public:
  /// CLIP's own vocabulary, which every SD and SDXL model uses. Parses the embedded merge list:
  /// some 20 ms, so keep it.
  static ClipBpe embedded();

  /// From a diffusers folder's `tokenizer` folder: merges.txt, and vocab.json where it stands
  /// beside (some toy models number their tokens otherwise). Throws not_found and bad_file.
  static ClipBpe from_folder(const std::filesystem::path& folder);

  /// From the text of a merges.txt; `vocabulary` is the text of a vocab.json, empty for the
  /// numbering that follows from the merges; `origin` names them in messages. Throws bad_file.
  ClipBpe(std::string_view merges, std::string_view vocabulary, std::string_view origin);

  /// Token ids of `text` without begin and end marks. Any bytes are allowed: ill-formed UTF-8 reads
  /// as U+FFFD.
  /// `<|startoftext|>` and `<|endoftext|>` written out are those tokens, as in the reference.
  /// Time grows as n log n with the length of a word.
  std::vector<std::int32_t> encode(std::string_view text) const;

  std::int32_t bos() const;             ///< <|startoftext|>
  std::int32_t eos() const;             ///< <|endoftext|>, which also pads
  std::size_t vocabulary_size() const;  ///< one more than the highest id

  /// What tokens read as, for messages: the bytes, a space behind each word. Unknown ids read as
  /// nothing.
  std::string decode(std::span<const std::int32_t> ids) const;

 private:
  struct State;
  std::shared_ptr<const State> state_;
};

}  // namespace velatura::tokenizers

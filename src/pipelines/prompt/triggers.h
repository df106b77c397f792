// Finding embeddings in text: turns a fragment of a prompt into units, each a token or a whole
// embedding.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tokenizers/clip_bpe/clip_bpe.h"

namespace velatura::pipelines::prompt {

/// What takes room in a prompt: one token, or an embedding by its index, which takes as many places
/// as it has vectors.
struct Unit {
  std::int32_t token = 0;
  std::optional<std::size_t> embedding;
};

/// Knows the words that stand for embeddings; immutable, thread-safe. Three ways to write one:
///   name            where the token ids of a trigger stand in those of the text, the longest first
///   (A1111's
///                   find_embedding_at_position: whole words, upper and lower case alike)
///   <token>         a trigger in angle brackets is cut out of the text before tokenizing
///   (diffusers' added tokens) embedding:name  by any trigger, a file extension may follow
///   (ComfyUI)
class TriggerIndex {
 public:
  /// `triggers[i]` stand for embedding i; of equal ones the first counts. Keeps `tokenizer` (a
  /// handle).
  TriggerIndex(tokenizers::ClipBpe tokenizer, std::span<const std::vector<std::string>> triggers);

  /// Throws not_found with the nearest names for embedding:name of an unknown name.
  std::vector<Unit> read(std::string_view text) const;

 private:
  struct Match {
    std::size_t embedding;
    std::size_t end;
  };
  std::optional<Match> bracketed_at(std::string_view folded, std::size_t at) const;
  std::optional<Match> named_at(std::string_view folded, std::size_t at) const;
  void read_plain(std::string_view text, std::vector<Unit>& units) const;

  tokenizers::ClipBpe tokenizer_;
  std::vector<std::string> names_;  // as given, for messages
  std::vector<std::pair<std::string, std::size_t>>
      words_;  // folded trigger → embedding, longest first
  std::map<std::int32_t, std::vector<std::pair<std::vector<std::int32_t>, std::size_t>>>
      by_first_token_;
};

}  // namespace velatura::pipelines::prompt

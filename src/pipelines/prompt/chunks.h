// Prompts as the text encoder takes them: chunks of a fixed number of tokens with a weight each,
// and places where an embedding's vectors stand. Not here: the text encoder (models/clip) and what
// weights do to its output (emphasis.h).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "pipelines/prompt/attention.h"
#include "pipelines/prompt/textual_inversion.h"
#include "tokenizers/clip_bpe/clip_bpe.h"

namespace velatura::pipelines::prompt {

/// One vector in place of a token: row `row` of embedding `embedding` stands at `position` of its
/// chunk.
struct Fix {
  std::size_t position = 0;   ///< index into Chunk::ids; the begin mark is 0
  std::size_t embedding = 0;  ///< index into the embeddings given to tokenize_prompt
  std::int64_t row = 0;
  bool operator==(const Fix&) const = default;
};

/// Begin mark, tokens, end mark, then end marks as padding; ids and weights have context_length
/// entries. Ids under a fix are 0.
struct Chunk {
  std::vector<std::int32_t> ids;
  std::vector<float> weights;  ///< 1 for marks and padding
  std::vector<Fix> fixes;      ///< by position
};

/// Never without a chunk: the empty prompt is one of marks alone.
struct TokenizedPrompt {
  std::vector<Chunk> chunks;

  bool is_weighted() const;  ///< any weight differs from 1
};

enum class PromptReading {
  web_ui,  ///< emphasis, BREAK, as many chunks as needed (A1111's sd_hijack_clip.py)
  raw,     ///< plain text, one chunk, what does not fit is cut (diffusers, transformers)
};

struct PromptOptions {
  PromptReading reading = PromptReading::web_ui;
  std::size_t context_length = 77;  ///< positions of the text encoder, marks included; at least 3
  /// A chunk that overflows at most this many tokens after its last comma breaks there; 0 never
  /// (web UIs' default).
  std::size_t comma_backtrack = 20;
};

/// The stretches of equal weight in `text`; the raw reading is one of weight 1.
std::vector<Fragment> read_fragments(std::string_view text, PromptReading reading);

/// `text` without adapter tags (tags.h). In both readings embeddings stand where their triggers do
/// (triggers.h); each is kept whole in one chunk (raw: or cut at the end). Throws mismatch when an
/// embedding has more vectors than a chunk has room, not_found for embedding:name that is none of
/// `embeddings`, invalid_argument for weights that are not finite.
TokenizedPrompt tokenize_prompt(std::string_view text, const tokenizers::ClipBpe& tokenizer,
                                std::span<const Embedding> embeddings = {},
                                const PromptOptions& options = {});

/// Appends empty chunks until there are `count`: prompt and negative must be of equal length, as in
/// web UIs.
void fill_with_empty_chunks(TokenizedPrompt& prompt, std::size_t count,
                            const tokenizers::ClipBpe& tokenizer,
                            const PromptOptions& options = {});

}  // namespace velatura::pipelines::prompt

#include "pipelines/prompt/chunks.h"

#include <algorithm>
#include <optional>

#include "base/error.h"
#include "pipelines/prompt/triggers.h"

namespace velatura::pipelines::prompt {
namespace {

/// A place in a chunk under construction.
struct Slot {
  std::int32_t id = 0;
  float weight = 1.0f;
  std::optional<Fix> fix;  // its position is set when the chunk is sealed
};

/// Cuts a stream of units into chunks: tokenize_line of A1111's sd_hijack_clip.py, but that slots
/// moved to the next chunk take their embedding vectors along (there they stay behind).
class Chunker {
 public:
  Chunker(const tokenizers::ClipBpe& tokenizer, std::span<const Embedding> embeddings,
          const PromptOptions& options)
      : embeddings_(embeddings),
        bos_(tokenizer.bos()),
        eos_(tokenizer.eos()),
        room_(options.context_length - 2),
        backtrack_(options.comma_backtrack) {
    const std::vector<std::int32_t> comma = tokenizer.encode(",");
    if (comma.size() == 1) comma_ = comma[0];
  }

  void add(const Unit& unit, float weight) {
    if (unit.embedding) return add_embedding(*unit.embedding, weight);
    if (unit.token == comma_) {
      last_comma_ = slots_.size();
    } else {
      break_at_comma();
    }
    if (slots_.size() == room_) seal();
    push(unit, weight, 0);
  }

  void seal() {
    Chunk chunk;
    chunk.ids.push_back(bos_);
    chunk.weights.push_back(1.0f);
    for (Slot& slot : slots_) {
      if (slot.fix) {
        slot.fix->position = chunk.ids.size();
        chunk.fixes.push_back(*slot.fix);
      }
      chunk.ids.push_back(slot.id);
      chunk.weights.push_back(slot.weight);
    }
    chunk.ids.resize(room_ + 2, eos_);
    chunk.weights.resize(room_ + 2, 1.0f);
    chunks_.push_back(std::move(chunk));
    slots_.clear();
    last_comma_.reset();
  }

  std::vector<Chunk> finish() {
    if (!slots_.empty() || chunks_.empty()) seal();
    return std::move(chunks_);
  }

  /// For the raw reading: what the first chunk has no room for is cut.
  void add_cut(const Unit& unit) {
    const std::int64_t rows = unit.embedding ? embeddings_[*unit.embedding].vectors.size(0) : 1;
    for (std::int64_t row = 0; row < rows && slots_.size() < room_; ++row) push(unit, 1.0f, row);
  }

 private:
  void push(const Unit& unit, float weight, std::int64_t row) {
    std::optional<Fix> fix;
    if (unit.embedding) fix = Fix{.position = 0, .embedding = *unit.embedding, .row = row};
    slots_.push_back({.id = unit.token, .weight = weight, .fix = fix});
  }

  void add_embedding(std::size_t index, float weight) {
    const Embedding& embedding = embeddings_[index];
    const std::int64_t rows = embedding.vectors.size(0);
    if (rows > static_cast<std::int64_t>(room_)) {
      fail(ErrorKind::mismatch,
           "{}: the embedding has {} vectors, a prompt's chunk has room for {}", embedding.origin,
           rows, room_);
    }
    break_at_comma();
    if (slots_.size() + static_cast<std::size_t>(rows) > room_) seal();
    for (std::int64_t row = 0; row < rows; ++row) push({.embedding = index}, weight, row);
  }

  /// In a full chunk with a comma near its end, moves what follows the comma to the next chunk.
  void break_at_comma() {
    if (slots_.size() != room_ || !last_comma_ || backtrack_ == 0 ||
        room_ - *last_comma_ > backtrack_)
      return;
    const auto begin = slots_.begin() + static_cast<std::ptrdiff_t>(*last_comma_ + 1);
    std::vector<Slot> moved(begin, slots_.end());
    slots_.erase(begin, slots_.end());
    seal();
    slots_ = std::move(moved);
  }

  std::span<const Embedding> embeddings_;
  std::int32_t bos_, eos_;
  std::size_t room_, backtrack_;
  std::optional<std::int32_t> comma_;
  std::optional<std::size_t> last_comma_;  // index in slots_
  std::vector<Slot> slots_;
  std::vector<Chunk> chunks_;
};

void check(const PromptOptions& options) {
  if (options.context_length < 3) {
    fail(ErrorKind::invalid_argument,
         "a text encoder of {} positions has no room for a token between its marks",
         options.context_length);
  }
}

}  // namespace

bool TokenizedPrompt::is_weighted() const {
  return std::any_of(chunks.begin(), chunks.end(), [](const Chunk& chunk) {
    return std::any_of(chunk.weights.begin(), chunk.weights.end(),
                       [](float weight) { return weight != 1.0f; });
  });
}

std::vector<Fragment> read_fragments(std::string_view text, PromptReading reading) {
  if (reading == PromptReading::web_ui) return parse_attention(text);
  return {Fragment{.text = std::string(text), .weight = 1.0}};
}

TokenizedPrompt tokenize_prompt(std::string_view text, const tokenizers::ClipBpe& tokenizer,
                                std::span<const Embedding> embeddings,
                                const PromptOptions& options) {
  check(options);
  std::vector<std::vector<std::string>> triggers;
  for (const Embedding& embedding : embeddings) triggers.push_back(embedding.triggers);
  const TriggerIndex index(tokenizer, triggers);
  Chunker chunker(tokenizer, embeddings, options);

  for (const Fragment& fragment : read_fragments(text, options.reading)) {
    if (options.reading == PromptReading::raw) {
      for (const Unit& unit : index.read(fragment.text)) chunker.add_cut(unit);
    } else if (fragment.is_break()) {
      chunker.seal();
    } else {
      for (const Unit& unit : index.read(fragment.text))
        chunker.add(unit, static_cast<float>(fragment.weight));
    }
  }
  return {chunker.finish()};
}

void fill_with_empty_chunks(TokenizedPrompt& prompt, std::size_t count,
                            const tokenizers::ClipBpe& tokenizer, const PromptOptions& options) {
  check(options);
  Chunk empty{.ids = {tokenizer.bos()},
              .weights = std::vector<float>(options.context_length, 1.0f),
              .fixes = {}};
  empty.ids.resize(options.context_length, tokenizer.eos());
  while (prompt.chunks.size() < count) prompt.chunks.push_back(empty);
}

}  // namespace velatura::pipelines::prompt

#include "pipelines/conditioning.h"

#include <algorithm>

#include "base/error.h"
#include "pipelines/prompt/emphasis.h"

namespace velatura::pipelines {

namespace {

Tensor encode(nn::Run& run, const DiffusionModel& model, const prompt::TokenizedPrompt& text,
              const TextRequest& request) {
  const auto chunks = static_cast<std::int64_t>(text.chunks.size());
  const auto length = static_cast<std::int64_t>(text.chunks.front().ids.size());
  Tensor ids = Tensor::allocate({chunks, length}, DType::i64);
  std::vector<models::clip::InjectedVectors> injected;
  for (std::int64_t chunk = 0; chunk < chunks; ++chunk) {
    const prompt::Chunk& from = text.chunks[static_cast<std::size_t>(chunk)];
    std::ranges::copy(from.ids, ids.mutable_data<std::int64_t>() + chunk * length);
    for (const prompt::Fix& fix : from.fixes) {
      injected.push_back(
          {.sequence = chunk,
           .position = static_cast<std::int64_t>(fix.position),
           .vectors = request.embeddings[fix.embedding].vectors.slice(fix.row, fix.row + 1)});
    }
  }
  Tensor hidden = (*model.text_encoder)
                      ->forward(run, {.ids = ids, .injected = injected}, request.clip_skip - 1);
  prompt::apply_emphasis(hidden, text.chunks);
  return hidden.reshaped({1, chunks * length, hidden.size(2)});
}

}  // namespace

Conditioning encode_text(nn::Run& run, const DiffusionModel& model, const TextRequest& request) {
  const models::clip::ClipTextConfig& config = (*model.text_encoder)->config();
  if (request.clip_skip < 1 || request.clip_skip > config.layers) {
    fail(ErrorKind::invalid_argument,
         "--clip-skip {}: the text encoder has {} layers; 1 to {} are possible", request.clip_skip,
         config.layers, config.layers);
  }
  const prompt::PromptOptions options{.reading = request.reading,
                                      .context_length = static_cast<std::size_t>(config.positions)};
  auto positive =
      prompt::tokenize_prompt(request.prompt, model.tokenizer, request.embeddings, options);
  auto negative =
      prompt::tokenize_prompt(request.negative, model.tokenizer, request.embeddings, options);
  const std::size_t chunks = std::max(positive.chunks.size(), negative.chunks.size());
  prompt::fill_with_empty_chunks(positive, chunks, model.tokenizer, options);
  prompt::fill_with_empty_chunks(negative, chunks, model.tokenizer, options);
  return {.positive = encode(run, model, positive, request),
          .negative = encode(run, model, negative, request)};
}

}  // namespace velatura::pipelines

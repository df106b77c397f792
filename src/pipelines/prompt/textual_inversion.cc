#include "pipelines/prompt/textual_inversion.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace velatura::pipelines::prompt {
namespace {

using weights::Source;
using weights::TensorInfo;

constexpr std::string_view kA1111 = "string_to_param.";

/// The widths of published text encoders, so that a message can say what an embedding was made for.
struct KnownWidth {
  std::int64_t width;
  std::string_view model;
};
constexpr KnownWidth kKnownWidths[] = {
    {768, " (CLIP-L: SD 1.x)"}, {1024, " (OpenCLIP-H: SD 2.x)"}, {1280, " (OpenCLIP-bigG: SDXL)"}};

std::string_view model_of(std::int64_t width) {
  for (const KnownWidth& known : kKnownWidths) {
    if (known.width == width) return known.model;
  }
  return "";
}

/// One tensor of the file that is an embedding; `token` is the file's own name for it, empty where
/// it has none.
struct Part {
  const TensorInfo* tensor;
  std::string token;
};

bool is_token(std::string_view name) {
  return name.size() > 2 && name.front() == '<' && name.back() == '>';
}

std::vector<Part> recognise(const Source& source) {
  const auto& tensors = source.tensors();
  std::vector<Part> a1111, tokens;
  for (const TensorInfo& tensor : tensors) {
    if (tensor.name.starts_with(kA1111)) a1111.push_back({&tensor, ""});
    if (is_token(tensor.name)) tokens.push_back({&tensor, tensor.name});
  }
  if (a1111.size() == 1) return a1111;
  if (a1111.size() > 1) {
    fail(ErrorKind::unsupported, "{}: {} embeddings under string_to_param where one is expected",
         source.description(), a1111.size());
  }
  if (const TensorInfo* found = source.find("emb_params")) return {{found, ""}};
  if (const TensorInfo* second = source.find("clip_g")) {
    fail(ErrorKind::mismatch,
         "{}: an SDXL embedding (clip_g {} beside clip_l); this model has one text encoder and no "
         "place for clip_g",
         source.description(), second->shape.to_string());
  }
  if (const TensorInfo* found = source.find("clip_l")) return {{found, ""}};
  if (!tokens.empty() && tokens.size() == tensors.size()) return tokens;
  if (tensors.size() == 1) return {{&tensors[0], tensors[0].name}};
  fail(ErrorKind::unsupported,
       "{}: not a textual-inversion embedding: {} tensors{}{}; expected string_to_param, "
       "emb_params or <token>",
       source.description(), tensors.size(), tensors.empty() ? "" : ", the first ",
       tensors.empty() ? "" : tensors[0].name);
}

Tensor load_vectors(const Source& source, const TensorInfo& tensor, std::int64_t width) {
  const Shape& shape = tensor.shape;
  if (!is_floating(tensor.dtype) || shape.rank() < 1 || shape.rank() > 2 || shape.count() == 0) {
    fail(ErrorKind::bad_file,
         "{}: '{}' is {} of {}, an embedding is [vectors, width] of a floating type",
         source.description(), tensor.name, shape.to_string(), to_string(tensor.dtype));
  }
  if (shape[-1] != width) {
    fail(ErrorKind::mismatch,
         "{}: the embedding is {} wide{}, the text encoder takes {}{}; use one that was made for "
         "this family",
         source.description(), shape[-1], model_of(shape[-1]), width, model_of(width));
  }
  const Tensor vectors = to_f32(source.load(tensor.name)).reshaped({shape.count() / width, width});
  const auto values = vectors.floats();
  if (!std::all_of(values.begin(), values.end(),
                   [](float value) { return std::isfinite(value); })) {
    fail(ErrorKind::bad_file, "{}: '{}' holds values that are not finite", source.description(),
         tensor.name);
  }
  return vectors;
}

}  // namespace

std::vector<Embedding> read_embeddings(const Source& source, const EmbeddingRequest& request) {
  const std::vector<Part> parts = recognise(source);
  if (request.token && parts.size() > 1) {
    fail(ErrorKind::invalid_argument,
         "{}: holds {} embeddings, so one token '{}' cannot stand for it", source.description(),
         parts.size(), *request.token);
  }
  std::vector<Embedding> embeddings;
  for (const Part& part : parts) {
    Embedding embedding{.triggers = {},
                        .vectors = load_vectors(source, *part.tensor, request.width),
                        .origin = source.description()};
    if (request.token) {
      embedding.triggers.push_back(*request.token);
    } else {
      if (parts.size() == 1) embedding.triggers.push_back(request.stem);
      if (is_token(part.token)) embedding.triggers.push_back(part.token);
    }
    embeddings.push_back(std::move(embedding));
  }
  return embeddings;
}

}  // namespace velatura::pipelines::prompt

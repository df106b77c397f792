// A picture's request as the text that web UIs read, and back (behaviour.md §14). Not here: PNG
// chunks (image/codec.h), the exact request as JSON (velatura/request_fields.h).
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "image/infotext.h"
#include "velatura/request.h"

namespace velatura::pipelines {

/// What became of the request's open ends: everything that the text states and the request leaves
/// to the model.
struct GenerationFacts {
  std::uint64_t seed = 0;
  int width = 0, height = 0;            ///< of the finished picture
  int base_width = 0, base_height = 0;  ///< of the sampled picture, before upscaling
  double cfg = 0;
  std::string model_name, model_hash;  ///< hash: AutoV2, 10 digits
  std::string vae_name;                ///< where another codec was used
  std::string upscaler;                ///< stem, where one was used
  struct Lora {
    LoraRequest lora;  ///< settled: name, weights and all else are given
    std::string hash;  ///< AutoV3, 12 digits
  };
  std::vector<Lora> loras;
  bool changed_live = false;  ///< strengths were moved while the picture was made
  std::string prompt;         ///< without adapter tags
  std::string version;
};

/// Prompt with a tag for each adapter, then the fields web UIs know.
image::Infotext write_generation(const GenerateRequest& request, const GenerationFacts& facts);

/// What a web UI's text tells of a request; adapters stay as tags in the prompt. `model_hash` and
/// `lora_hashes` let files be found that were renamed.
struct ReadGeneration {
  GenerateRequest request;
  std::string model_hash;
  std::vector<std::pair<std::string, std::string>> lora_hashes;  ///< name → AutoV3
};
ReadGeneration read_generation(const image::Infotext& text);

/// "dpmpp_2m" ↔ "DPM++ 2M"; names without a label pass unchanged.
std::string sampler_label(std::string_view sampler);
std::string schedule_label(std::string_view schedule);

}  // namespace velatura::pipelines

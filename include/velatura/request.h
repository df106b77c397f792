// What to draw: one value struct. The table of its fields, from which command-line flags, JSON and
// documentation derive, is request_fields.h.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace velatura {

/// An adapter by name or path. An absent weight means the file's recommended weight, else 1; an
/// absent text weight equals the weight.
struct LoraRequest {
  std::string name;
  std::optional<double> weight;       ///< strength on the denoiser
  std::optional<double> text_weight;  ///< strength on the text encoder
};

/// A textual inversion: a path, and the word that calls it (absent: the file's own name for it).
struct EmbeddingRequest {
  std::filesystem::path path;
  std::optional<std::string> token;
};

enum class LoraMode { live, fused };

/// Everything that decides the picture. Zero and empty mean "the model's own" where noted.
struct GenerateRequest {
  std::string model;             ///< name or path; empty: the demonstration model
  std::filesystem::path config;  ///< folder with configuration files for a single-file model
  std::filesystem::path vae;     ///< another picture codec, full or tiny; empty: the model's
  std::string prompt;
  std::string negative;
  int width = 0, height = 0;  ///< pixels; 0: the model's size (512, the demo 64)
  int steps = 20;
  std::optional<double>
      cfg;  ///< guidance scale; absent: the model's (7, the demo 4); 1: no guidance
  double guidance_rescale = 0;  ///< Lin et al. 2023, 0…1
  std::optional<std::uint64_t>
      seed;       ///< absent: drawn at random and reported; picture i has seed + i
  int batch = 1;  ///< pictures at once
  int count = 1;  ///< batches one after another
  std::string sampler = "euler";
  std::string schedule = "automatic";
  std::string prediction = "auto";  ///< auto, epsilon, v
  int clip_skip = 1;                ///< as web UIs count: 1 none, 2 the layer before the last
  std::vector<LoraRequest> loras;
  LoraMode lora_mode = LoraMode::live;
  std::vector<EmbeddingRequest> embeddings;
  std::filesystem::path init;  ///< picture to start from; empty: noise alone
  double strength = 0.75;      ///< share of the steps that run on an init picture, (0, 1]
  std::string
      upscale;  ///< upscaler name or path; empty: the model's (the demo has one), "none": none
  /// Of each batch keep only this picture, counted from 0: repeats one picture of a batch bit for
  /// bit.
  std::optional<int> pick;
  bool raw_prompt = false;  ///< read the prompt as plain text: no weights, no tags, 77 tokens
};

}  // namespace velatura

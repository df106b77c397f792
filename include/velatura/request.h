// What to draw: one value struct. The table of its fields, from which command-line flags, JSON and
// documentation derive, is request_fields.h.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace velatura {

/// A strength over a run: straight lines between the points, constant before the first and behind
/// the last.
struct LoraCurve {
  struct Point {
    double at = 0;
    double strength = 1;
    bool operator==(const Point&) const = default;
  };
  /// Whether `at` is a noise level; else it is a share of the run: 0 its first step, 1 its last.
  bool by_sigma = false;
  std::vector<Point> points;  ///< ascending, no two at one place; empty: no curve
  bool operator==(const LoraCurve&) const = default;
};

/// An adapter by name or path, and how strongly it acts where and when. Any finite strength is
/// legal. What the texts mean is told in docs/reference/command-line.md.
struct LoraRequest {
  std::string name;
  /// On the denoiser. Absent: the file's recommended weight, else 1.
  std::optional<double> weight;
  /// In place of `weight`, the denoiser's strength as the run goes on.
  LoraCurve curve;
  /// On every text encoder. Absent: as `weight`, or the point of the curve that is farthest from 0:
  /// text is encoded once for the whole run.
  std::optional<double> text_weight;
  /// An absent text_weight is the recommended weight instead.
  bool text_as_recommended = false;
  /// On the first and the second text encoder, over text_weight.
  std::array<std::optional<double>, 2> encoder_weights;
  std::string blocks;            ///< block weights: a preset, a list, patterns ("lbw="); empty: 1
  std::string elements;          ///< elemental rules over them ("lbwe=")
  std::optional<double> x;       ///< what X stands for in `blocks`
  int first_step = 1;            ///< the denoiser feels it from this step of the sampler on, from 1
  std::optional<int> last_step;  ///< and up to this one
  int ranks = 0;                 ///< only the first so many ranks; 0: all
  std::string second_pass;  ///< strength or curve in a second pass ("hr="); empty: as the first
  /// Picture that says where on the picture it acts, stretched over it: by its transparency where
  /// it has any, else by its brightness (white 1, black 0). Empty: everywhere.
  std::filesystem::path mask;
  double feather = 0;  ///< the mask's edges are softened by a Gaussian of so many pixels
  bool operator==(const LoraRequest&) const = default;
};

/// A mask for every adapter that a request names so.
struct LoraMask {
  std::string name;
  std::filesystem::path mask;
  double feather = 0;
  bool operator==(const LoraMask&) const = default;
};

/// Which number of <lora:name:a:b> comes first: the text encoder's (A1111, Forge) or the denoiser's
/// (SwarmUI).
enum class LoraOrder { text_first, denoiser_first };

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
  LoraOrder lora_order = LoraOrder::text_first;  ///< of the prompt's tags
  std::vector<LoraMask> lora_masks;
  /// Beside `loras` and the tags, adapters for single pictures: as many lists as `batch` has
  /// pictures, or none.
  std::vector<std::vector<LoraRequest>> picture_loras;
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

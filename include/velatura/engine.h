// The engine: loads models, owns their caches, makes pictures. One engine serves many jobs, one
// after another or from several threads; models and adapters stay loaded between them.
#pragma once

#include <filesystem>
#include <memory>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include "velatura/image.h"
#include "velatura/progress.h"
#include "velatura/request.h"

namespace velatura {

struct EngineOptions {
  /// Folders with models/checkpoints, models/loras … or with such folders' names of other programs,
  /// searched in order after $VELATURA_HOME (default ~/.local/share/velatura).
  std::vector<std::filesystem::path> model_dirs;
  std::string backend = "cpu";     ///< cpu, reference
  std::string precision = "auto";  ///< auto (bf16 where the CPU has it), f32, bf16
  int threads = 0;                 ///< 0: all cores
};

/// What was applied of one adapter.
struct LoraOutcome {
  std::string name;
  double weight = 1;  ///< on the denoiser; of a curve the point farthest from 0
  double text_weight = 1;
  std::string settled;        ///< as --lora would have it, every open end closed, letters drawn
  std::vector<int> pictures;  ///< of the batch, that it acts on; empty: all
  std::string hash;           ///< AutoV3, 12 hex digits
  std::string summary;        ///< one line
  std::vector<std::string> warnings;  ///< what its metadata ask for and this run does not do …
  /// Every tensor: name, target, fate, reason; and under "applied" how each layer was served.
  std::string report_json;
  std::vector<std::string> trigger_words;
  bool has_remarks = false;  ///< a tensor was not plainly bound
};

struct GenerateResult {
  std::vector<Picture> pictures;  ///< empty where the observer took them
  std::vector<LoraOutcome> loras;
  std::string lora_summary;        ///< how the layers were served, one line; empty without adapters
  bool changed_live = false;       ///< strengths were moved by Observer::loras
  std::uint64_t seed = 0;          ///< of the first picture
  int width = 0, height = 0;       ///< of the finished pictures
  int steps = 0, evaluations = 0;  ///< per batch
  std::string model_name, model_hash;
  std::string sampler, schedule, precision;
  double load_seconds = 0, seconds = 0;
  double start_seconds = 0;  ///< from the start of the process until the first step began
  double peak_bytes = 0;     ///< most memory that the process has had resident, file pages included
};

class Engine {
 public:
  explicit Engine(EngineOptions options = {});
  ~Engine();
  Engine(Engine&&) noexcept;
  Engine& operator=(Engine&&) noexcept;

  /// Makes the pictures. Throws Error; `cancelled` when `stop` asks.
  GenerateResult generate(const GenerateRequest& request, const Observer& observer = {},
                          std::stop_token stop = {});

  /// Fills a request from a picture that Velatura made (exactly) or that a web UI made (as far as
  /// its text tells); model and adapters are found by name and hash in the roots. `keep_model`: the
  /// caller will give the model, so the picture's need not be found.
  GenerateRequest request_from_picture(const std::filesystem::path& picture,
                                       bool keep_model = false);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// Writes the picture to `path`, replacing what is there in one step; nothing half-written on any
/// failure.
void save_png(const Picture& picture, const std::filesystem::path& path);
/// Writes "{first free number}-{seed}.png" into `folder`, never over a file; gives the path.
std::filesystem::path save_png_numbered(const Picture& picture,
                                        const std::filesystem::path& folder);

}  // namespace velatura

// What a running job tells its owner. Callbacks come from the thread that called the job, between
// steps.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "velatura/image.h"

namespace velatura {

/// After each step of the sampler.
struct Progress {
  int step = 0;         ///< steps done
  int steps = 0;        ///< of this picture batch
  int evaluations = 0;  ///< denoiser evaluations that the whole batch will take
  int batch = 0;        ///< index of the batch, from 0
  int batches = 1;
  double seconds_per_step = 0;  ///< of the last step
};

/// A finished picture with what a reader of its file should find.
struct Picture {
  Image image;
  std::uint64_t seed = 0;
  /// PNG text chunks: "parameters" as web UIs write it, and "velatura" with the complete request
  /// for an exact repeat.
  std::vector<std::pair<std::string, std::string>> text;
};

class LoraControl;  // lora.h

struct Observer {
  std::function<void(const Progress&)> on_progress;
  /// A small approximate picture of the latents of the batch's first picture; asked for only where
  /// it is set.
  std::function<void(const Image&)> on_preview;
  /// Each finished picture, in order, as soon as it is done: what was delivered is not lost when
  /// the job is stopped later. Empty: pictures are collected in the result.
  std::function<void(Picture&&)> on_picture;
  /// What the user should know and did not ask for: the seed drawn, unused tensors, a bind report's
  /// summary.
  std::function<void(const std::string&)> on_note;
  /// Whoever holds it may move the strengths of adapters while the job runs. Pictures whose
  /// strengths were moved say so and cannot be repeated from their file. May be empty.
  std::shared_ptr<LoraControl> loras;
};

}  // namespace velatura

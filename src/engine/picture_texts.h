// The texts that a finished picture carries: the web UIs' and our own, from which it is repeated.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "engine/adapters.h"
#include "engine/replay.h"
#include "pipelines/generation_text.h"

namespace velatura::engine {

class PictureTexts {
 public:
  /// `request` is what was asked for, with a seed; `adapters` what became of its adapters. `facts`
  /// and `replay` say the rest, but for what differs from picture to picture. All outlive this.
  PictureTexts(const GenerateRequest& request, std::string negative,
               const RequestedAdapters& adapters, pipelines::GenerationFacts facts,
               ReplayFacts replay);

  /// Of picture `index` of batch `batch`. `changed_live`: strengths were moved while it was made.
  std::vector<std::pair<std::string, std::string>> of(int batch, int index, const Image& image,
                                                      bool changed_live);
  /// Of the picture asked for last.
  std::uint64_t seed() const { return facts_.seed; }

 private:
  GenerateRequest settled_;
  const RequestedAdapters& adapters_;
  pipelines::GenerationFacts facts_;
  ReplayFacts replay_;
};

}  // namespace velatura::engine

// Adapters as programs that link the library see them. Adapters of a job are named in its request
// (request.h) and accounted for in its result (engine.h).
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace velatura {

/// What an adapter file says of itself; the header alone is read.
struct LoraInfo {
  std::string name;  ///< file stem
  std::filesystem::path path;
  std::string title;                       ///< modelspec.title, ss_output_name or the stem
  std::vector<std::string> trigger_words;  ///< in file order; shown, never inserted unasked
  std::optional<double> recommended_weight;
  int modules = 0;
};

LoraInfo lora_info(const std::filesystem::path& path);

}  // namespace velatura

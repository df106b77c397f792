#include "lora/tools/header_findings.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "lora/header_numbers.h"
#include "lora/library/clean_text.h"
#include "lora/library/metadata.h"

namespace velatura::lora::tools {

namespace {

/// A header may hold a hundred megabytes.
constexpr std::size_t kLongestQuote = 80;

std::string value_of(const AdapterFile& file, const std::string& key) {
  const auto& metadata = file.source().metadata();
  const auto found = metadata.find(key);
  return found == metadata.end() ? std::string()
                                 : library::clean_line(found->second, kLongestQuote);
}

struct StatedRow {
  std::string_view beginning;  ///< squeezed
  std::string_view family;     ///< our id, or the name of a family that is not ours
};
/// Values of ss_base_model_version and modelspec.architecture; the first that fits.
constexpr auto kStated = std::to_array<StatedRow>({{"sdxl", "sdxl"},
                                                   {"stablediffusionxl", "sdxl"},
                                                   {"sdv1", "sd15"},
                                                   {"sd15", "sd15"},
                                                   {"sd1", "sd15"},
                                                   {"stablediffusionv1", "sd15"},
                                                   {"flux2", "FLUX.2"},
                                                   {"flux", "flux"},
                                                   {"zimage", "zimage"},
                                                   {"sdv2", "SD2"},
                                                   {"sd2", "SD2"},
                                                   {"stablediffusionv2", "SD2"},
                                                   {"sd3", "SD3"},
                                                   {"stablediffusion3", "SD3"},
                                                   {"chroma", "Chroma"},
                                                   {"lumina2", "Lumina 2"}});

void find_wrong_base(const FindingsInput& input, std::vector<Finding>& findings) {
  if (input.family.empty()) return;
  for (const char* key : {"ss_base_model_version", "modelspec.architecture"}) {
    const std::string value = value_of(input.file, key);
    const std::string plain = library::squeezed(value);
    const auto row = std::ranges::find_if(
        kStated, [&](const StatedRow& r) { return plain.starts_with(r.beginning); });
    if (row == kStated.end() || row->family == input.family) continue;
    findings.push_back(
        {"wrong-metadata",
         true,
         fmt::format(
             "the header says {} = \"{}\", the tensors are those of {}: names and shapes win", key,
             value, family_title(input.family)),
         {}});
  }
}

void find_wrong_dim(const FindingsInput& input, std::vector<Finding>& findings) {
  const auto dim = header_number(input.file, "ss_network_dim");
  if (!dim || *dim <= 0) return;
  std::int64_t smallest = 0, largest = 0;
  for (const ModuleView& module : input.modules) {
    if (module.scaled_rank() == 0 || module.fate == Fate::ignored) continue;
    smallest = smallest == 0 ? module.rank : std::min(smallest, module.rank);
    largest = std::max(largest, module.rank);
  }
  const auto stated = static_cast<std::int64_t>(std::clamp(*dim, 0.0, 1e15));
  if (largest == 0 || (smallest <= stated && stated <= largest)) return;
  findings.push_back(
      {"wrong-dim",
       false,
       fmt::format("the header says ss_network_dim = {}, the modules' ranks are {}", *dim,
                   smallest == largest ? fmt::format("{}", largest)
                                       : fmt::format("{} to {}", smallest, largest)),
       {}});
}

void find_empty_hashes(const FindingsInput& input, std::vector<Finding>& findings) {
  for (const char* key : {"sshs_model_hash", "sshs_legacy_hash", "modelspec.hash_sha256"}) {
    std::string value = value_of(input.file, key);
    if (value.starts_with("0x")) value.erase(0, 2);
    if (value.empty() || !is_hash_of_nothing(value)) continue;
    findings.push_back(
        {"empty-hash",
         false,
         fmt::format(
             "the header's {} is the hash of nothing ({}…), written by a tool's mistake: it "
             "identifies no file",
             key, value.substr(0, 8)),
         {}});
  }
}

void find_demands(const FindingsInput& input, std::vector<Finding>& findings) {
  const auto demand = [&](const std::string& what) {
    findings.push_back({"demand", false, what, {}});
  };
  for (const char* key : {"ss_clip_skip", "modelspec.encoder_layer"}) {
    const auto skip = header_number(input.file, key);
    if (skip && *skip > 1) {
      demand(fmt::format("trained with clip skip {} ({}): use --clip-skip {}", *skip, key, *skip));
      break;
    }
  }
  if (library::squeezed(value_of(input.file, "modelspec.prediction_type")) == "v")
    demand("trained for v-prediction (modelspec.prediction_type): use a model of that kind");
  if (value_of(input.file, "ss_base_model_version").find("_v2_v") != std::string::npos)
    demand("trained for v-prediction (ss_base_model_version): use a model of that kind");
  if (library::squeezed(value_of(input.file, "ss_zero_terminal_snr")) == "true")
    demand(
        "trained with zero terminal SNR (ss_zero_terminal_snr): use a model and a schedule of "
        "that kind");
}

}  // namespace

void find_header_oddities(const FindingsInput& input, std::vector<Finding>& findings) {
  find_wrong_base(input, findings);
  find_wrong_dim(input, findings);
  find_empty_hashes(input, findings);
  find_demands(input, findings);
}

}  // namespace velatura::lora::tools

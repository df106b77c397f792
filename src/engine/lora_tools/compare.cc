// Which model several files are compared on, and the comparison.
#include <fmt/format.h>

#include "base/error.h"
#include "engine/lora_tools/model_names.h"
#include "lora/bind/family.h"
#include "lora/tools/compare_text.h"

namespace velatura {

namespace fs = std::filesystem;

namespace {

using Files = std::vector<std::shared_ptr<const lora::AdapterFile>>;

/// The family that the files show; those that do not show one follow the others.
std::string common_family(const Files& files) {
  std::string family, shown_by;
  for (const auto& file : files) {
    const std::string name = file->path().filename().string();
    const std::string shown = engine::family_shown(*file, "compared");
    if (shown.empty()) continue;
    if (family.empty()) family = shown, shown_by = name;
    if (family != shown) {
      fail(ErrorKind::mismatch, "{} is for {} and {} for {}: they have no layer in common",
           shown_by, lora::family_title(family), name, lora::family_title(shown));
    }
  }
  if (family.empty()) {
    fail(ErrorKind::mismatch, "nothing in {} shows which model it is for: give --model",
         files.front()->path().filename().string());
  }
  return family;
}

/// Where a file does not fit the published model, with the command that names the one it fits.
std::shared_ptr<const lora::BoundAdapter> bind_or_hint(
    const std::shared_ptr<const lora::AdapterFile>& file, const lora::tools::ModelNames& model,
    std::span<const fs::path> typed, const LoraModel& asked) {
  try {
    return lora::bind(file, model.components, *model.index);
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::mismatch || !asked.name.empty()) throw;
    std::vector<std::string> words = {"compare"};
    for (const fs::path& path : typed) words.push_back(path.string());
    const std::string hint = engine::hint_at_model(*file, asked, words);
    fail(ErrorKind::mismatch, "{}; this is {}; {}", error.what(), model.title,
         hint.empty() ? "--model MODEL compares on another" : hint);
  }
}

}  // namespace

LoraComparison compare_loras(std::span<const fs::path> files, const LoraCompareOptions& options,
                             std::stop_token stop) {
  if (files.size() < 2)
    fail(ErrorKind::invalid_argument, "two adapters or more are needed to compare");
  Files opened;
  for (const fs::path& file : files)
    opened.push_back(lora::AdapterFile::open(engine::find_adapter(file, options.model)));
  const auto model = options.model.name.empty() ? engine::published_names(common_family(opened))
                                                : engine::names_of(options.model);
  std::vector<std::shared_ptr<const lora::BoundAdapter>> bound;
  for (const auto& file : opened) bound.push_back(bind_or_hint(file, *model, files, options.model));
  const lora::tools::Comparison comparison = lora::tools::compare(bound, *model, std::move(stop));
  return {.text = to_text(comparison, options.verbose), .json = to_json(comparison)};
}

}  // namespace velatura

#include "engine/lora_tools/model_names.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>

#include "base/error.h"
#include "engine/roots.h"
#include "lora/bind/family.h"
#include "models/families.h"

namespace velatura::engine {

namespace fs = std::filesystem;

namespace {

std::shared_ptr<const lora::tools::ModelNames> names_of_shape(models::FamilyShape shape,
                                                              std::string title) {
  auto names = std::make_shared<lora::tools::ModelNames>();
  names->family = shape.id;
  names->title = std::move(title);
  for (models::PartShape& part : shape.parts) {
    names->components.push_back(lora::component_of(part.component, part.part, part.parameters,
                                                   std::move(part.native), part.weights));
  }
  names->index = std::make_shared<const lora::NameIndex>(names->components);
  return names;
}

/// Headers of so many models are read at most.
constexpr std::size_t kMostModels = 32;

/// Diffusers folders and checkpoints that could be what an adapter was made for, nearest first:
/// beside it, in the model folders, the demonstration.
std::vector<fs::path> known_models(const lora::AdapterFile& file, const LoraModel& model) {
  std::vector<fs::path> known;
  const auto add = [&](const fs::path& path) {
    if (known.size() < kMostModels && std::ranges::find(known, path) == known.end())
      known.push_back(path);
  };
  const fs::path folder = fs::absolute(file.path()).parent_path();
  for (const fs::path& near : {folder, folder.parent_path(), folder.parent_path() / "model"}) {
    std::error_code ignored;
    if (fs::is_regular_file(near / "model_index.json", ignored)) add(near);
  }
  if (const auto demo = Roots::demo()) add(*demo / "model");
  for (const fs::path& path : Roots(model.model_dirs).list(AssetKind::checkpoint)) add(path);
  return known;
}

/// As a shell reads it.
std::string quoted(const std::string& word) {
  const bool is_plain = std::ranges::all_of(word, [](unsigned char c) {
    return std::isalnum(c) != 0 || c >= 0x80 ||
           std::string_view("_-./,:+@%").find(static_cast<char>(c)) != std::string_view::npos;
  });
  if (is_plain && !word.empty()) return word;
  std::string text = "'";
  for (const char c : word) text += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return text + "'";
}

fs::path existing_or(AssetKind kind, const fs::path& path, const LoraModel& model) {
  std::error_code ignored;
  if (!path.empty() && fs::exists(path, ignored)) return path;
  return Roots(model.model_dirs).resolve(kind, path.string());
}

}  // namespace

std::shared_ptr<const lora::tools::ModelNames> published_names(std::string_view family) {
  models::FamilyShape shape = models::full_size(family);
  std::string title = fmt::format("the published {} (names and shapes)", shape.title);
  return names_of_shape(std::move(shape), std::move(title));
}

std::shared_ptr<const lora::tools::ModelNames> names_of(const LoraModel& model) {
  const fs::path path = existing_or(AssetKind::checkpoint, model.name, model);
  models::FamilyShape shape = models::of_model(path);
  std::string title = fmt::format("{} ({})", path.string(), shape.title);
  return names_of_shape(std::move(shape), std::move(title));
}

std::string family_shown(const lora::AdapterFile& file, std::string_view purpose) {
  const lora::FamilyVerdict verdict = lora::detect_family(file);
  if (!verdict.is_adapter || (verdict.id.empty() && !verdict.name.empty())) {
    fail(ErrorKind::mismatch,
         "{} is {}{} ({}); adapters of SD1.5, SDXL, FLUX.1 and Z-Image can be {}",
         file.path().filename().string(), verdict.is_adapter ? "an adapter of " : "no adapter but ",
         verdict.name, verdict.evidence, purpose);
  }
  return verdict.id;
}

std::shared_ptr<const lora::tools::ModelNames> names_for(const lora::AdapterFile& file,
                                                         const LoraModel& model,
                                                         std::string_view purpose) {
  if (!model.name.empty()) return names_of(model);
  const std::string family = family_shown(file, purpose);
  if (family.empty()) {
    fail(ErrorKind::mismatch, "nothing in {} shows which model it is for: give --model",
         file.path().filename().string());
  }
  return published_names(family);
}

std::string hint_at_model(const lora::AdapterFile& file, const LoraModel& model,
                          std::span<const std::string> words) {
  const std::string family = lora::detect_family(file).id;
  const auto shared = std::shared_ptr<const lora::AdapterFile>(&file, [](const auto*) {});
  fs::path best;
  int most = 0;
  for (const fs::path& path : known_models(file, model)) {
    try {
      const auto names = names_of({.name = path.string(), .model_dirs = model.model_dirs});
      if (!family.empty() && names->family != family) continue;
      const auto bound = lora::bind_or_account(shared, names->components, *names->index);
      if (bound->report.bound_modules() <= most) continue;
      most = bound->report.bound_modules();
      best = path;
    } catch (const Error&) {  // another program's model, or a broken one: no candidate
      continue;
    }
  }
  if (best.empty()) return {};
  std::string command = "velatura lora";
  for (const std::string& word : words) command += " " + quoted(word);
  command += " --model " + quoted(best.string());
  for (const fs::path& folder : model.model_dirs) command += " --models " + quoted(folder.string());
  return fmt::format("it fits the model \"{}\": {}", best.string(), command);
}

fs::path find_adapter(const fs::path& file, const LoraModel& model) {
  return existing_or(AssetKind::lora, file, model);
}

}  // namespace velatura::engine

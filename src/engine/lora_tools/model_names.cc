#include "engine/lora_tools/model_names.h"

#include <fmt/format.h>

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

fs::path find_adapter(const fs::path& file, const LoraModel& model) {
  return existing_or(AssetKind::lora, file, model);
}

}  // namespace velatura::engine

// The names, and where there are any the weights, that tools look at adapter files with. Not here:
// loading a model to run it (pipelines/load_model.h).
#pragma once

#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "lora/tools/check.h"
#include "velatura/lora_tools.h"

namespace velatura::engine {

/// The published model of a family, "sd15". Throws not_found.
std::shared_ptr<const lora::tools::ModelNames> published_names(std::string_view family);

/// The model that is asked for, of any depth and width; `model.name` is not empty. Throws
/// not_found, bad_file, unsupported.
std::shared_ptr<const lora::tools::ModelNames> names_of(const LoraModel& model);

/// The model that is asked for, else the published one of the family that the file shows. Throws
/// mismatch for a file that is no adapter of ours or shows no family; `purpose` ends the sentence:
/// "compared", "converted".
std::shared_ptr<const lora::tools::ModelNames> names_for(const lora::AdapterFile& file,
                                                         const LoraModel& model,
                                                         std::string_view purpose);
/// The id of the family that the file shows, empty where it shows none. Throws as names_for().
std::string family_shown(const lora::AdapterFile& file, std::string_view purpose);

/// Of a file that does not fit the published model though no other was asked for, `model.name`
/// empty: the model in the model folders, or beside the file, that most of it fits, as a sentence
/// with the command to give instead, whose words after `velatura lora` are {"check", "ink"}; empty
/// where it fits none.
std::string hint_at_model(const lora::AdapterFile& file, const LoraModel& model,
                          std::span<const std::string> words);

/// An existing path as it is, else the adapter of that name in the model folders. Throws not_found.
std::filesystem::path find_adapter(const std::filesystem::path& file, const LoraModel& model);

}  // namespace velatura::engine

// Which model an adapter file was made for, told by the names and shapes of its header alone
// (lora-formats §3). Not here: binding, and what a model's own names are (names.h).
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "lora/adapter_file.h"
#include "lora/bind/names.h"

namespace velatura::lora {

/// What a header says. Metadata is asked only where names and shapes leave a choice: trainers write
/// wrong values (lora-formats §3.5).
struct FamilyVerdict {
  std::string id;  ///< "sd15", "sdxl", "flux", "zimage"; empty where it is none of them
  /// The family or the kind of file in words: "SDXL", "FLUX.2", "ControlNet", "checkpoint of
  /// SD1.5". Empty where nothing in the file decides.
  std::string name;
  bool is_adapter = true;  ///< false: a file of another kind, which `name` then is
  std::string evidence;    ///< the deciding tensor, its shape, and what of it decides
  std::string module;      ///< the file's module that has that tensor; empty where none has
  std::string remark;  ///< what the header cannot tell ("Qwen-Image looks the same"); mostly empty
  /// A family that is not ours whose files can look the same: then the remark is a note of the
  /// report, too. Between ours, what fits settles it.
  std::string rival;
};

/// The first test of lora-formats §3.3 that fits. Reads no tensor.
FamilyVerdict detect_family(const AdapterFile& file);

/// What `id` is called: "SD1.5" of "sd15"; `id` itself where it is no family's.
std::string_view family_title(std::string_view id);

/// The id of the model that the components make up.
std::string_view family_of_model(std::span<const Component> components);

/// Throws mismatch with the deciding tensor where `verdict` names another family or kind of file
/// than the model. A verdict whose module the model has, with inputs as wide, is overruled: models
/// of unpublished sizes are loaded, too.
void require_family(const FamilyVerdict& verdict, const AdapterFile& file,
                    std::span<const Component> components, const NameIndex& names);

}  // namespace velatura::lora

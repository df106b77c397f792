// The forms that adapter files are written in, and what a model's modules are called there
// (lora-formats §6.7). Reading knows many more spellings (dialects/); these three are those that
// the world's programs accept most widely. Not here: turning one into another (convert.h).
#pragma once

#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "lora/bind/names.h"
#include "lora/tools/modules.h"

namespace velatura::lora::tools {

enum class Form {
  kohya,      ///< flattened names, lora_down/lora_up, alpha: A1111, Forge, kohya, ComfyUI
  diffusers,  ///< dotted diffusers names, lora_A/lora_B, alpha in the header
  comfy,      ///< dotted single-file names, lora_down/lora_up, alpha
};

/// "kohya", "diffusers" or "peft", "comfy"; nullopt for another word.
std::optional<Form> parse_form(std::string_view word);
std::string_view to_string(Form form);

/// One module of the form: a layer, or the fused projection that holds it.
struct FormModule {
  std::string name;  ///< all before the suffix, "lora_unet_double_blocks_0_img_attn_qkv"
  std::shared_ptr<const Placement> placement;
};

/// The modules of one model in one form. Immutable. The components outlive it.
class FormModules {
 public:
  FormModules(Form form, std::string_view family, std::span<const Component> components,
              const NameIndex& names);
  /// The module that holds the layer.
  const FormModule& of(Target target) const;

 private:
  std::map<Target, std::shared_ptr<const FormModule>> by_target_;
};

/// ".lora_down.weight" and the like; what reads it back gives the same role.
std::string suffix_of(Form form, Role role, const ModuleView& module);

/// The same of a role that needs no look at the module: all but (IA)³'s.
std::string suffix_of(Form form, Role role);

/// Whether the form has a place for what the module is.
bool holds(Form form, const ModuleView& module);

}  // namespace velatura::lora::tools

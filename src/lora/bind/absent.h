// Modules that files name and a model may lack without harm: parts of a variant, and text encoders
// that are not loaded (lora-formats §3.6, §5.2). Names that are known and stand for no module of a
// model. Not here: names that nobody knows.
#pragma once

#include <span>
#include <string_view>

#include "lora/bind/component.h"

namespace velatura::lora {

/// A module that some members of a family have.
struct AbsentModule {
  weights::Part part;
  std::string_view canonical;  ///< empty where only the native naming has it
  std::string_view native;     ///< may be empty
  std::string_view reason;     ///< for the report, when the loaded model lacks it
};
std::span<const AbsentModule> absent_modules();

/// Why a module of a text encoder that is none of the components has no effect; empty for other
/// names. Goes by prefixes: without the encoder its own names are unknown.
std::string_view unloaded_text_encoder(std::string_view module,
                                       std::span<const Component> components);

/// Why a module that no model has does no harm though it is not applied; empty for other names.
std::string_view harmless_extra(std::string_view module);
/// What a module is that stands for no whole module of a model, and why it is refused; empty for
/// other names.
std::string_view known_misfit(std::string_view module);

}  // namespace velatura::lora

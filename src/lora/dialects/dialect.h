// How files spell the modules of a model. A dialect lists, for one module that the model has, every
// name it may carry in a file; nothing is ever parsed back from underscores (lora-formats §2.0).
#pragma once

#include <functional>
#include <span>
#include <string>
#include <string_view>

namespace velatura::lora {

enum class ComponentKind { denoiser, text_encoder };

/// One module under its two dotted names. `native` equals `canonical` where the single-file naming
/// does not differ.
struct ModuleNames {
  ComponentKind kind = ComponentKind::denoiser;
  std::string
      canonical;  ///< diffusers / transformers, e.g. "down_blocks.0.attentions.0.…attn1.to_q"
  std::string native;  ///< single file, e.g. "input_blocks.1.1.…attn1.to_q"
};

using AddAlias = std::function<void(std::string)>;

struct Dialect {
  std::string_view name;
  void (*add_aliases)(const ModuleNames& module, const AddAlias& add);
};

/// Every dialect, in the order in which an alias claimed by two is attributed.
std::span<const Dialect> dialects();

/// Dots to underscores: how flattened dialects spell a path.
std::string flatten(std::string_view path);

// One per file of this folder.
void add_kohya_aliases(const ModuleNames& module, const AddAlias& add);
void add_diffusers_aliases(const ModuleNames& module, const AddAlias& add);
void add_processor_aliases(const ModuleNames& module, const AddAlias& add);
void add_peft_aliases(const ModuleNames& module, const AddAlias& add);
void add_comfy_aliases(const ModuleNames& module, const AddAlias& add);
void add_lycoris_aliases(const ModuleNames& module, const AddAlias& add);

}  // namespace velatura::lora

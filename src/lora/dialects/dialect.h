// How files spell the modules of a model. A dialect lists, for one module that the model has, every
// name it may carry in a file; nothing is ever parsed back from underscores (lora-formats §2.0).
#pragma once

#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "weights/part.h"

namespace velatura::lora {

/// One module under its two dotted names. Where the namings cut the model differently, the two are
/// separate modules: the native fused one has no canonical name, its split ones no native name.
struct ModuleNames {
  weights::Part part = weights::Part::unet;
  std::string
      canonical;  ///< diffusers / transformers, e.g. "down_blocks.0.attentions.0.…attn1.to_q"
  std::string native;  ///< single file, e.g. "input_blocks.1.1.…attn1.to_q"
  int slices = 1;      ///< canonical modules that the native one is made of

  /// The two names, without the absent and without saying one twice.
  std::vector<std::string> both() const;
};

/// Takes one spelling; `first` and `count` choose slices of a fused module where the spelling means
/// some of them only (count 0: all).
using AddAlias = std::function<void(std::string alias, int first, int count)>;

class Aliases {
 public:
  explicit Aliases(AddAlias add) : add_(std::move(add)) {}
  void add(std::string alias) const { add_(std::move(alias), 0, 0); }
  void add_slices(std::string alias, int first, int count) const {
    add_(std::move(alias), first, count);
  }

 private:
  AddAlias add_;
};

struct Dialect {
  std::string_view name;
  void (*add_aliases)(const ModuleNames& module, const Aliases& aliases);
};

/// Every dialect, in the order in which an alias claimed by two is attributed.
std::span<const Dialect> dialects();

/// Dots to underscores: how flattened dialects spell a path.
std::string flatten(std::string_view path);

// One per file of this folder.
void add_kohya_aliases(const ModuleNames& module, const Aliases& aliases);
void add_diffusers_aliases(const ModuleNames& module, const Aliases& aliases);
void add_processor_aliases(const ModuleNames& module, const Aliases& aliases);
void add_peft_aliases(const ModuleNames& module, const Aliases& aliases);
void add_comfy_aliases(const ModuleNames& module, const Aliases& aliases);
void add_lycoris_aliases(const ModuleNames& module, const Aliases& aliases);

}  // namespace velatura::lora

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
  std::string canonical;  ///< diffusers / transformers, "down_blocks.0.attentions.0.…attn1.to_q"
  std::string native;     ///< single file, e.g. "input_blocks.1.1.…attn1.to_q"
  int slices = 1;         ///< canonical modules that the native one is made of

  /// The two names, without the absent and without saying one twice.
  std::vector<std::string> both() const;
  bool is_text_encoder() const { return weights::is_text_encoder(part); }
  /// FLUX.1's or Z-Image's: what trainers call "transformer", a UNet "unet".
  bool is_transformer() const {
    return part == weights::Part::flux || part == weights::Part::z_image;
  }
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

/// Takes the place of the module `canonical` in a list.
using AddPlace = std::function<void(std::string alias, const std::string& canonical)>;

struct Dialect {
  std::string_view name;
  void (*add_aliases)(const ModuleNames& module, const Aliases& aliases);
  /// For layouts without names: places in lists of a part's modules. Null for the others.
  void (*add_places)(weights::Part part, std::span<const std::string> canonical,
                     const AddPlace& add) = nullptr;
};

/// Every dialect, in the order in which an alias claimed by two is attributed.
std::span<const Dialect> dialects();

/// Dots to underscores: how flattened dialects spell a path.
std::string flatten(std::string_view path);
/// What diffusers calls the folder of a text encoder: "text_encoder", "text_encoder_2".
std::string_view text_encoder_folder(weights::Part part);

// One per file of this folder.
void add_kohya_aliases(const ModuleNames& module, const Aliases& aliases);
void add_diffusers_aliases(const ModuleNames& module, const Aliases& aliases);
void add_processor_aliases(const ModuleNames& module, const Aliases& aliases);
void add_peft_aliases(const ModuleNames& module, const Aliases& aliases);
void add_comfy_aliases(const ModuleNames& module, const Aliases& aliases);
void add_native_aliases(const ModuleNames& module, const Aliases& aliases);
void add_lycoris_aliases(const ModuleNames& module, const Aliases& aliases);
void add_onetrainer_aliases(const ModuleNames& module, const Aliases& aliases);
void add_xlabs_aliases(const ModuleNames& module, const Aliases& aliases);
void add_openclip_aliases(const ModuleNames& module, const Aliases& aliases);
void add_wrapped_aliases(const ModuleNames& module, const Aliases& aliases);
void add_anime_z_aliases(const ModuleNames& module, const Aliases& aliases);
void add_z_image_aliases(const ModuleNames& module, const Aliases& aliases);
void add_twinflow_aliases(const ModuleNames& module, const Aliases& aliases);
void add_mlx_aliases(const ModuleNames& module, const Aliases& aliases);
void add_diffsynth_aliases(const ModuleNames& module, const Aliases& aliases);
void add_cloneofsimo_aliases(const ModuleNames& module, const Aliases& aliases);
void add_cloneofsimo_places(weights::Part part, std::span<const std::string> canonical,
                            const AddPlace& add);

}  // namespace velatura::lora

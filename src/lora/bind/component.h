// A part of a model as adapters see it: its modules by canonical path and shape, the other
// spellings of its parameters, and where its pristine weights are. Not here: spellings in adapter
// files (names.h), families (models/families.h hands them over as data).
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "nn/module_tree.h"
#include "weights/name_map.h"
#include "weights/part.h"
#include "weights/source.h"

namespace velatura::lora {

/// One module. Its index in the component is its LayerId, the tree's own where there is a tree.
struct ModuleShape {
  std::string path;  ///< canonical: diffusers' or transformers' name without ".weight"
  nn::LayerKind kind = nn::LayerKind::linear;
  Shape
      weight;  ///< linear [out, in], conv2d [out, in, kh, kw], norm [C], embedding [V, C], else any
  bool has_bias = false;

  /// "<path>.weight"; the path itself for a parameter that belongs to no layer.
  std::string weight_name() const;
};

/// Holds no ownership of the tree; the model outlives what is bound to it.
struct Component {
  std::string name;  ///< "unet", "transformer", "te", "te2", "t5": as in reports
  weights::Part part = weights::Part::unet;
  std::vector<ModuleShape> modules;
  weights::NameMap native;  ///< rows of the single-file naming, without a prefix; may be empty
  const nn::ModuleTree* tree = nullptr;              ///< of a loaded model
  std::shared_ptr<const weights::Source> weights{};  ///< of one whose files are open; may be null
};

/// Of a loaded model: its tree's layers.
Component component_of(std::string name, weights::Part part, const nn::ModuleTree& tree,
                       weights::NameMap native);
/// Of a list of parameters under canonical names: "x.weight" and "x.bias" are one module, told
/// apart by shape and, for embeddings, by name. `weights`, if any, holds them under these names.
Component component_of(std::string name, weights::Part part,
                       std::span<const weights::TensorInfo> parameters, weights::NameMap native,
                       std::shared_ptr<const weights::Source> weights = nullptr);

/// What PEFT's configurations call the component: "unet", "transformer", "text_encoder",
/// "text_encoder_2".
std::string_view peft_component(const Component& component);

/// A module of one of several components.
struct Target {
  int component = 0;      ///< index into the components
  nn::LayerId layer = 0;  ///< index into its modules
  auto operator<=>(const Target&) const = default;
};

/// The untouched weight, f32, shaped as the module says. Throws unsupported where only the names of
/// the component are known.
Tensor pristine_weight(const Component& component, nn::LayerId layer);
/// The untouched bias, f32; undefined where the module has none.
Tensor pristine_bias(const Component& component, nn::LayerId layer);

}  // namespace velatura::lora

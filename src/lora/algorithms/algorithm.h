// The mathematics of adapters, one file an algorithm: which tensors it needs, and what it makes of
// them on one layer. Every algorithm gives its dense delta; where the algebra has a pair of thin
// factors, that too. Both come from the same tensors, so live and fused application cannot drift
// apart.
#pragma once

#include <memory>
#include <span>
#include <string_view>

#include "lora/adapter_file.h"
#include "nn/module_tree.h"

namespace velatura::lora {

/// A pair that adds scale · up · down to a layer, in f32, f16 or bf16 as the file has it. Weights,
/// so that the forms a backend makes of them serve every set with this adapter alone on the layer.
struct ThinFactors {
  std::shared_ptr<const ops::Weight> down;  ///< [r, in] or [r, in, kh, kw], as the layer's weight
  std::shared_ptr<const ops::Weight> up;    ///< [out, r]
  float scale = 1;                          ///< α / r and what else the file multiplies by
};

/// One module of one adapter, bound to one layer. Immutable.
class ModuleDelta {
 public:
  virtual ~ModuleDelta() = default;
  virtual std::int64_t rank() const = 0;
  /// True when ΔW is 0 whatever the strength: the layer is then left alone.
  virtual bool is_zero() const = 0;
  /// Null where the algorithm has no thin pair.
  virtual const ThinFactors* thin() const { return nullptr; }
  /// ΔW at strength 1, f32, shaped like the layer's weight. `ranks` > 0 uses the first ranks only
  /// (A1111's dyn); the scale stays that of the stored rank.
  virtual Tensor dense(std::int64_t ranks = 0) const = 0;
};

/// What an algorithm is given: the module's tensors and the layer they are for.
struct ModuleInput {
  const AdapterFile& file;
  const FileModule& module;
  const nn::LayerInfo& layer;
  /// "unet" or "text_encoder": whose scaling applies outside the tensors.
  std::string_view component;
};

struct Algorithm {
  std::string_view name;          ///< "LoRA"
  std::span<const Role> needs;    ///< all must be present for the algorithm to claim a module
  std::span<const Role> accepts;  ///< further roles that it uses; others make the module refused
  /// Null when this version cannot compute it: the module is then refused under the algorithm's
  /// name. Throws mismatch / bad_file with the module, expected and found shapes.
  std::unique_ptr<ModuleDelta> (*make)(const ModuleInput& input);
};

/// In the order in which they may claim a module (lora-formats §2.9).
std::span<const Algorithm> algorithms();
/// The first whose needs the module meets; null when only half of a pair is there.
const Algorithm* find_algorithm(const FileModule& module);

/// A tensor of the module, in f32, f16 or bf16: its own type where that is one of them, else f32.
/// NaN, infinity and what is no floating type are a bad_file with its name.
Tensor read_finite(const ModuleInput& input, Role role);
/// Whether a tensor from read_finite() holds zeros alone.
bool is_all_zero(const Tensor& values);
/// The single value of a tensor of any type.
double read_number(const ModuleInput& input, Role role);

std::unique_ptr<ModuleDelta> make_lora(const ModuleInput& input);

}  // namespace velatura::lora

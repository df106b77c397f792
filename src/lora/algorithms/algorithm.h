// The mathematics of adapters, one file an algorithm: which tensors it needs, and what it makes of
// them on one layer. Every algorithm gives its dense change; where the algebra has a cheaper live
// form, that too. Both come from the same tensors, so live and fused application cannot drift
// apart.
#pragma once

#include <algorithm>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "lora/adapter_file.h"
#include "lora/bind/placement.h"
#include "ops/weight.h"

namespace velatura::lora {

/// A pair that adds scale · up · down to a layer, in f32, f16 or bf16 as the file has it. Weights,
/// so that the forms a backend makes of them serve every set with this adapter alone on the layer.
struct ThinFactors {
  std::shared_ptr<const ops::Weight> down;  ///< [r, in] or [r, in, kh, kw], as the layer's weight
  std::shared_ptr<const ops::Weight> up;    ///< [out, r]
  float scale = 1;                          ///< α / r and what else the file multiplies by
};

/// scale · w1 ⊗ w2: w1 [out_l, in_m], w2 [out_k, in_n] on a linear layer, [out_k, in_n, kh, kw] on
/// a convolution (lora-formats §1.5).
struct KroneckerFactors {
  std::shared_ptr<const ops::Weight> w1, w2;
  float scale = 1;
};

/// scale · up ∘ mid ∘ down on a convolution (lora-formats §1.3).
struct TuckerFactors {
  std::shared_ptr<const ops::Weight> down;  ///< [r, in, 1, 1]
  std::shared_ptr<const ops::Weight> mid;   ///< [r, r, kh, kw], with the layer's geometry
  std::shared_ptr<const ops::Weight> up;    ///< [out, r]
  float scale = 1;
};

/// The untouched weight or bias of the module, f32, shaped as it is. Called by kinds that
/// depend on it, as often as they like; may be slow.
using Pristine = std::function<Tensor()>;

/// What one module of an adapter does to the weight and the bias of one layer, or of the fused
/// whole that the file speaks of. Immutable, thread-safe.
class ModuleDelta {
 public:
  virtual ~ModuleDelta() = default;
  /// Of the stored factors; 0 for kinds without a rank.
  virtual std::int64_t rank() const { return 0; }
  /// How many of these ranks are among the first `first` > 0 that the file stores: all of a piece's
  /// own may come later.
  virtual std::int64_t ranks_among(std::int64_t first) const { return std::min(first, rank()); }
  /// True when nothing changes whatever the strength: the layer is then left alone.
  virtual bool is_zero() const { return false; }
  /// Whether the change at strength m is m times the change at 1. Where it is not, a kept change
  /// may not be scaled (lora-formats §1.10, §1.11).
  virtual bool is_linear() const { return true; }
  /// Whether weight_change() asks for the pristine weight.
  virtual bool needs_base() const { return false; }
  /// Whether weight_change() gives anything: not so for what acts on a bias alone.
  virtual bool changes_weight() const { return true; }
  /// Whether it stands in for the weight (set_weight): the change is then the same at every
  /// strength but 0, and the replaced weight is the pristine one for all others (lora-formats
  /// §5.6).
  virtual bool replaces() const { return false; }

  /// What is worth saying of the module though it applies ("widens the layer to 128 inputs"); empty
  /// mostly.
  virtual std::string remark() const { return {}; }

  /// W' − W at `strength`, f32, shaped like the weight, or wider on an input layer that the file
  /// widens, whose base has zeros there; undefined where the weight stays. `ranks`
  /// > 0 uses the first ranks only (A1111's dyn) where the kind is a LoRA; the scale stays that of
  /// the stored rank. Strength 0 is never asked for.
  virtual Tensor weight_change(const Pristine& base, float strength, std::int64_t ranks) const = 0;
  /// Whether it stands in for the bias, as replaces() does for the weight. It then does nothing
  /// else.
  virtual bool replaces_bias() const { return false; }
  /// b' − b at `strength`, f32 [out]; undefined where the bias stays. `bias` gives the untouched
  /// one of the module, f32 [out], and is asked only where there is one.
  virtual Tensor bias_change(const Pristine& /*bias*/, float /*strength*/) const { return {}; }

  /// Live forms of the weight's change; at most one is there. None: the dense change serves.
  virtual const ThinFactors* thin() const { return nullptr; }
  virtual const KroneckerFactors* kronecker() const { return nullptr; }
  virtual const TuckerFactors* tucker() const { return nullptr; }

  /// The same module on some rows of the whole, keeping its live form; null where the kind cannot
  /// be cut: the dense change is then made whole and cut (SlicedDelta does).
  virtual std::unique_ptr<ModuleDelta> rows(std::span<const RowRange> /*rows*/) const {
    return nullptr;
  }
};

/// What an algorithm is given: the module's tensors and the place they are for.
struct ModuleInput {
  const AdapterFile& file;
  const FileModule& module;
  std::string_view path;  ///< Placement::path: for messages, and for PEFT's patterns
  nn::LayerKind kind = nn::LayerKind::linear;
  Shape weight;  ///< of the whole: [out, in], [out, in, kh, kw], [C]
  bool has_bias = false;
  /// "unet", "transformer", "text_encoder", "text_encoder_2": whose scaling applies outside the
  /// tensors.
  std::string_view component;

  std::int64_t out() const { return weight[0]; }
  /// Elements of a row: in, or in · kh · kw.
  std::int64_t columns() const { return weight.count() / std::max<std::int64_t>(weight[0], 1); }
};

/// What a kind does in a module: one alone claims the weight, others add to it (a sparse residual)
/// or act on the bias.
enum class Claim { weight, beside_weight, on_bias };

struct Algorithm {
  std::string_view name;  ///< "LoRA"
  Claim claim = Claim::weight;
  std::span<const Role> needs;    ///< all must be present for the algorithm to claim a module
  std::span<const Role> accepts;  ///< further roles that it uses
  /// Throws mismatch / bad_file with the module, expected and found shapes.
  std::unique_ptr<ModuleDelta> (*make)(const ModuleInput& input);
  /// What it is called where the first tensor that it needs has four axes; empty: the same.
  std::string_view name_of_four_axes{};

  /// Its name in a file whose first needed tensor has `axes` axes.
  std::string_view name_for(int axes) const {
    return axes == 4 && !name_of_four_axes.empty() ? name_of_four_axes : name;
  }
};

/// In the order in which they may claim a module (lora-formats §2.9).
std::span<const Algorithm> algorithms();

/// All that a module computes: its weight's kind, those beside it, and DoRA around them.
struct MadeDelta {
  std::unique_ptr<ModuleDelta> delta;  ///< of the whole; null when only half of a pair is there
  std::string algorithm;               ///< "LoRA", "DoRA LoKr", "norm difference"
  std::vector<Role> unused;            ///< roles of the module that no claimant takes
};
MadeDelta make_delta(const ModuleInput& input);

/// `whole` on one piece: rows() where the kind has it, else its dense change cut.
std::unique_ptr<ModuleDelta> cut(std::shared_ptr<const ModuleDelta> whole,
                                 std::span<const RowRange> rows);

// For the algorithms' own files.

/// A tensor of the module, in f32, f16 or bf16: its own type where that is one of them, else f32.
/// NaN, infinity and what is no floating type are a bad_file with its name.
Tensor read_finite(const ModuleInput& input, Role role);
/// The same, as f32.
Tensor read_f32(const ModuleInput& input, Role role);
/// Whether a tensor from read_finite() holds zeros alone.
bool is_all_zero(const Tensor& values);
/// The single value of a tensor of any type.
double read_number(const ModuleInput& input, Role role);
bool has(const ModuleInput& input, Role role);
/// The factor of an additive kind of rank `rank` > 0: a stored `scale` wins, then α/rank, then what
/// stands outside the tensors, else 1; times `scalar`. Not finite: a bad_file.
float scale_of(const ModuleInput& input, std::int64_t rank);
/// `scale` as a float; one that float32 cannot hold is a bad_file with the module's name.
float finite_scale(const ModuleInput& input, double scale);
/// a [m, k] · b [k, n], f32, accumulated in f32 over k in order or better.
Tensor product(const Tensor& a, const Tensor& b);

std::unique_ptr<ModuleDelta> make_lora(const ModuleInput& input);
std::unique_ptr<ModuleDelta> make_lora_transposed(const ModuleInput& input);  ///< MLX's roles
std::unique_ptr<ModuleDelta> make_tucker(const ModuleInput& input);
/// A pair that a kind made itself, on a layer with `weight`: what make_lora() gives of a stored
/// one.
std::unique_ptr<ModuleDelta> lora_of(ThinFactors factors, const Shape& weight, std::string remark);
std::unique_ptr<ModuleDelta> make_tlora(const ModuleInput& input);
std::unique_ptr<ModuleDelta> make_loha(const ModuleInput& input);
std::unique_ptr<ModuleDelta> make_lokr(const ModuleInput& input);
std::unique_ptr<ModuleDelta> make_glora(const ModuleInput& input);
std::unique_ptr<ModuleDelta> make_ia3(const ModuleInput& input);
std::unique_ptr<ModuleDelta> make_oft(const ModuleInput& input);     ///< OFT, BOFT, oft_diag
std::unique_ptr<ModuleDelta> make_oft_v2(const ModuleInput& input);  ///< oft_R
std::unique_ptr<ModuleDelta> make_full_difference(const ModuleInput& input);
std::unique_ptr<ModuleDelta> make_norm_difference(const ModuleInput& input);
std::unique_ptr<ModuleDelta> make_set_weight(const ModuleInput& input);
std::unique_ptr<ModuleDelta> make_set_bias(const ModuleInput& input);
std::unique_ptr<ModuleDelta> make_bias_difference(const ModuleInput& input);
std::unique_ptr<ModuleDelta> make_sparse_residual(const ModuleInput& input);
/// DoRA around an additive kind (lora-formats §1.6).
std::unique_ptr<ModuleDelta> make_dora(const ModuleInput& input,
                                       std::unique_ptr<ModuleDelta> inner);

}  // namespace velatura::lora

// The adapters of a run, ready for the layers: live by default (base untouched, strengths in small
// vectors), or fused into new weights made from the pristine ones. Not here: files and names
// (bind/), which form a layer takes (layer_plan.h), what the forms compute (live_forms.h).
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "lora/apply/account.h"
#include "lora/apply/adapter_use.h"
#include "lora/apply/stack_cache.h"
#include "lora/apply/stand_in_budget.h"
#include "lora/apply/strength_control.h"
#include "nn/delta.h"

namespace velatura::lora {

/// Fused: whatever acts on the whole picture for the whole run is in the weight; what has a region
/// or a schedule is live upon it.
enum class Mode { live, fused };

/// What a set is given beside its uses.
struct SetOptions {
  /// Keeps what live sets lay and make; sets that share one, on one model, switch at the cost of
  /// pointers, without touching a disk or a base weight. Null: the set has its own.
  std::shared_ptr<StackCache> cache{};
  /// Read by advance(). Null: strengths change by set_strength() alone.
  std::shared_ptr<StrengthControl> control{};
  /// Of stand-ins and fused weights: f32, or bf16 where that is what the run computes in, in half
  /// the memory. They are summed in f32 and rounded once.
  DType weight_type = DType::f32;
  /// For the stand-ins and dense changes that a live set keeps; what is beyond is made whenever the
  /// layer runs, with the same bits. Null: the set has one of its own.
  std::shared_ptr<StandInBudget> budget{};
  /// Extents of the picture as the denoiser sees it (the latent's), for regions alone.
  std::int64_t picture_height = 0, picture_width = 0;
};

/// The patches of each component. Uses are put in one fixed order (in_fixed_order), so that the
/// order in which they were named never changes a bit; the same adapter twice adds up. One thread
/// at a time: change strengths between steps, never while a model runs with the patches; the only
/// way in from elsewhere is SetOptions::control. The components and their models outlive it.
class AdapterSet {
 public:
  /// At the first moment of a run (Moment{}). Throws invalid_argument for what check(use) refuses
  /// and for a region without the picture's extents; mismatch where two active adapters replace one
  /// parameter, naming both files and the parameter; unsupported for a region on a denoiser whose
  /// tokens are not known to be a picture's.
  AdapterSet(std::span<const Component> components, std::vector<AdapterUse> uses, Mode mode,
             SetOptions options = {});
  ~AdapterSet();
  AdapterSet(AdapterSet&&) noexcept;
  AdapterSet& operator=(AdapterSet&&) noexcept;

  /// Null where the component is untouched now: the run is then the plain one, bit for bit. The
  /// pointer lives as long as the set; whether it is null may change in advance() and
  /// set_strength().
  const nn::LayerPatches* patches(std::size_t component) const;

  std::size_t size() const;
  const AdapterUse& use(std::size_t index) const;  ///< in the fixed order
  /// Index of the first use of the adapter with this content hash; size() when absent.
  std::size_t find(const std::string& content_hash) const;

  /// Changes the strengths of use `index`, its te2 and t5 included where they are given. Writes a
  /// few floats a layer; other stacks come in only where a strength becomes 0 or stops being 0, so
  /// that 0 stays bit-identical to absence, and so does removal. Fused: makes new weights of the
  /// layers concerned.
  void set_strength(std::size_t index, float denoiser, float text, std::optional<float> te2 = {},
                    std::optional<float> t5 = {});
  /// Called when a step is about to begin: schedules and posted changes take effect. Rewrites what
  /// changed and nothing else; true when anything did. Ask patches() again afterwards.
  bool advance(const Moment& moment);

  /// How each layer is served at this moment, a component each.
  std::vector<ComponentAccount> account() const;
  /// How each layer was served in the whole run: all that patches() has ever handed out, so that an
  /// adapter whose steps are over is there. Bytes and adapters of a layer are the most of any
  /// moment.
  std::vector<ComponentAccount> account_of_run() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace velatura::lora

// How a set applies its adapters, layer by layer: what reports and `--verbose` tell. Not here: the
// decisions themselves (layer_plan.h).
#pragma once

#include <array>
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace velatura::lora {

/// Ways in which adapters act on a layer. A layer may take several at once.
enum class Form {
  thin,           ///< all LoRAs and LoCons of the layer as one pair of thin products
  kronecker,      ///< a LoKr by its factors, on linear layers and convolutions
  tucker,         ///< three convolutions
  stand_in,       ///< a weight W + Σ ΔW made from the pristine one, kept: costs nothing per step
  recomputed,     ///< the same, made anew each time the layer runs: the memory budget was spent
  dense_product,  ///< Δ(x) with a dense Δ, beside the base product: a masked adapter of another
                  ///< kind
  parameter,      ///< norm weights, biases, embeddings: small tensors of their own
  untouched,      ///< a masked adapter on a layer that sees no picture tokens: nothing happens
};
inline constexpr std::size_t kForms = 8;
std::string_view to_string(Form form);

struct LayerAccount {
  std::string path;          ///< canonical
  std::vector<Form> forms;   ///< ascending, each once
  std::size_t adapters = 0;  ///< that act here now
  std::size_t bytes = 0;     ///< kept for this layer beside base and files
  /// Of stand-ins already made: ‖(stored W' − W) − ΔW‖ / ‖ΔW‖, what rounding W' to its type cost
  /// the adapters; 0 where nothing was rounded.
  double error = 0;
  double squared_change = 0, squared_error = 0;  ///< ‖ΔW‖² of them, and what was lost of it

  /// Takes in how the same layer was served at a later moment.
  void join(const LayerAccount& later);
};

struct ComponentAccount {
  std::string component;
  std::array<std::size_t, kForms> counts{};  ///< layers that have a form, by Form
  std::size_t bytes = 0;
  double error = 0;  ///< over all stand-ins made: root of Σ‖error‖² / Σ‖ΔW‖²
  double squared_change = 0, squared_error = 0;  ///< those sums
  std::vector<LayerAccount> layers;  ///< those that an adapter acts on, in the model's order

  /// The next layer, in the model's order; counted into the sums.
  void add(LayerAccount layer);
  std::size_t count(Form form) const { return counts[static_cast<std::size_t>(form)]; }
  /// "unet: 128 thin, 3 stand-in (21.0 MB)"; counts of 0 are left out.
  std::string summary() const;
};

}  // namespace velatura::lora

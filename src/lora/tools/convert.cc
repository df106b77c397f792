#include "lora/tools/convert.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <nlohmann/json.hpp>
#include <set>

#include "base/error.h"
#include "lora/algorithms/matrix.h"
#include "lora/tools/low_rank_fit.h"
#include "lora/tools/pairs.h"

namespace velatura::lora::tools {

namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kPeftKey = "lora_adapter_metadata";
/// Of the data that was there before.
constexpr auto kStaleKeys = std::to_array<const char*>(
    {"sshs_model_hash", "sshs_legacy_hash", "modelspec.hash_sha256", kPeftKey});

bool is_pair(const ModuleView& module) {
  return std::ranges::all_of(module.tensors, [](const auto& tensor) {
    switch (tensor.first) {
      case Role::down:
      case Role::up:
      case Role::down_transposed:
      case Role::up_transposed:
      case Role::alpha:
      case Role::scale:
      case Role::scalar:
        return true;
      default:
        return false;
    }
  });
}

/// Roles whose rows are the layer's outputs, so that they are cut where it is cut.
bool has_output_rows(Role role) {
  constexpr auto kRoles = std::to_array<Role>(
      {Role::up, Role::up_bias, Role::hada_w1_a, Role::hada_w2_a, Role::diff, Role::diff_b,
       Role::set_weight, Role::set_bias, Role::norm_w, Role::norm_b});
  return std::ranges::find(kRoles, role) != kRoles.end();
}

/// Roles that the pieces of a fused module share.
bool is_shared(Role role) {
  constexpr auto kRoles = std::to_array<Role>(
      {Role::down, Role::alpha, Role::scale, Role::scalar, Role::hada_w1_b, Role::hada_w2_b});
  return std::ranges::find(kRoles, role) != kRoles.end();
}

bool same_place(const Placement& a, const Placement& b) {
  return std::ranges::equal(a.pieces, b.pieces, [](const Piece& left, const Piece& right) {
    return left.target == right.target && left.rows == right.rows;
  });
}

class Converter {
 public:
  Converter(const Account& account, const ConvertOptions& options, const Watch& watch)
      : account_(account),
        options_(options),
        watch_(watch),
        file_(*account.source),
        components_(account.names->components),
        forms_(options.form, account.family, components_, *account.names->index) {}

  Conversion run() {
    refuse_losses();
    for (const ModuleView& module : account_.modules) {
      throw_if_stopped(watch_.stop);
      if (module.is_used()) take(module);
    }
    substitute_all();
    refuse_unheld();
    write_pairs();
    write_differences();
    keep_embeddings();
    finish();
    return std::move(result_);
  }

 private:
  void refuse_losses();
  void take(const ModuleView& module);
  void pass(const ModuleView& module, const FormModule& place);
  bool cut_rows(const ModuleView& module);
  void take_pair(const ModuleView& module);
  void substitute_all();
  void substitute(const ModuleView& module);
  bool has_fit(const BoundModule& layer) const;
  void add_fit(const BoundModule& layer);
  void refuse_unheld() const;
  void write_pairs();
  void write_pair(const FormModule& place, Target first, Pair pair);
  void write_differences();
  void keep_embeddings();
  void finish();
  void write_alpha(const FormModule& place, DType type, double alpha);
  void state_alpha(Target target, std::int64_t rank, std::optional<double> alpha);
  void state_alphas();

  Tensor load(const ModuleView& module, Role role) const {
    return file_.source().load(*module.tensor(role));
  }
  Pair pair_of(const ModuleView& module) const;
  void add(std::string name, Tensor tensor);
  const Component& component_of(Target target) const {
    return components_[static_cast<std::size_t>(target.component)];
  }
  const ModuleShape& shape_of(Target target) const {
    return component_of(target).modules[static_cast<std::size_t>(target.layer)];
  }

  const Account& account_;
  const ConvertOptions& options_;
  const Watch& watch_;
  const AdapterFile& file_;
  std::span<const Component> components_;
  FormModules forms_;
  Conversion result_;
  std::map<Target, Pair> pairs_;                   ///< by layer, to be joined
  std::map<Target, Tensor> differences_, biases_;  ///< by layer
  std::vector<const ModuleView*> anew_;            ///< what the form cannot hold
  std::map<const BoundModule*, LowRankFit> fits_;
  std::vector<std::string> unheld_;  ///< "name (kind)"
  std::set<std::string> written_;
  /// PEFT's name of the component → canonical path → (rank, alpha).
  std::map<std::string, std::map<std::string, std::pair<std::int64_t, double>>> alphas_;
  std::set<std::string> has_alpha_;
};

void Converter::refuse_losses() {
  int lost = 0;
  const TensorFate* first = nullptr;
  for (const TensorFate& fate : account_.report.tensors) {
    if (fate.fate != Fate::refused) continue;
    first = first == nullptr ? &fate : first;
    ++lost;
  }
  if (lost == 0) return;
  if (account_.report.bound_modules() == 0) {
    fail(ErrorKind::mismatch,
         "nothing of {} fits {}, \"{}\" first: {}; --model names the model that it is for",
         account_.file, account_.model, first->name, first->reason);
  }
  if (!options_.drop_unknown) {
    fail(ErrorKind::mismatch,
         "{}: {} of {} tensors would be lost, \"{}\" first: {}; --drop-unknown converts the rest",
         account_.file, lost, account_.report.tensors.size(), first->name, first->reason);
  }
  result_.notes.push_back(
      fmt::format("{} tensors were left out, \"{}\" first: {}", lost, first->name, first->reason));
}

void Converter::add(std::string name, Tensor tensor) {
  if (!written_.insert(name).second)
    fail(ErrorKind::mismatch, "two modules of {} become \"{}\"", account_.file, name);
  if (options_.type && is_floating(tensor.dtype())) {
    tensor = from_f32(to_f32(tensor), *options_.type);
  }
  result_.tensors.push_back({std::move(name), std::move(tensor)});
}

void Converter::take(const ModuleView& module) {
  const Placement& placement = *module.placement;
  const FormModule& place = forms_.of(placement.pieces.front().target);
  const bool held = holds(options_.form, module);
  if (held && is_pair(module)) return take_pair(module);
  const bool has_outside_scale =
      file_.peft_scaling(peft_component(*module.component)) != nullptr && !module.has(Role::down);
  if (held && !has_outside_scale) {
    if (same_place(placement, *place.placement)) return pass(module, place);
    if (cut_rows(module)) return;
  }
  if (options_.dense || options_.rank > 0) return anew_.push_back(&module);
  unheld_.push_back(fmt::format("\"{}\" ({})", module.name, module.algorithm));
}

/// Under the form's name, its tensors as they are.
void Converter::pass(const ModuleView& module, const FormModule& place) {
  for (const auto& [role, tensor] : module.tensors) {
    Tensor values = file_.source().load(tensor);
    if (role == Role::dora_scale || role == Role::magnitude_vector) {
      // PEFT's vector is [out] or [1, out, 1, 1], everyone else's [out, 1] or [out, 1, 1, 1].
      const Shape& weight = place.placement->weight;
      const bool is_conv = weight.rank() == 4;
      if (module.has_output_axis) {
        values = options_.form == Form::diffusers
                     ? values.reshaped(is_conv ? Shape{1, weight[0], 1, 1} : Shape{weight[0]})
                     : values.reshaped(is_conv ? Shape{weight[0], 1, 1, 1} : Shape{weight[0], 1});
      }
    }
    if (role != Role::alpha) add(place.name + suffix_of(options_.form, role, module), values);
  }
  std::optional<double> alpha = module.alpha;
  const PeftScaling* outside = file_.peft_scaling(peft_component(*module.component));
  if (!alpha && outside != nullptr && module.rank > 0) {
    alpha = outside->factor({.name = module.name, .path = module.placement->path}, module.rank) *
            static_cast<double>(module.rank);
  }
  if (options_.form == Form::diffusers) {
    state_alpha(module.placement->pieces.front().target, module.rank, alpha);
  } else if (module.has(Role::alpha)) {
    add(place.name + ".alpha", load(module, Role::alpha));
  } else if (alpha) {
    write_alpha(place, load(module, Role::down).dtype(), *alpha);
  }
  ++result_.modules;
}

/// Each layer gets its rows, where all tensors of the module are cut by rows or shared.
bool Converter::cut_rows(const ModuleView& module) {
  if (options_.form == Form::diffusers || module.has(Role::hada_t1)) return false;
  for (const auto& [role, tensor] : module.tensors) {
    const bool is_output_magnitude =
        (role == Role::dora_scale || role == Role::magnitude_vector) && module.has_output_axis;
    if (!has_output_rows(role) && !is_shared(role) && !is_output_magnitude) return false;
  }
  for (const Piece& piece : module.placement->pieces) {
    const Placement& there = *forms_.of(piece.target).placement;
    if (there.pieces.size() != 1 || there.pieces.front().rows.size() != 1) return false;
  }
  for (const Piece& piece : module.placement->pieces) {
    const FormModule& place = forms_.of(piece.target);
    for (const auto& [role, tensor] : module.tensors) {
      const Tensor values = file_.source().load(tensor);
      add(place.name + suffix_of(options_.form, role, module),
          is_shared(role) ? values : gather_rows(values, piece.rows));
    }
    ++result_.modules;
  }
  return true;
}

Pair Converter::pair_of(const ModuleView& module) const {
  Pair pair{.down = module.has(Role::down) ? load(module, Role::down)
                                           : transposed(load(module, Role::down_transposed)),
            .up = module.has(Role::up) ? load(module, Role::up)
                                       : transposed(load(module, Role::up_transposed)),
            .alpha = module.alpha};
  const auto rank = static_cast<double>(pair.rank());
  const auto number = [&](Role role) {
    return static_cast<double>(to_f32(load(module, role)).floats()[0]);
  };
  if (module.has(Role::scale)) {
    pair.alpha = number(Role::scale) * rank;
  } else if (!pair.alpha) {
    if (const PeftScaling* outside = file_.peft_scaling(peft_component(*module.component)))
      pair.alpha =
          outside->factor({.name = module.name, .path = module.placement->path}, pair.rank()) *
          rank;
  }
  if (module.has(Role::scalar)) pair.alpha = pair.alpha.value_or(rank) * number(Role::scalar);
  return pair;
}

void Converter::take_pair(const ModuleView& module) {
  Pair pair = pair_of(module);
  const Placement& placement = *module.placement;
  const FormModule& place = forms_.of(placement.pieces.front().target);
  if (same_place(placement, *place.placement))
    return write_pair(place, placement.pieces.front().target, std::move(pair));
  std::vector<Pair> pieces = split(pair, placement);
  // Rows of zeros stand for a layer that was not trained when the others were joined; joining them
  // again makes the same zeros.
  const auto is_idle = [](const Pair& piece) { return is_all_zero(piece.up); };
  const bool all_idle = std::ranges::all_of(pieces, is_idle);
  for (std::size_t k = 0; k < pieces.size(); ++k) {
    if (all_idle || !is_idle(pieces[k]))
      pairs_.emplace(placement.pieces[k].target, std::move(pieces[k]));
  }
}

bool Converter::has_fit(const BoundModule& layer) const {
  return options_.rank > 0 && layer.delta->changes_weight() &&
         shape_of(layer.target).weight.rank() >= 2;
}

void Converter::substitute_all() {
  std::vector<const BoundModule*> layers;
  for (const ModuleView* module : anew_) {
    for (const BoundModule* layer : module->layers) {
      if (has_fit(*layer)) layers.push_back(layer);
    }
  }
  std::vector<LowRankFit> fits = fit_low_rank(layers, components_, options_.rank, watch_);
  for (std::size_t i = 0; i < layers.size(); ++i) fits_.emplace(layers[i], std::move(fits[i]));
  for (const ModuleView* module : anew_) {
    throw_if_stopped(watch_.stop);
    substitute(*module);
    if (options_.dense)
      watch_.report(static_cast<std::size_t>(++result_.substituted), anew_.size());
  }
  result_.substituted = static_cast<int>(anew_.size());
}

void Converter::add_fit(const BoundModule& layer) {
  const LowRankFit& fit = fits_.at(&layer);
  if (!fit.down.defined()) return;
  const ModuleShape& shape = shape_of(layer.target);
  const std::int64_t rank = fit.down.size(0);
  Tensor down = fit.down, up = fit.up;
  if (shape.weight.rank() == 4) {
    const std::int64_t height = shape.weight[2], width = shape.weight[3];
    down = down.reshaped({rank, down.size(1) / (height * width), height, width});
    up = up.reshaped({up.size(0), rank, 1, 1});
  }
  pairs_.emplace(layer.target, Pair{.down = down, .up = up, .alpha = std::nullopt});
  result_.notes.push_back(
      fmt::format("{}: rank {} keeps {:.2f} % of its energy", shape.path, rank, 100 * fit.energy));
}

/// What the form cannot hold: the change itself, whole or nearest in rank.
void Converter::substitute(const ModuleView& module) {
  for (const BoundModule* layer : module.layers) {
    const auto pristine = [&] { return pristine_weight(*layer->placement, components_); };
    if (has_fit(*layer)) {
      add_fit(*layer);
    } else if (const Tensor change = layer->delta->weight_change(pristine, 1, 0);
               change.defined()) {
      differences_.emplace(layer->target, change);
    }
    const auto pristine_of_bias = [&] { return pristine_bias(*layer->placement, components_); };
    const Tensor bias = layer->delta->bias_change(pristine_of_bias, 1);
    if (!bias.defined()) continue;
    const auto [sum, fresh] = biases_.emplace(layer->target, bias);
    for (std::int64_t i = 0; i < bias.count() && !fresh; ++i)
      sum->second.mutable_data<float>()[i] += bias.data<float>()[i];
  }
  const bool loses =
      options_.form == Form::diffusers && (!differences_.empty() || !biases_.empty());
  if (loses)
    unheld_.push_back(fmt::format("\"{}\" ({}; a full difference)", module.name, module.algorithm));
}

void Converter::refuse_unheld() const {
  if (unheld_.empty()) return;
  const char* hint = "--dense writes full differences, --rank N the nearest LoRA of that rank";
  if (options_.form == Form::diffusers) {
    hint = options_.rank > 0 ? "--to comfy or --to kohya has places for vectors and for more kinds"
                             : "--rank N writes the nearest LoRA of that rank, --to comfy or --to "
                               "kohya has places for more kinds";
  }
  fail(ErrorKind::unsupported, "{}: the {} form has no place for {} of its modules, {} first; {}",
       account_.file, to_string(options_.form), unheld_.size(), unheld_.front(), hint);
}

void Converter::write_pairs() {
  std::set<std::string> done;
  for (const auto& [target, pair] : pairs_) {
    const FormModule& place = forms_.of(target);
    if (!done.insert(place.name).second) continue;
    const Placement& placement = *place.placement;
    std::vector<std::optional<Pair>> pieces;
    for (const Piece& piece : placement.pieces) {
      const auto found = pairs_.find(piece.target);
      pieces.push_back(found == pairs_.end() ? std::nullopt : std::optional(found->second));
    }
    write_pair(place, target, placement.is_plain() ? pair : fuse(pieces, placement));
  }
}

void Converter::write_pair(const FormModule& place, Target first, Pair pair) {
  if (options_.fold_alpha) pair = folded(std::move(pair));
  const bool diffusers = options_.form == Form::diffusers;
  const DType type = pair.down.dtype();
  const std::int64_t rank = pair.rank();
  add(place.name + (diffusers ? ".lora_A.weight" : ".lora_down.weight"), std::move(pair.down));
  add(place.name + (diffusers ? ".lora_B.weight" : ".lora_up.weight"), std::move(pair.up));
  if (diffusers) {
    state_alpha(first, rank, pair.alpha);
  } else if (pair.alpha) {
    write_alpha(place, type, *pair.alpha);
  }
  ++result_.modules;
}

/// In the module's own type, as trainers write it, where that holds the number.
void Converter::write_alpha(const FormModule& place, DType type, double alpha) {
  const Tensor exact = Tensor::from(std::array{static_cast<float>(alpha)}, Shape{});
  const Tensor typed = from_f32(exact, options_.type.value_or(type));
  const bool keeps = to_f32(typed).floats()[0] == exact.floats()[0];
  result_.tensors.push_back({place.name + ".alpha", keeps ? typed : exact});
}

void Converter::state_alpha(Target target, std::int64_t rank, std::optional<double> alpha) {
  const std::string component(peft_component(component_of(target)));
  if (alpha) has_alpha_.insert(component);
  alphas_[component][shape_of(target).path] = {rank, alpha.value_or(static_cast<double>(rank))};
}

void Converter::write_differences() {
  const auto write = [&](const std::map<Target, Tensor>& changes, std::string_view suffix,
                         std::string_view norm_suffix) {
    std::map<std::string, Tensor> wholes;
    for (const auto& [target, change] : changes) {
      const FormModule& place = forms_.of(target);
      const Placement& placement = *place.placement;
      const auto piece = std::ranges::find(placement.pieces, target, &Piece::target);
      Tensor placed = scatter_rows(change, piece->rows, placement.weight[0]);
      const bool is_norm = shape_of(target).kind == nn::LayerKind::norm;
      auto [at, fresh] =
          wholes.emplace(place.name + std::string(is_norm ? norm_suffix : suffix), placed);
      if (fresh) continue;
      for (std::int64_t i = 0; i < placed.count(); ++i)
        at->second.mutable_data<float>()[i] += placed.data<float>()[i];
    }
    for (auto& [name, whole] : wholes) {
      add(name, std::move(whole));
      ++result_.modules;
    }
  };
  write(differences_, ".diff", ".w_norm");
  write(biases_, ".diff_b", ".b_norm");
}

void Converter::keep_embeddings() {
  for (const BundledEmbedding& embedding : file_.embeddings()) {
    for (const auto& [key, tensor] : embedding.tensors) {
      add(fmt::format("bundle_emb.{}.{}", embedding.name,
                      key.empty() ? std::string("string_to_param.*") : key),
          file_.source().load(tensor));
    }
  }
}

/// diffusers' header for alphas (lora-formats §4.6): the most frequent value of a component, and
/// patterns for the rest, anchored where a path is the end of another one.
void Converter::state_alphas() {
  Json all = Json::object();
  for (const auto& [component, modules] : alphas_) {
    if (!has_alpha_.contains(component)) continue;
    std::map<std::int64_t, int> ranks;
    std::map<double, int> values;
    for (const auto& [path, rank_and_alpha] : modules) {
      ++ranks[rank_and_alpha.first];
      ++values[rank_and_alpha.second];
    }
    const auto most = [](const auto& counts) {
      return std::ranges::max_element(counts, {}, [](const auto& entry) { return entry.second; })
          ->first;
    };
    const std::int64_t rank = most(ranks);
    const double alpha = most(values);
    Json rank_pattern = Json::object(), alpha_pattern = Json::object(), targets = Json::array();
    for (const auto& [path, own] : modules) {
      const bool is_end = std::ranges::any_of(modules, [&, &path = path](const auto& other) {
        return other.first.ends_with("." + path);
      });
      const std::string pattern = (is_end ? "^" : "") + path;
      if (own.first != rank) rank_pattern[pattern] = own.first;
      if (own.second != alpha) alpha_pattern[pattern] = own.second;
      targets.push_back(path);
    }
    all[component + ".r"] = rank;
    all[component + ".lora_alpha"] = alpha;
    all[component + ".rank_pattern"] = std::move(rank_pattern);
    all[component + ".alpha_pattern"] = std::move(alpha_pattern);
    all[component + ".target_modules"] = std::move(targets);
    all[component + ".peft_type"] = "LORA";
  }
  if (!all.empty()) result_.metadata[kPeftKey] = all.dump();
}

void Converter::finish() {
  result_.metadata = file_.source().metadata();
  for (const char* key : kStaleKeys) {
    const bool was_there = result_.metadata.erase(key) > 0;
    if (was_there && std::string_view(key) != kPeftKey)
      result_.notes.push_back(fmt::format("{} was of the other bytes and is left out", key));
  }
  // A lone number was the alpha of all modules; it stands with each of them now.
  if (file_.peft_scaling("") != nullptr) result_.metadata.erase("alpha");
  if (options_.form == Form::diffusers) {
    result_.metadata.try_emplace("format", "pt");
    state_alphas();
  }
  // The order of the format's own writer: wide elements first, then by name.
  std::ranges::sort(result_.tensors, [](const auto& a, const auto& b) {
    const std::size_t left = size_of(a.tensor.dtype()), right = size_of(b.tensor.dtype());
    return left != right ? left > right : a.name < b.name;
  });
}

}  // namespace

Conversion convert(const Account& account, const ConvertOptions& options, const Watch& watch) {
  if (account.source == nullptr || account.bound == nullptr)
    fail(ErrorKind::mismatch, "{} cannot be converted: {}", account.file, account.refusal);
  if (options.rank < 0 || (options.dense && options.rank > 0))
    fail(ErrorKind::invalid_argument, "--dense or --rank N with N of 1 or more, not both");
  return Converter(account, options, watch).run();
}

}  // namespace velatura::lora::tools

#include "lora/tools/convert.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <iterator>
#include <set>
#include <unordered_set>

#include "base/error.h"
#include "lora/algorithms/matrix.h"
#include "lora/tools/low_rank_fit.h"
#include "lora/tools/peft_header.h"
#include "lora/tools/row_module.h"

namespace velatura::lora::tools {

namespace {

/// Of the data that was there before.
constexpr auto kStaleKeys = std::to_array<const char*>(
    {"sshs_model_hash", "sshs_legacy_hash", "modelspec.hash_sha256", PeftHeader::kKey});

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

/// What α/r is multiplied into, where the module's kind is no pair of two.
bool takes_scale(Role role) {
  constexpr auto kRoles = std::to_array<Role>(
      {Role::up, Role::up_bias, Role::hada_w1_a, Role::lokr_w1, Role::lokr_w1_a, Role::glora_a1,
       Role::glora_b1, Role::tlora_lambda, Role::tlora_base_lambda});
  return std::ranges::find(kRoles, role) != kRoles.end();
}

bool same_place(const Placement& a, const Placement& b) {
  return std::ranges::equal(a.pieces, b.pieces, [](const Piece& left, const Piece& right) {
    return left.target == right.target && left.rows == right.rows;
  });
}

/// Those that do something, without those of their tensors that do nothing: a bias that an earlier
/// module has, say.
std::vector<ModuleView> used_modules(const Account& account) {
  std::unordered_set<std::string_view> idle;
  for (const TensorFate& fate : account.report.tensors) {
    if (fate.fate == Fate::ignored || fate.fate == Fate::refused) idle.insert(fate.name);
  }
  std::vector<ModuleView> used;
  for (const ModuleView& module : account.modules) {
    if (!module.is_used()) continue;
    used.push_back(module);
    std::erase_if(used.back().tensors,
                  [&](const auto& tensor) { return idle.contains(tensor.second); });
    if (used.back().tensors.empty()) used.pop_back();
  }
  return used;
}

class Converter {
 public:
  Converter(const Account& account, const ConvertOptions& options, const Watch& watch)
      : account_(account),
        options_(options),
        watch_(watch),
        file_(*account.source),
        components_(account.names->components),
        forms_(options.form, account.family, components_, *account.names->index),
        modules_(used_modules(account)) {}

  Conversion run() {
    refuse_losses();
    plan_joins();
    for (const ModuleView& module : modules_) {
      throw_if_stopped(watch_.stop);
      take(module);
    }
    substitute_all();
    refuse_unheld();
    write_joined();
    keep_embeddings();
    finish();
    return std::move(result_);
  }

 private:
  /// What comes together in one module of the form: for the weight, or the bias alone.
  struct Join {
    std::set<Role> kind;       ///< row_kind() of those that act on the weight
    std::set<Target> targets;  ///< that have it
    bool is_possible = true;
  };
  using JoinKey = std::pair<std::string, bool>;  ///< the form's name, and whether for the bias

  void refuse_losses();
  void plan_joins();
  bool can_move(const ModuleView& module) const;
  void take(const ModuleView& module);
  bool can_pass(const ModuleView& module) const;
  void pass(const ModuleView& module, const FormModule& place);
  void move_rows(const ModuleView& module);
  void substitute_all();
  void substitute(const ModuleView& module);
  bool has_fit(const BoundModule& layer) const;
  void add_fit(const BoundModule& layer, RowModule& stand_in);
  void refuse_unheld() const;
  void write_joined();
  void write_rows(const FormModule& place, Target first, RowModule module);
  void keep_embeddings();
  void finish();
  void write_alpha(const FormModule& place, DType type, double alpha);
  void state(Target target, std::int64_t rank, std::optional<double> alpha, bool has_magnitude,
             bool has_bias);

  Tensor load(const ModuleView& module, Role role) const {
    return file_.source().load(*module.tensor(role));
  }
  const PeftScaling* outside_of(const ModuleView& module) const {
    return file_.peft_scaling(peft_component(*module.component));
  }
  std::optional<double> alpha_of(const ModuleView& module) const;
  std::optional<double> whole_alpha_of(const ModuleView& module) const;
  RowModule rows_of(const ModuleView& module);
  Tensor magnitude(const Tensor& values, const Shape& weight) const;
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
  std::vector<ModuleView> modules_;  ///< used_modules()
  Conversion result_;
  std::map<JoinKey, Join> joins_;
  std::map<Target, RowModule> rows_;     ///< by layer, to be joined
  std::vector<const ModuleView*> anew_;  ///< what the form cannot hold
  std::map<const BoundModule*, LowRankFit> fits_;
  std::vector<std::string> unheld_;  ///< "name (kind)"
  std::set<std::string> written_;
  PeftHeader peft_;
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

bool is_bias_alone(const ModuleView& module) {
  return std::ranges::all_of(module.tensors, acts_on_bias, &std::pair<Role, std::string>::first);
}

/// Which modules meet in one of the form's, and whether that can be: kinds side by side have no
/// common form, and zeros stand for no row of a magnitude.
void Converter::plan_joins() {
  for (const ModuleView& module : modules_) {
    const auto kind =
        holds(options_.form, module) ? row_kind(module) : std::optional<std::set<Role>>();
    for (const Piece& piece : module.placement->pieces) {
      Join& join = joins_[{forms_.of(piece.target).name, is_bias_alone(module)}];
      join.targets.insert(piece.target);
      if (kind && join.kind.empty()) join.kind = *kind;
      join.is_possible = join.is_possible && kind && (kind->empty() || *kind == join.kind);
    }
  }
  for (const ModuleView& module : modules_) {
    for (const Piece& piece : module.placement->pieces) {
      const FormModule& place = forms_.of(piece.target);
      Join& join = joins_[{place.name, is_bias_alone(module)}];
      if (needs_every_row(join.kind) && join.targets.size() < place.placement->pieces.size())
        join.is_possible = false;
    }
  }
}

bool Converter::can_move(const ModuleView& module) const {
  // With a rank what stands beside a pair becomes one.
  if (options_.rank > 0 && row_kind(module) == std::set{Role::up}) return true;
  return std::ranges::all_of(module.placement->pieces, [&](const Piece& piece) {
    return joins_.at({forms_.of(piece.target).name, is_bias_alone(module)}).is_possible;
  });
}

void Converter::take(const ModuleView& module) {
  const Placement& placement = *module.placement;
  const FormModule& place = forms_.of(placement.pieces.front().target);
  if (holds(options_.form, module)) {
    const bool stays = same_place(placement, *place.placement) && !is_pair(module) &&
                       !module.has(Role::down_transposed);
    const bool folds = options_.fold_alpha && alpha_of(module);
    if ((!stays || folds) && can_move(module)) return move_rows(module);
    if (stays && can_pass(module)) return pass(module, place);
  }
  if (options_.dense || options_.rank > 0) return anew_.push_back(&module);
  unheld_.push_back(fmt::format("\"{}\" ({})", module.name, module.algorithm));
}

/// α where it scales the module by α/r, wherever it stands: beside the matrices, or outside the
/// tensors.
std::optional<double> Converter::alpha_of(const ModuleView& module) const {
  const std::int64_t rank = module.scaled_rank();
  if (rank == 0 || module.alpha) return rank == 0 ? std::nullopt : module.alpha;
  const PeftScaling* outside = outside_of(module);
  if (outside == nullptr) return std::nullopt;
  return outside->factor({.name = module.name, .path = module.placement->path}, rank) *
         static_cast<double>(rank);
}

/// The α that stands for `scale`, which takes its place, and `scalar` as well.
std::optional<double> Converter::whole_alpha_of(const ModuleView& module) const {
  const auto rank = static_cast<double>(module.scaled_rank());
  const auto number = [&](Role role) {
    return static_cast<double>(to_f32(load(module, role)).floats()[0]);
  };
  std::optional<double> alpha =
      module.has(Role::scale) ? std::optional(number(Role::scale) * rank) : alpha_of(module);
  if (module.has(Role::scalar)) alpha = alpha.value_or(rank) * number(Role::scalar);
  return alpha;
}

/// Whether the form's tensors say all that scales the module. What a configuration says of
/// rotations, and of Kronecker factors that are both whole, has no tensor.
bool Converter::can_pass(const ModuleView& module) const {
  const PeftScaling* outside = outside_of(module);
  if (outside == nullptr) return true;
  if (module.has(Role::oft_r)) return false;
  // Of a convolution, PEFT's configuration alone may say which axis the vector is for.
  if (module.has(Role::ia3) && outside->feedforward && module.placement->weight.rank() == 4)
    return false;
  const bool is_whole_lokr = module.has(Role::lokr_w1) && module.scaled_rank() == 0;
  return !is_whole_lokr || module.has(Role::alpha) || module.has(Role::scale) ||
         outside->factor_without_rank({.name = module.name, .path = module.placement->path}) == 1;
}

/// Under the form's name, its tensors as they are.
void Converter::pass(const ModuleView& module, const FormModule& place) {
  const std::optional<double> alpha = module.has(Role::scale) ? std::nullopt : alpha_of(module);
  const bool folds = options_.fold_alpha && alpha;
  const double scale = folds ? *alpha / static_cast<double>(module.scaled_rank()) : 1;
  for (const auto& [role, tensor] : module.tensors) {
    Tensor values = file_.source().load(tensor);
    if (role == Role::alpha) continue;
    if (module.has_output_axis && (role == Role::dora_scale || role == Role::magnitude_vector))
      values = magnitude(values, place.placement->weight);
    if (scale != 1 && takes_scale(role)) values = scaled_in_type(values, scale);
    add(place.name + suffix_of(options_.form, role, module), values);
  }
  if (options_.form == Form::diffusers) {
    state(module.placement->pieces.front().target, module.rank, folds ? std::nullopt : alpha,
          module.is_dora(), module.has(Role::up_bias));
  } else if (module.has(Role::alpha) && !folds) {
    add(place.name + ".alpha", load(module, Role::alpha));
  } else if (alpha && !folds) {
    write_alpha(place, file_.source().find(module.tensors.front().second)->dtype, *alpha);
  }
  ++result_.modules;
}

/// PEFT's vector is [out] or [1, out, 1, 1], everyone else's [out, 1] or [out, 1, 1, 1].
Tensor Converter::magnitude(const Tensor& values, const Shape& weight) const {
  const std::int64_t out = values.count();
  if (options_.form == Form::diffusers)
    return values.reshaped(weight.rank() == 4 ? Shape{1, out, 1, 1} : Shape{out});
  return values.reshaped(weight.rank() == 4 ? Shape{out, 1, 1, 1} : Shape{out, 1});
}

RowModule Converter::rows_of(const ModuleView& module) {
  RowModule rows;
  const auto add_factor = [&](Role up, Role down) {
    rows.factors.push_back({.down = load(module, down), .up = load(module, up), .alpha = {}});
  };
  if (module.has(Role::down)) add_factor(Role::up, Role::down);
  if (module.has(Role::down_transposed)) {
    rows.factors.push_back({.down = transposed(load(module, Role::down_transposed)),
                            .up = transposed(load(module, Role::up_transposed)),
                            .alpha = {}});
  }
  if (module.has(Role::hada_w1_a)) {
    add_factor(Role::hada_w1_a, Role::hada_w1_b);
    add_factor(Role::hada_w2_a, Role::hada_w2_b);
  }
  // What is for the bias of a layer that has none was never looked at, and may be of any shape.
  const auto add_rows = [&](Role role, const std::string& tensor) {
    const Tensor values = file_.source().load(tensor);
    const std::int64_t count = module.placement->rows();
    if (values.rank() > 0 && values.size(0) == count &&
        (!acts_on_bias(role) || values.count() == count)) {
      rows.rows.emplace(role, values);
    } else {
      result_.notes.push_back(fmt::format(
          "\"{}\" was left out: {} is not of the {} rows of \"{}\", and does nothing there", tensor,
          values.shape().to_string(), count, module.placement->path));
    }
  };
  for (const Pair& pair : rows.factors) {
    if (pair.rank() > 0 && pair.up.count() == pair.up.size(0) * pair.rank()) continue;
    fail(ErrorKind::bad_file,
         "\"{}\": its matrices {} and {} have no rank in common, so its rows cannot be moved "
         "(--dense writes what it does)",
         module.name, pair.up.shape().to_string(), pair.down.shape().to_string());
  }
  if (!rows.factors.empty()) rows.factors.front().alpha = whole_alpha_of(module);
  for (const auto& [role, tensor] : module.tensors) {
    switch (role) {
      case Role::up_bias:
      case Role::diff:
      case Role::diff_b:
      case Role::norm_w:
      case Role::norm_b:
      case Role::set_weight:
      case Role::set_bias:
        add_rows(role, tensor);
        break;
      case Role::dora_scale:
      case Role::magnitude_vector: {
        const Tensor values = file_.source().load(tensor);
        rows.rows.emplace(Role::dora_scale, values.reshaped({values.count()}));
        break;
      }
      default:
        break;  // read above
    }
  }
  return rows;
}

void Converter::move_rows(const ModuleView& module) {
  const Placement& placement = *module.placement;
  const Target first = placement.pieces.front().target;
  const FormModule& place = forms_.of(first);
  RowModule whole = rows_of(module);
  if (same_place(placement, *place.placement)) return write_rows(place, first, std::move(whole));
  std::vector<RowModule> pieces = split(whole, placement);
  // Rows of zeros stand for a layer that was not trained when the others were joined; joining them
  // again makes the same zeros.
  const bool all_idle = std::ranges::all_of(pieces, is_idle);
  for (std::size_t k = 0; k < pieces.size(); ++k) {
    if (all_idle || !is_idle(pieces[k]))
      tools::add(rows_[placement.pieces[k].target], std::move(pieces[k]));
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

void Converter::add_fit(const BoundModule& layer, RowModule& stand_in) {
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
  stand_in.factors.push_back({.down = down, .up = up, .alpha = std::nullopt});
  result_.notes.push_back(
      fmt::format("{}: rank {} keeps {:.2f} % of its energy", shape.path, rank, 100 * fit.energy));
}

/// What the form cannot hold: the change itself, whole or nearest in rank.
void Converter::substitute(const ModuleView& module) {
  bool has_difference = false;
  for (const BoundModule* layer : module.layers) {
    RowModule stand_in;
    const bool is_norm = shape_of(layer->target).kind == nn::LayerKind::norm;
    const auto pristine = [&] { return pristine_weight(*layer->placement, components_); };
    if (has_fit(*layer)) {
      add_fit(*layer, stand_in);
    } else if (const Tensor change = layer->delta->weight_change(pristine, 1, 0);
               change.defined()) {
      stand_in.rows.emplace(is_norm ? Role::norm_w : Role::diff, change);
    }
    const auto pristine_of_bias = [&] { return pristine_bias(*layer->placement, components_); };
    const Tensor bias = layer->delta->bias_change(pristine_of_bias, 1);
    if (bias.defined()) stand_in.rows.emplace(is_norm ? Role::norm_b : Role::diff_b, bias);
    has_difference = has_difference || !stand_in.rows.empty();
    tools::add(rows_[layer->target], std::move(stand_in));
  }
  if (options_.form == Form::diffusers && has_difference)
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

void Converter::write_joined() {
  std::set<std::string> done;
  for (auto& [target, rows] : rows_) {
    const FormModule& place = forms_.of(target);
    if (!done.insert(place.name).second) continue;
    const Placement& placement = *place.placement;
    std::vector<std::optional<RowModule>> pieces;
    for (const Piece& piece : placement.pieces) {
      const auto found = rows_.find(piece.target);
      pieces.push_back(found == rows_.end() ? std::nullopt : std::optional(found->second));
    }
    write_rows(place, target, placement.is_plain() ? std::move(rows) : fuse(pieces, placement));
  }
}

void Converter::write_rows(const FormModule& place, Target first, RowModule module) {
  if (options_.fold_alpha) module = folded(std::move(module));
  constexpr auto kPlain = std::to_array<std::pair<Role, Role>>({{Role::down, Role::up}});
  constexpr auto kHadamard = std::to_array<std::pair<Role, Role>>(
      {{Role::hada_w1_b, Role::hada_w1_a}, {Role::hada_w2_b, Role::hada_w2_a}});
  const std::span<const std::pair<Role, Role>> roles =
      module.factors.size() == 1 ? std::span<const std::pair<Role, Role>>(kPlain) : kHadamard;
  for (std::size_t k = 0; k < module.factors.size(); ++k) {
    add(place.name + suffix_of(options_.form, roles[k].first), module.factors[k].down);
    add(place.name + suffix_of(options_.form, roles[k].second), module.factors[k].up);
  }
  for (const auto& [role, tensor] : module.rows) {
    add(place.name + suffix_of(options_.form, role),
        role == Role::dora_scale ? magnitude(tensor, place.placement->weight) : tensor);
  }
  ++result_.modules;
  if (module.factors.empty()) return;
  const Pair& factor = module.factors.front();
  if (options_.form == Form::diffusers) {
    state(first, factor.rank(), factor.alpha, module.rows.contains(Role::dora_scale),
          module.rows.contains(Role::up_bias));
  } else if (factor.alpha) {
    write_alpha(place, factor.down.dtype(), *factor.alpha);
  }
}

/// In the module's own type, as trainers write it, where that holds the number.
void Converter::write_alpha(const FormModule& place, DType type, double alpha) {
  const Tensor exact = Tensor::from(std::array{static_cast<float>(alpha)}, Shape{});
  const Tensor typed = from_f32(exact, options_.type.value_or(type));
  const bool keeps = to_f32(typed).floats()[0] == exact.floats()[0];
  result_.tensors.push_back({place.name + ".alpha", keeps ? typed : exact});
}

void Converter::state(Target target, std::int64_t rank, std::optional<double> alpha,
                      bool has_magnitude, bool has_bias) {
  peft_.state({.component = std::string(peft_component(component_of(target))),
               .path = shape_of(target).path,
               .rank = rank,
               .alpha = alpha,
               .has_magnitude = has_magnitude,
               .has_bias = has_bias});
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

void Converter::finish() {
  result_.metadata = file_.source().metadata();
  for (const char* key : kStaleKeys) {
    const bool was_there = result_.metadata.erase(key) > 0;
    if (was_there && std::string_view(key) != PeftHeader::kKey)
      result_.notes.push_back(fmt::format("{} was of the other bytes and is left out", key));
  }
  // A lone number was the alpha of all modules; it stands with each of them now.
  if (file_.peft_scaling("") != nullptr) result_.metadata.erase("alpha");
  if (options_.form == Form::diffusers) {
    result_.metadata.try_emplace("format", "pt");
    if (std::string header = peft_.text(); !header.empty())
      result_.metadata[PeftHeader::kKey] = std::move(header);
    std::ranges::copy(peft_.remarks(), std::back_inserter(result_.notes));
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

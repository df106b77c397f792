#include <algorithm>
#include <array>
#include <set>

#include "lora/algorithms/algorithm.h"

namespace velatura::lora {

namespace {

constexpr std::array kLoraNeeds = {Role::down, Role::up};
constexpr std::array kLoraAccepts = {
    Role::alpha,   Role::scale,      Role::scalar,           Role::down_bias,
    Role::up_bias, Role::dora_scale, Role::magnitude_vector, Role::reshape_weight};
constexpr std::array kMlxNeeds = {Role::down_transposed, Role::up_transposed};
constexpr std::array kTloraNeeds = {Role::tlora_q, Role::tlora_p, Role::tlora_lambda};
constexpr std::array kTloraAccepts = {Role::alpha,        Role::scale,
                                      Role::scalar,       Role::tlora_base_q,
                                      Role::tlora_base_p, Role::tlora_base_lambda};
constexpr std::array kTuckerNeeds = {Role::down, Role::up, Role::mid};
constexpr std::array kTuckerAccepts = {Role::alpha, Role::scale, Role::scalar, Role::dora_scale,
                                       Role::magnitude_vector};
constexpr std::array kLohaNeeds = {Role::hada_w1_a, Role::hada_w1_b, Role::hada_w2_a,
                                   Role::hada_w2_b};
constexpr std::array kLohaAccepts = {Role::alpha,           Role::scale,   Role::scalar,
                                     Role::hada_t1,         Role::hada_t2, Role::dora_scale,
                                     Role::magnitude_vector};
constexpr std::array kLokrNeeds = {Role::lokr_w1, Role::lokr_w2};
constexpr std::array kLokrAccepts = {Role::alpha, Role::scale, Role::scalar, Role::dora_scale,
                                     Role::magnitude_vector};
constexpr std::array kLokrOfW2Needs = {Role::lokr_w1, Role::lokr_w2_a, Role::lokr_w2_b};
constexpr std::array kLokrOfW2Accepts = {Role::alpha,   Role::scale,      Role::scalar,
                                         Role::lokr_t2, Role::dora_scale, Role::magnitude_vector};
constexpr std::array kLokrOfW1Needs = {Role::lokr_w1_a, Role::lokr_w1_b, Role::lokr_w2};
constexpr std::array kLokrOfW1Accepts = {Role::alpha,   Role::scale,      Role::scalar,
                                         Role::lokr_t1, Role::dora_scale, Role::magnitude_vector};
constexpr std::array kLokrOfBothNeeds = {Role::lokr_w1_a, Role::lokr_w1_b, Role::lokr_w2_a,
                                         Role::lokr_w2_b};
constexpr std::array kLokrOfBothAccepts = {Role::alpha,           Role::scale,   Role::scalar,
                                           Role::lokr_t1,         Role::lokr_t2, Role::dora_scale,
                                           Role::magnitude_vector};
constexpr std::array kDifferenceNeeds = {Role::diff};
constexpr std::array kBiasNeeds = {Role::diff_b};
constexpr std::array kNormNeeds = {Role::norm_w};
constexpr std::array kNormAccepts = {Role::norm_b};
constexpr std::array kNormBiasNeeds = {Role::norm_b};
constexpr std::array kSetWeightNeeds = {Role::set_weight};
constexpr std::array kSetBiasNeeds = {Role::set_bias};
constexpr std::array kSparseNeeds = {Role::sparse_indices, Role::sparse_values, Role::sparse_size};
constexpr std::array kGloraNeeds = {Role::glora_a1, Role::glora_a2, Role::glora_b1, Role::glora_b2};
constexpr std::array kGloraAccepts = {Role::alpha,    Role::scale,      Role::scalar,
                                      Role::glora_bm, Role::dora_scale, Role::magnitude_vector};
constexpr std::array kIa3Needs = {Role::ia3};
constexpr std::array kIa3Accepts = {Role::ia3_on_input};
constexpr std::array kOftNeeds = {Role::oft_blocks};
constexpr std::array kOftListNeeds = {Role::oft_list};
constexpr std::array kOftDiagNeeds = {Role::oft_diag};
constexpr std::array kOftAccepts = {Role::alpha, Role::rescale};
constexpr std::array kOftV2Needs = {Role::oft_r};
constexpr std::array kOftV2Accepts = {Role::oft_scaled};

/// A module with one of these is DoRA, where its kind accepts it: additive ones do.
constexpr std::array kDoraRoles = {Role::dora_scale, Role::magnitude_vector};

/// The changes of several kinds in one module: they add.
class SumDelta : public ModuleDelta {
 public:
  /// `is_first_alone`: the others act on the bias.
  SumDelta(std::vector<std::unique_ptr<ModuleDelta>> parts, bool is_first_alone)
      : parts_(std::move(parts)), is_first_alone_(is_first_alone) {}
  std::int64_t rank() const override { return parts_.front()->rank(); }
  std::int64_t ranks_among(std::int64_t first) const override {
    return parts_.front()->ranks_among(first);
  }
  bool is_zero() const override {
    return std::ranges::all_of(parts_, [](const auto& part) { return part->is_zero(); });
  }
  bool is_linear() const override {
    return std::ranges::all_of(parts_, [](const auto& part) { return part->is_linear(); });
  }
  bool needs_base() const override {
    return std::ranges::any_of(parts_, [](const auto& part) { return part->needs_base(); });
  }
  bool changes_weight() const override {
    return std::ranges::any_of(parts_, [](const auto& part) { return part->changes_weight(); });
  }
  bool replaces() const override {
    return std::ranges::any_of(parts_, [](const auto& part) { return part->replaces(); });
  }
  std::string remark() const override {
    std::string all;
    for (const auto& part : parts_) {
      const std::string one = part->remark();
      if (!one.empty()) all += (all.empty() ? "" : "; ") + one;
    }
    return all;
  }
  std::unique_ptr<ModuleDelta> rows(std::span<const RowRange> rows) const override {
    std::vector<std::unique_ptr<ModuleDelta>> pieces;
    for (const auto& part : parts_) {
      pieces.push_back(part->rows(rows));
      if (!pieces.back()) return nullptr;
    }
    return std::make_unique<SumDelta>(std::move(pieces), is_first_alone_);
  }
  Tensor weight_change(const Pristine& base, float strength, std::int64_t ranks) const override {
    return sum([&](const ModuleDelta& part) { return part.weight_change(base, strength, ranks); });
  }
  Tensor bias_change(const Pristine& bias, float strength) const override {
    return sum([&](const ModuleDelta& part) { return part.bias_change(bias, strength); });
  }
  const ThinFactors* thin() const override { return alone(&ModuleDelta::thin); }
  const KroneckerFactors* kronecker() const override { return alone(&ModuleDelta::kronecker); }
  const TuckerFactors* tucker() const override { return alone(&ModuleDelta::tucker); }

 private:
  template <typename Change>
  Tensor sum(const Change& change_of) const {
    Tensor total;
    for (const auto& part : parts_) {
      Tensor change = change_of(*part);
      if (!change.defined()) continue;
      if (!total.defined()) {
        total = change.clone();
        continue;
      }
      float* values = total.mutable_data<float>();
      const float* added = change.data<float>();
      for (std::int64_t i = 0; i < total.count(); ++i) values[i] += added[i];
    }
    return total;
  }
  /// The live form of the first, where it is all that acts on the weight.
  template <typename Form>
  const Form* alone(const Form* (ModuleDelta::*form)() const) const {
    return is_first_alone_ ? (*parts_.front().*form)() : nullptr;
  }

  std::vector<std::unique_ptr<ModuleDelta>> parts_;
  bool is_first_alone_;
};

/// The whole's dense change on some of its rows.
class SlicedDelta : public ModuleDelta {
 public:
  SlicedDelta(std::shared_ptr<const ModuleDelta> whole, std::span<const RowRange> rows)
      : whole_(std::move(whole)), rows_(rows.begin(), rows.end()) {}
  std::int64_t rank() const override { return whole_->rank(); }
  bool is_zero() const override { return whole_->is_zero(); }
  bool is_linear() const override { return whole_->is_linear(); }
  bool needs_base() const override { return whole_->needs_base(); }
  bool replaces() const override { return whole_->replaces(); }
  bool replaces_bias() const override { return whole_->replaces_bias(); }
  bool changes_weight() const override { return whole_->changes_weight(); }
  std::string remark() const override { return whole_->remark(); }
  Tensor weight_change(const Pristine& base, float strength, std::int64_t ranks) const override {
    return piece(whole_->weight_change(base, strength, ranks));
  }
  Tensor bias_change(const Pristine& bias, float strength) const override {
    return piece(whole_->bias_change(bias, strength));
  }

 private:
  Tensor piece(const Tensor& whole) const {
    return whole.defined() ? gather_rows(whole, rows_) : Tensor();
  }
  std::shared_ptr<const ModuleDelta> whole_;
  std::vector<RowRange> rows_;
};

bool is_dora(const Algorithm& algorithm, const FileModule& module) {
  return std::ranges::any_of(kDoraRoles, [&](Role role) {
    return module.tensors.contains(role) &&
           std::ranges::find(algorithm.accepts, role) != algorithm.accepts.end();
  });
}

bool has_all(const FileModule& module, std::span<const Role> roles) {
  return std::ranges::all_of(roles, [&](Role role) { return module.tensors.contains(role); });
}

}  // namespace

std::span<const Algorithm> algorithms() {
  static constexpr auto kAlgorithms = std::to_array<Algorithm>({
      {"Tucker LoCon", Claim::weight, kTuckerNeeds, kTuckerAccepts, make_tucker},
      {"LoRA", Claim::weight, kLoraNeeds, kLoraAccepts, make_lora},
      {"LoRA", Claim::weight, kMlxNeeds, kLoraAccepts, make_lora_transposed},
      {"T-LoRA", Claim::weight, kTloraNeeds, kTloraAccepts, make_tlora},
      {"LoHa", Claim::weight, kLohaNeeds, kLohaAccepts, make_loha},
      {"LoKr", Claim::weight, kLokrNeeds, kLokrAccepts, make_lokr},
      {"LoKr", Claim::weight, kLokrOfW2Needs, kLokrOfW2Accepts, make_lokr},
      {"LoKr", Claim::weight, kLokrOfW1Needs, kLokrOfW1Accepts, make_lokr},
      {"LoKr", Claim::weight, kLokrOfBothNeeds, kLokrOfBothAccepts, make_lokr},
      {"GLoRA", Claim::weight, kGloraNeeds, kGloraAccepts, make_glora},
      {"(IA)³", Claim::weight, kIa3Needs, kIa3Accepts, make_ia3},
      {"OFT", Claim::weight, kOftNeeds, kOftAccepts, make_oft, "BOFT"},
      {"OFT", Claim::weight, kOftListNeeds, kOftAccepts, make_oft},
      {"OFT", Claim::weight, kOftDiagNeeds, kOftAccepts, make_oft},
      {"OFT v2", Claim::weight, kOftV2Needs, kOftV2Accepts, make_oft_v2},
      {"norm difference", Claim::weight, kNormNeeds, kNormAccepts, make_norm_difference},
      {"norm difference", Claim::on_bias, kNormBiasNeeds, {}, make_norm_difference},
      {"full difference", Claim::weight, kDifferenceNeeds, {}, make_full_difference},
      {"set-weight", Claim::weight, kSetWeightNeeds, {}, make_set_weight},
      {"set-bias", Claim::on_bias, kSetBiasNeeds, {}, make_set_bias},
      {"bias difference", Claim::on_bias, kBiasNeeds, {}, make_bias_difference},
      {"sparse residual", Claim::beside_weight, kSparseNeeds, {}, make_sparse_residual},
  });
  return kAlgorithms;
}

bool has(const ModuleInput& input, Role role) {
  return input.module.tensors.contains(role);
}

MadeDelta make_delta(const ModuleInput& input) {
  MadeDelta made;
  std::set<Role> used;
  std::vector<std::unique_ptr<ModuleDelta>> parts;
  std::size_t on_weight = 0;
  bool is_claimed = false;
  for (const Algorithm& algorithm : algorithms()) {
    if (algorithm.claim == Claim::weight && is_claimed) continue;
    if (!has_all(input.module, algorithm.needs)) continue;
    // A kind that accepts what this one needs has it already (LoRA's bias, say).
    if (std::ranges::all_of(algorithm.needs, [&](Role role) { return used.contains(role); }))
      continue;
    is_claimed = is_claimed || algorithm.claim == Claim::weight;
    used.insert(algorithm.needs.begin(), algorithm.needs.end());
    used.insert(algorithm.accepts.begin(), algorithm.accepts.end());
    std::unique_ptr<ModuleDelta> part = algorithm.make(input);
    if (!made.algorithm.empty()) made.algorithm += " + ";
    if (is_dora(algorithm, input.module)) {
      made.algorithm += "DoRA ";
      part = make_dora(input, std::move(part));
    }
    const std::string& first = input.module.tensors.at(algorithm.needs.front());
    made.algorithm += algorithm.name_for(input.file.source().find(first)->shape.rank());
    parts.push_back(std::move(part));
    on_weight += algorithm.claim == Claim::on_bias ? 0 : 1;
  }
  for (const auto& [role, tensor] : input.module.tensors) {
    if (!used.contains(role)) made.unused.push_back(role);
  }
  if (parts.empty()) return made;
  if (parts.size() == 1) {
    made.delta = std::move(parts.front());
  } else {
    made.delta = std::make_unique<SumDelta>(std::move(parts), is_claimed && on_weight == 1);
  }
  return made;
}

std::unique_ptr<ModuleDelta> cut(std::shared_ptr<const ModuleDelta> whole,
                                 std::span<const RowRange> rows) {
  if (auto piece = whole->rows(rows)) return piece;
  return std::make_unique<SlicedDelta>(std::move(whole), rows);
}

}  // namespace velatura::lora

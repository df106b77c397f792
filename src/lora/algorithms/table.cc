#include <algorithm>
#include <array>

#include "lora/algorithms/algorithm.h"

namespace velatura::lora {

namespace {

constexpr std::array kLoraNeeds = {Role::down, Role::up};
constexpr std::array kLoraAccepts = {Role::alpha, Role::scale, Role::scalar};
// Recognised, so that a file is refused under the right name; their mathematics is not built.
constexpr std::array kTuckerNeeds = {Role::down, Role::up, Role::mid};
constexpr std::array kDoraNeeds = {Role::dora_scale};
constexpr std::array kLohaNeeds = {Role::hada_w1_a};
constexpr std::array kLokr1Needs = {Role::lokr_w1};
constexpr std::array kLokr1aNeeds = {Role::lokr_w1_a};
constexpr std::array kGloraNeeds = {Role::glora_a1};
constexpr std::array kIa3Needs = {Role::ia3};
constexpr std::array kIa3AxisNeeds = {Role::ia3_on_input};
constexpr std::array kOftNeeds = {Role::oft};
constexpr std::array kScaledOftNeeds = {Role::oft_scaled};
constexpr std::array kDiffNeeds = {Role::diff};
constexpr std::array kDiffBiasNeeds = {Role::diff_b};
constexpr std::array kNormNeeds = {Role::norm_w};
constexpr std::array kNormBiasNeeds = {Role::norm_b};
constexpr std::array kSetNeeds = {Role::set_weight};
constexpr std::array kSparseNeeds = {Role::sparse};

}  // namespace

std::span<const Algorithm> algorithms() {
  static constexpr auto kAlgorithms = std::to_array<Algorithm>({
      {"DoRA", kDoraNeeds, {}, nullptr},
      {"Tucker LoCon", kTuckerNeeds, {}, nullptr},
      {"LoRA", kLoraNeeds, kLoraAccepts, make_lora},
      {"LoHa", kLohaNeeds, {}, nullptr},
      {"LoKr", kLokr1Needs, {}, nullptr},
      {"LoKr", kLokr1aNeeds, {}, nullptr},
      {"GLoRA", kGloraNeeds, {}, nullptr},
      {"(IA)³", kIa3Needs, {}, nullptr},
      {"(IA)³", kIa3AxisNeeds, {}, nullptr},
      {"OFT", kOftNeeds, {}, nullptr},
      {"OFT", kScaledOftNeeds, {}, nullptr},
      {"norm difference", kNormNeeds, {}, nullptr},
      {"norm difference", kNormBiasNeeds, {}, nullptr},
      {"full difference", kDiffNeeds, {}, nullptr},
      {"bias difference", kDiffBiasNeeds, {}, nullptr},
      {"set-weight", kSetNeeds, {}, nullptr},
      {"sparse residual", kSparseNeeds, {}, nullptr},
  });
  return kAlgorithms;
}

const Algorithm* find_algorithm(const FileModule& module) {
  const auto has = [&](Role role) { return module.tensors.contains(role); };
  for (const Algorithm& algorithm : algorithms()) {
    if (std::ranges::all_of(algorithm.needs, has)) return &algorithm;
  }
  return nullptr;
}

}  // namespace velatura::lora

#include "lora/apply/adapter_use.h"

#include <algorithm>
#include <cmath>
#include <compare>
#include <cstring>

#include "base/error.h"

namespace velatura::lora {

namespace {

/// NaN never gets here: check() comes first.
std::weak_ordering compare(const LayerFactors* a, const LayerFactors* b) {
  if (a == b) return std::weak_ordering::equivalent;
  if (a == nullptr || b == nullptr)
    return a == nullptr ? std::weak_ordering::less : std::weak_ordering::greater;
  return std::lexicographical_compare_three_way(
      a->begin(), a->end(), b->begin(), b->end(),
      [](float x, float y) { return std::weak_order(x, y); });
}

std::weak_ordering compare_factors(const AdapterUse& a, const AdapterUse& b) {
  const std::size_t most = std::max(a.factors.size(), b.factors.size());
  const auto at = [](const AdapterUse& use, std::size_t component) -> const LayerFactors* {
    return component < use.factors.size() ? use.factors[component].get() : nullptr;
  };
  for (std::size_t component = 0; component < most; ++component) {
    const auto order = compare(at(a, component), at(b, component));
    if (order != 0) return order;
  }
  return std::weak_ordering::equivalent;
}

std::weak_ordering compare(const Schedule& a, const Schedule& b) {
  if (const auto order = a.axis <=> b.axis; order != 0) return order;
  if (const auto order = a.first_step <=> b.first_step; order != 0) return order;
  if (const auto order = a.end_step <=> b.end_step; order != 0) return order;
  return std::lexicographical_compare_three_way(
      a.points.begin(), a.points.end(), b.points.begin(), b.points.end(),
      [](const Schedule::Point& x, const Schedule::Point& y) {
        const auto order = std::weak_order(x.at, y.at);
        return order != 0 ? order : std::weak_order(x.factor, y.factor);
      });
}

std::weak_ordering compare_regions(const Tensor& a, const Tensor& b) {
  if (const auto order = a.defined() <=> b.defined(); order != 0) return order;
  if (!a.defined() || a.bytes() == b.bytes()) return std::weak_ordering::equivalent;
  for (int axis = 0; axis < 2; ++axis) {
    if (const auto order = a.size(axis) <=> b.size(axis); order != 0) return order;
  }
  return std::memcmp(a.bytes(), b.bytes(), a.byte_size()) <=> 0;
}

/// All but the strengths: uses that are equal in this are one.
std::weak_ordering compare_identity(const AdapterUse& a, const AdapterUse& b) {
  if (const auto order = a.adapter->file->content_hash() <=> b.adapter->file->content_hash();
      order != 0)
    return order;
  if (const auto order = a.ranks <=> b.ranks; order != 0) return order;
  if (const auto order = compare(a.schedule, b.schedule); order != 0) return order;
  if (const auto order = compare_factors(a, b); order != 0) return order;
  return compare_regions(a.region, b.region);
}

constexpr weights::Part kTextParts[] = {weights::Part::clip_l, weights::Part::clip_g,
                                        weights::Part::t5};

/// A sum of floats depends on its order, so equal adapters are ordered by strength, too.
bool comes_before(const AdapterUse& a, const AdapterUse& b) {
  if (const auto order = compare_identity(a, b); order != 0) return order < 0;
  if (a.denoiser != b.denoiser) return a.denoiser < b.denoiser;
  for (const weights::Part part : kTextParts) {
    if (a.strength(part) != b.strength(part)) return a.strength(part) < b.strength(part);
  }
  return false;
}

AdapterUse sum(const AdapterUse& a, const AdapterUse& b) {
  AdapterUse both = a;
  both.denoiser = a.denoiser + b.denoiser;
  both.text = a.text + b.text;
  if (a.te2 || b.te2)
    both.te2 = a.strength(weights::Part::clip_g) + b.strength(weights::Part::clip_g);
  if (a.t5 || b.t5) both.t5 = a.strength(weights::Part::t5) + b.strength(weights::Part::t5);
  return both;
}

void check_schedule(const AdapterUse& use) {
  const auto is_bad = [](const Schedule::Point& point) {
    return !std::isfinite(point.at) || !std::isfinite(point.factor);
  };
  if (std::ranges::any_of(use.schedule.points, is_bad) ||
      !std::ranges::is_sorted(use.schedule.points, {}, &Schedule::Point::at)) {
    fail(ErrorKind::invalid_argument,
         "the schedule of \"{}\" is no ascending list of finite points", use.adapter->file->stem());
  }
}

void check_region(const AdapterUse& use) {
  if (!use.region.defined()) return;
  const Tensor& mask = use.region;
  if (mask.rank() != 2 || mask.count() == 0 || mask.dtype() != DType::f32) {
    fail(ErrorKind::invalid_argument, "the region of \"{}\" is no picture of f32: {} {}",
         use.adapter->file->stem(), to_string(mask.dtype()), mask.shape().to_string());
  }
  for (const float value : mask.floats()) {
    if (value >= 0 && value <= 1) continue;
    fail(ErrorKind::invalid_argument, "the region of \"{}\" has a value of {}; 0 to 1 are legal",
         use.adapter->file->stem(), value);
  }
}

}  // namespace

float AdapterUse::strength(weights::Part part) const {
  if (!weights::is_text_encoder(part)) return denoiser;
  if (part == weights::Part::clip_g) return te2.value_or(text);
  if (part == weights::Part::t5) return t5.value_or(text);
  return text;
}

float AdapterUse::strength(weights::Part part, std::size_t component, nn::LayerId layer) const {
  const float whole = strength(part);
  const bool is_even = component >= factors.size() || factors[component] == nullptr;
  return is_even ? whole : whole * factors[component]->at(static_cast<std::size_t>(layer));
}

void check(const AdapterUse& use) {
  const float strengths[] = {use.denoiser, use.text, use.te2.value_or(0), use.t5.value_or(0)};
  if (!std::ranges::all_of(strengths, [](float strength) { return std::isfinite(strength); })) {
    fail(ErrorKind::invalid_argument, "the strength of \"{}\" is not a finite number",
         use.adapter->file->stem());
  }
  if (use.ranks < 0) {
    fail(ErrorKind::invalid_argument, "\"{}\" is asked for {} ranks; 1 or more, or 0 for all",
         use.adapter->file->stem(), use.ranks);
  }
  for (const auto& factors : use.factors) {
    if (factors == nullptr) continue;
    if (std::ranges::all_of(*factors, [](float factor) { return std::isfinite(factor); })) continue;
    fail(ErrorKind::invalid_argument, "a block weight of \"{}\" is not a finite number",
         use.adapter->file->stem());
  }
  check_schedule(use);
  check_region(use);
}

std::vector<AdapterUse> in_fixed_order(std::vector<AdapterUse> named) {
  std::ranges::for_each(named, check);
  for (AdapterUse& use : named) {
    // A mask that hides nothing is none, also for the layers that see no picture.
    if (use.region.defined() &&
        std::ranges::all_of(use.region.floats(), [](float value) { return value == 1; }))
      use.region = {};
  }
  std::ranges::sort(named, comes_before);
  std::vector<AdapterUse> uses;
  for (AdapterUse& use : named) {
    if (!uses.empty() && compare_identity(uses.back(), use) == 0) {
      uses.back() = sum(uses.back(), use);
      check(uses.back());
    } else {
      uses.push_back(std::move(use));
    }
  }
  return uses;
}

}  // namespace velatura::lora

#include "lora/apply/dense_change.h"

#include <bit>
#include <cmath>
#include <cstring>

#include "base/error.h"

namespace velatura::lora {

namespace {

/// to += factor · from.
void add(const Tensor& from, float factor, Tensor& to) {
  const float* source = from.data<float>();
  float* values = to.mutable_data<float>();
#pragma omp parallel for
  for (std::int64_t i = 0; i < to.count(); ++i) values[i] += factor * source[i];
}

bool is_finite(const Tensor& tensor) {
  const float* values = tensor.data<float>();
  bool all = true;
#pragma omp parallel for reduction(&& : all)
  for (std::int64_t i = 0; i < tensor.count(); ++i) all = all && std::isfinite(values[i]);
  return all;
}

/// ‖change‖² and ‖(stored − base) − change‖² of what was asked for and what was stored.
void measure(const Tensor& base, const Tensor& change, const Tensor& stored, MadeWeight& made) {
  const Tensor rounded = to_f32(stored);
  const float *w = base.data<float>(), *delta = change.data<float>(), *kept = rounded.data<float>();
  double asked = 0, lost = 0;
#pragma omp parallel for reduction(+ : asked, lost)
  for (std::int64_t i = 0; i < change.count(); ++i) {
    const double wanted = delta[i];
    const double error = (static_cast<double>(kept[i]) - w[i]) - wanted;
    asked += wanted * wanted;
    lost += error * error;
  }
  made.change = asked;
  made.error = lost;
}

}  // namespace

BaseWeights::BaseWeights(std::span<const Component> components, const Replacements& replacements)
    : components_(components), replacements_(replacements) {
  // The change of a replacement on zeros is the new value, to the bit.
  const auto zeros = [](const Shape& shape) {
    return [shape] { return Tensor::zeros(shape, DType::f32); };
  };
  for (const auto& [target, of] : replacements_.weights)
    values_.emplace(target, of.delta->weight_change(zeros(of.placement->weight), 1, 0));
  for (const auto& [target, of] : replacements_.biases)
    biases_.emplace(target, of.delta->bias_change(zeros(Shape{of.placement->rows()}), 1));
}

Tensor BaseWeights::weight(const Target& target) const {
  const auto found = values_.find(target);
  if (found != values_.end()) return found->second;
  return pristine_weight(components_[static_cast<std::size_t>(target.component)], target.layer);
}

Tensor BaseWeights::whole(const Placement& placement) const {
  return assemble(placement, placement.weight,
                  [this](const Target& target) { return weight(target); });
}

Tensor BaseWeights::bias(const Target& target) const {
  const auto found = biases_.find(target);
  if (found != biases_.end()) return found->second;
  return pristine_bias(components_[static_cast<std::size_t>(target.component)], target.layer);
}

Tensor BaseWeights::whole_bias(const Placement& placement) const {
  return assemble(placement, Shape{placement.rows()},
                  [this](const Target& target) { return bias(target); });
}

const ModuleDelta* BaseWeights::replacement(const Target& target) const {
  const auto found = replacements_.weights.find(target);
  return found == replacements_.weights.end() ? nullptr : found->second.delta.get();
}

DenseChange::DenseChange(DenseSite site, std::vector<DensePart> parts, bool keeps)
    : site_(std::move(site)), parts_(std::move(parts)), keeps_(keeps), at_one_(parts_.size()) {}

Tensor DenseChange::change(std::size_t part, float strength) const {
  const DensePart& of = parts_[part];
  Tensor change =
      of.delta->weight_change([&] { return site_.base->whole(*of.placement); }, strength, of.ranks);
  if (change.shape() != site_.layer->weight->shape()) {
    fail(ErrorKind::mismatch, "\"{}\" changes \"{}\" to {}, but the model's weight is {}",
         of.adapter, site_.layer->path, change.shape().to_string(),
         site_.layer->weight->shape().to_string());
  }
  return change;
}

Tensor DenseChange::sum(std::span<const float> strengths) {
  Tensor total;
  for (std::size_t part = 0; part < parts_.size(); ++part) {
    const float strength = strengths[parts_[part].member];
    if (!total.defined()) total = Tensor::zeros(site_.layer->weight->shape(), DType::f32);
    if (!parts_[part].delta->is_linear()) {
      add(change(part, strength), 1, total);
      continue;
    }
    Tensor at_one = at_one_[part].defined() ? at_one_[part] : change(part, 1);
    if (keeps_) at_one_[part] = at_one;
    add(at_one, strength, total);
  }
  if (total.defined() && !is_finite(total)) {
    std::string adapters;
    for (const DensePart& part : parts_) adapters += (adapters.empty() ? "" : ", ") + part.adapter;
    fail(ErrorKind::bad_file, "the change of \"{}\" by {} is not finite", site_.layer->path,
         adapters);
  }
  return total;
}

std::size_t DenseChange::kept_bytes() const {
  std::size_t bytes = 0;
  for (const Tensor& change : at_one_) bytes += change.defined() ? change.byte_size() : 0;
  return bytes;
}

ChangedWeight::ChangedWeight(DenseSite site, std::vector<DensePart> parts, Base base,
                             MakingOptions options)
    : base_(base),
      options_(std::move(options)),
      change_(std::move(site), std::move(parts), options_.keeps_changes) {}

void ChangedWeight::set_strengths(std::span<const float> strengths) {
  const std::scoped_lock lock(mutex_);
  strengths_.assign(strengths.begin(), strengths.end());
  made_.reset();
}

std::shared_ptr<const ops::Weight> ChangedWeight::weight() const {
  const std::scoped_lock lock(mutex_);
  if (made_) return made_->weight;
  const auto made = options_.cache && options_.keeps_weight
                        ? options_.cache->weight(key(), [this] { return make(); })
                        : std::make_shared<const MadeWeight>(make());
  if (options_.keeps_weight) made_ = made;
  return made->weight;
}

std::size_t ChangedWeight::bytes() const {
  const std::scoped_lock lock(mutex_);
  return (made_ ? made_->bytes() : 0) + change_.kept_bytes();
}

std::shared_ptr<const MadeWeight> ChangedWeight::made() const {
  const std::scoped_lock lock(mutex_);
  return made_;
}

MadeWeight ChangedWeight::make() const {
  MadeWeight made;
  for (const DensePart& part : change_.parts()) made.of.push_back(part.delta);
  for (const auto& [target, of] : change_.site().base->replacements().weights)
    made.of.push_back(of.delta);
  const Tensor change = change_.sum(strengths_);
  if (base_ == Base::without) {
    made.weight = std::make_shared<const ops::Weight>(from_f32(change, options_.type));
    return made;
  }
  const Tensor base = change_.site().base->weight(change_.site().target);
  Tensor merged = base.clone();
  if (change.defined()) add(change, 1, merged);
  const Tensor stored = from_f32(merged, options_.type);
  if (change.defined()) measure(base, change, stored, made);
  made.weight = std::make_shared<const ops::Weight>(stored);
  return made;
}

/// The layer itself is in it by its deltas, which act nowhere else; the type of base decides what
/// their sum is added to.
StackCache::WeightKey ChangedWeight::key() const {
  const auto address = [](const void* of) {
    return static_cast<std::uint64_t>(reinterpret_cast<std::uintptr_t>(of));
  };
  StackCache::WeightKey key = {address(change_.site().layer), static_cast<std::uint64_t>(base_),
                               static_cast<std::uint64_t>(options_.type)};
  const BaseWeights& base = *change_.site().base;
  if (base_ == Base::with) key.push_back(address(base.replacement(change_.site().target)));
  for (const DensePart& part : change_.parts()) {
    key.push_back(address(part.delta.get()));
    key.push_back(static_cast<std::uint64_t>(part.ranks));
    key.push_back(std::bit_cast<std::uint32_t>(strengths_[part.member]));
    if (!part.delta->needs_base()) continue;
    for (const Piece& piece : part.placement->pieces)
      key.push_back(address(base.replacement(piece.target)));
  }
  return key;
}

}  // namespace velatura::lora

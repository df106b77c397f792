// Changes that a file stores whole, of a weight, a bias or both (lora-formats §1.11).
#pragma once

#include <memory>
#include <span>
#include <string>
#include <utility>

#include "lora/algorithms/matrix.h"

namespace velatura::lora {

/// strength · what is stored.
class StoredDifference : public ModuleDelta {
 public:
  /// `weight` as the layer has it, any floating type; `bias` f32 [out]. Either may be absent.
  StoredDifference(Tensor weight, Tensor bias, std::string remark)
      : weight_(std::move(weight)), bias_(std::move(bias)), remark_(std::move(remark)) {}

  bool is_zero() const override {
    const auto is_nothing = [](const Tensor& part) { return !part.defined() || is_all_zero(part); };
    return is_nothing(weight_) && is_nothing(bias_);
  }
  bool changes_weight() const override { return weight_.defined(); }
  std::string remark() const override { return remark_; }
  Tensor weight_change(const Pristine&, float strength, std::int64_t) const override {
    return weight_.defined() ? scaled(weight_, strength) : Tensor();
  }
  Tensor bias_change(const Pristine&, float strength) const override {
    return bias_.defined() ? scaled(bias_, strength) : Tensor();
  }
  std::unique_ptr<ModuleDelta> rows(std::span<const RowRange> rows) const override {
    const auto cut = [&](const Tensor& part) {
      return part.defined() ? take_rows(part, rows) : Tensor();
    };
    return std::make_unique<StoredDifference>(cut(weight_), cut(bias_), remark_);
  }

 private:
  Tensor weight_, bias_;
  std::string remark_;
};

}  // namespace velatura::lora

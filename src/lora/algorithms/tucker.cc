// LoCon on convolutions in Tucker form: down [r, in, 1, 1], a core [r, r, kh, kw], up [out, r, 1,
// 1] (lora-formats §1.3).
#include "base/error.h"
#include "lora/algorithms/matrix.h"

namespace velatura::lora {

namespace {

class TuckerDelta : public ModuleDelta {
 public:
  TuckerDelta(TuckerFactors factors, const Shape& weight)
      : factors_(std::move(factors)),
        weight_(weight),
        is_zero_(factors_.scale == 0 || is_all_zero(factors_.up->original()) ||
                 is_all_zero(factors_.mid->original()) || is_all_zero(factors_.down->original())) {}

  std::int64_t rank() const override { return factors_.down->shape()[0]; }
  bool is_zero() const override { return is_zero_; }
  const TuckerFactors* tucker() const override { return weight_.rank() == 4 ? &factors_ : nullptr; }

  Tensor weight_change(const Pristine&, float strength, std::int64_t) const override {
    const Tensor core = to_f32(factors_.mid->original()), down = to_f32(factors_.down->original());
    const Tensor up = scaled(factors_.up->original(), strength * factors_.scale);
    return product(up, through_core(core, down)).reshaped(weight_);
  }
  std::unique_ptr<ModuleDelta> rows(std::span<const RowRange> rows) const override {
    Tensor up = take_rows(factors_.up->original(), rows);
    const Shape weight = with_rows(weight_, up.size(0));
    TuckerFactors factors = factors_;
    factors.up = std::make_shared<const ops::Weight>(std::move(up));
    return std::make_unique<TuckerDelta>(std::move(factors), weight);
  }

 private:
  TuckerFactors factors_;
  Shape weight_;
  bool is_zero_;
};

}  // namespace

std::unique_ptr<ModuleDelta> make_tucker(const ModuleInput& input) {
  require_product_layer(input, "Tucker LoCon");
  const Tensor down = read_finite(input, Role::down), mid = read_finite(input, Role::mid),
               up = read_finite(input, Role::up);
  const Shape& weight = input.weight;
  const Kernel kernel = kernel_of(weight);
  const auto rank = rows_of(down, weight[1]);
  const bool mid_fits = rank && mid.rank() == 4 && mid.size(0) > 0 &&
                        mid.size(0) <= most_core_ranks(input) && mid.size(1) == *rank &&
                        mid.size(2) == kernel.height && mid.size(3) == kernel.width;
  if (!mid_fits || rows_of(up, mid.size(0)) != input.out()) {
    fail(ErrorKind::mismatch,
         "down {}, mid {} and up {} of \"{}\" do not fit the weight {} of \"{}\": [r, {}, 1, 1], "
         "[r, r, {}, {}] and [{}, r, 1, 1] with r from 1 to {} are expected",
         down.shape().to_string(), mid.shape().to_string(), up.shape().to_string(),
         input.module.name, weight.to_string(), input.path, weight[1], kernel.height, kernel.width,
         input.out(), most_core_ranks(input));
  }
  const auto as_weight = [](const Tensor& tensor) {
    return std::make_shared<const ops::Weight>(tensor);
  };
  return std::make_unique<TuckerDelta>(
      TuckerFactors{.down = as_weight(down.reshaped({*rank, weight[1], 1, 1})),
                    .mid = as_weight(mid),
                    .up = as_weight(up.reshaped({input.out(), mid.size(0)})),
                    .scale = scale_of(input, *rank)},
      weight);
}

}  // namespace velatura::lora

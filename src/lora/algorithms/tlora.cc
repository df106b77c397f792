// T-LoRA (Soboleva et al. 2025), with orthogonal factors, as its authors and LyCORIS write it:
// ΔW = (α/r) · (P·diag(λ)·Q − P₀·diag(λ₀)·Q₀), where the second product is what training began
// with; without α the factor is 1 (T-LoRA's tlora/model/lora.py, LyCORIS' modules/tlora.py). The
// first ranks alone act at early steps, by a rule (its fewest ranks, its exponent) that no file
// holds: all ranks are used here, as LyCORIS does outside training. Not here: T-LoRA with plain
// factors, whose files are LoRA files.
#include <array>
#include <cstring>

#include "base/error.h"
#include "lora/algorithms/matrix.h"

namespace velatura::lora {

namespace {

constexpr std::string_view kRemark =
    "T-LoRA: at early steps it was trained with fewer ranks, by a rule that the file does not "
    "hold; all ranks are used in every step";

/// One of the two products: q [r, in], p [out, r], lambda [r], all f32.
struct Product {
  Tensor q, p, lambda;
};

Product read_product(const ModuleInput& input, Role q_role, Role p_role, Role lambda_role,
                     std::int64_t inputs) {
  Product read{read_f32(input, q_role), read_f32(input, p_role), read_f32(input, lambda_role)};
  const auto rank = rows_of(read.q, inputs);
  if (!rank || *rank < 1 || rows_of(read.p, *rank) != input.out() || read.lambda.count() != *rank) {
    fail(ErrorKind::mismatch,
         "{} {}, {} {} and {} {} of \"{}\" do not fit the weight {} of \"{}\": [r, {}], [{}, r] "
         "and [1, r] with r of 1 or more are expected",
         to_string(q_role), read.q.shape().to_string(), to_string(p_role),
         read.p.shape().to_string(), to_string(lambda_role), read.lambda.shape().to_string(),
         input.module.name, input.weight.to_string(), input.path, inputs, input.out());
  }
  return read;
}

void require_bases(const ModuleInput& input) {
  for (const Role role : {Role::tlora_base_q, Role::tlora_base_p, Role::tlora_base_lambda}) {
    if (has(input, role)) continue;
    fail(ErrorKind::unsupported,
         "\"{}\" is of a T-LoRA without its {}: what training began with, from which the change "
         "is counted, is not in the file (LyCORIS 4.1 leaves it out)",
         input.module.name, to_string(role));
  }
}

}  // namespace

std::unique_ptr<ModuleDelta> make_tlora(const ModuleInput& input) {
  require_product_layer(input, "a T-LoRA");
  require_bases(input);
  const std::int64_t inputs = input.weight[1], out = input.out();
  const std::array products = {
      read_product(input, Role::tlora_q, Role::tlora_p, Role::tlora_lambda, inputs),
      read_product(input, Role::tlora_base_q, Role::tlora_base_p, Role::tlora_base_lambda, inputs)};
  const std::int64_t rank = products[0].lambda.count();
  if (products[1].lambda.count() != rank) {
    fail(ErrorKind::mismatch, "the T-LoRA \"{}\" has rank {} and began with rank {}",
         input.module.name, rank, products[1].lambda.count());
  }
  // A convolution has the factors of a 1 × 1 one that runs beside it with its stride: the taps in
  // the middle. Ranks of the two products alternate, so that the first of the one are among the
  // first with those of the other.
  const Kernel kernel = kernel_of(input.weight);
  const std::int64_t taps = kernel.height * kernel.width;
  const std::int64_t middle = kernel.height / 2 * kernel.width + kernel.width / 2;
  Tensor down = Tensor::zeros({2 * rank, inputs * taps}, DType::f32);
  Tensor up = Tensor::allocate({out, 2 * rank}, DType::f32);
  for (std::int64_t i = 0; i < 2 * rank; ++i) {
    const auto& [q, p, lambda] = products[static_cast<std::size_t>(i % 2)];
    const std::int64_t at = i / 2;
    const float sign = i % 2 == 0 ? 1.0F : -1.0F;
    for (std::int64_t in = 0; in < inputs; ++in) {
      down.mutable_data<float>()[i * inputs * taps + in * taps + middle] =
          q.data<float>()[at * inputs + in];
    }
    for (std::int64_t o = 0; o < out; ++o) {
      up.mutable_data<float>()[o * 2 * rank + i] =
          sign * p.data<float>()[o * rank + at] * lambda.data<float>()[at];
    }
  }
  const Shape down_shape = input.weight.rank() == 4
                               ? Shape{2 * rank, inputs, kernel.height, kernel.width}
                               : Shape{2 * rank, inputs};
  return lora_of(ThinFactors{.down = std::make_shared<const ops::Weight>(down.reshaped(down_shape)),
                             .up = std::make_shared<const ops::Weight>(up),
                             .scale = scale_of(input, rank)},
                 input.weight, std::string(kRemark));
}

}  // namespace velatura::lora

#include "diffusion/combine.h"

#include <vector>

#include "base/error.h"

namespace velatura::diffusion {

Tensor combine(std::initializer_list<Term> terms) {
  VELATURA_CHECK(terms.size() > 0);
  const Shape& shape = terms.begin()->tensor.shape();
  std::vector<double> sum(static_cast<std::size_t>(shape.count()), 0.0);
  for (const Term& term : terms) {
    if (!(term.tensor.shape() == shape)) {
      fail(ErrorKind::mismatch, "latents of shape {} were combined with latents of shape {}",
           shape.to_string(), term.tensor.shape().to_string());
    }
    const float* values = term.tensor.data<float>();
    for (std::size_t i = 0; i < sum.size(); ++i)
      sum[i] += term.factor * static_cast<double>(values[i]);
  }
  Tensor result = Tensor::allocate(shape, DType::f32);
  float* values = result.mutable_data<float>();
  for (std::size_t i = 0; i < sum.size(); ++i) values[i] = static_cast<float>(sum[i]);
  return result;
}

}  // namespace velatura::diffusion

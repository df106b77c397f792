#include "lora/tools/delta_product.h"

#include <algorithm>
#include <numeric>

#include "base/error.h"
#include "lora/algorithms/matrix.h"

namespace velatura::lora::tools {

namespace {

/// In double: sums over millions of elements.
double dot(const Tensor& a, const Tensor& b) {
  VELATURA_CHECK(a.count() == b.count());
  const float* left = a.data<float>();
  const float* right = b.data<float>();
  double sum = 0;
#pragma omp simd reduction(+ : sum)
  for (std::int64_t i = 0; i < a.count(); ++i)
    sum += static_cast<double>(left[i]) * static_cast<double>(right[i]);
  return sum;
}

/// (w1 ⊗ w2) · x for the columns of x: `rows` [r, in] holds them as rows, as does the result [r,
/// out].
Tensor through_kronecker(const Tensor& w1, const Tensor& w2, const Tensor& rows) {
  const std::int64_t count = rows.size(0), inner = w1.size(1), outer = w1.size(0);
  const std::int64_t width = w2.size(0);
  // [r · m, n] · w2ᵀ → [r · m, k], then w1 · that for each of the r.
  const Tensor partial = lora::product(rows.reshaped({count * inner, w2.size(1)}), transposed(w2));
  Tensor result = Tensor::allocate({count, outer * width}, DType::f32);
  for (std::int64_t r = 0; r < count; ++r) {
    const Tensor one = lora::product(w1, partial.slice(r * inner, (r + 1) * inner));
    std::copy_n(one.data<float>(), one.count(), result.mutable_data<float>() + r * outer * width);
  }
  return result;
}

/// ⟨w1 ⊗ w2, dense⟩, dense [out, in].
double kronecker_with_dense(const Tensor& w1, const Tensor& w2, const Tensor& dense) {
  const std::int64_t outer = w1.size(0), inner = w1.size(1), rows = w2.size(0), width = w2.size(1);
  const float* first = w1.data<float>();
  const float* second = w2.data<float>();
  const float* values = dense.data<float>();
  double sum = 0;
  for (std::int64_t row = 0; row < outer * rows; ++row) {
    const float* of_second = second + row % rows * width;
    for (std::int64_t m = 0; m < inner; ++m) {
      const float* piece = values + (row * inner + m) * width;
      sum +=
          first[row / rows * inner + m] * std::inner_product(piece, piece + width, of_second, 0.0);
    }
  }
  return sum;
}

Tensor as_matrix(const Tensor& values, std::int64_t rows) {
  return to_f32(values).reshaped({rows, values.count() / rows});
}

}  // namespace

DeltaForm DeltaForm::of(const ModuleDelta& delta) {
  DeltaForm form;
  if (const ThinFactors* thin = delta.thin()) {
    const std::int64_t rank = thin->down->shape()[0];
    form.scale_ = thin->scale;
    form.down_ = as_matrix(thin->down->original(), rank);
    form.up_ = as_matrix(thin->up->original(), thin->up->original().count() / rank);
  } else if (const KroneckerFactors* factors = delta.kronecker()) {
    form.scale_ = factors->scale;
    form.w1_ = to_f32(factors->w1->original());
    form.w2_ = as_matrix(factors->w2->original(), factors->w2->shape()[0]);
  } else if (const TuckerFactors* tucker = delta.tucker()) {
    const std::int64_t rank = tucker->down->shape()[0];
    form.scale_ = tucker->scale;
    form.down_ =
        through_core(to_f32(tucker->mid->original()), as_matrix(tucker->down->original(), rank));
    const std::int64_t up_rank = form.down_.size(0);
    form.up_ = as_matrix(tucker->up->original(), tucker->up->original().count() / up_rank);
  }
  return form;
}

DeltaForm DeltaForm::dense_form(const ModuleDelta& delta, const Pristine& base) {
  DeltaForm form;
  const Tensor change = delta.weight_change(base, 1, 0);
  if (change.defined())
    form.dense_ = change.reshaped({change.size(0), change.count() / change.size(0)});
  return form;
}

bool DeltaForm::has_product(const DeltaForm& a, const DeltaForm& b) {
  return !a.w1_.defined() || !b.w1_.defined() ||
         (a.w1_.shape() == b.w1_.shape() && a.w2_.shape() == b.w2_.shape());
}

double DeltaForm::product(const DeltaForm& a, const DeltaForm& b) {
  if ((!a.is_factored() && !a.is_dense()) || (!b.is_factored() && !b.is_dense())) return 0;
  const double scale = a.scale_ * b.scale_;
  if (a.up_.defined() && b.up_.defined()) {
    // tr((B₁ᵀB₂)(A₂A₁ᵀ))
    return scale * dot(lora::product(transposed(a.up_), b.up_),
                       lora::product(a.down_, transposed(b.down_)));
  }
  if (a.w1_.defined() && b.w1_.defined()) {
    VELATURA_CHECK(has_product(a, b));
    return scale * dot(a.w1_, b.w1_) * dot(a.w2_, b.w2_);
  }
  if (a.is_dense() && b.is_dense()) return dot(a.dense_, b.dense_);
  // One that is a pair, or else the Kronecker product, first.
  const bool swaps = a.is_dense() || (a.w1_.defined() && b.up_.defined());
  const DeltaForm& left = swaps ? b : a;
  const DeltaForm& right = swaps ? a : b;
  if (left.w1_.defined()) return scale * kronecker_with_dense(left.w1_, left.w2_, right.dense_);
  // ⟨B·A, X⟩ = ⟨B, X·Aᵀ⟩
  const Tensor pulled = right.is_dense()
                            ? lora::product(right.dense_, transposed(left.down_))
                            : transposed(through_kronecker(right.w1_, right.w2_, left.down_));
  return scale * dot(left.up_, pulled);
}

}  // namespace velatura::lora::tools

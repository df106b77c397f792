// Inner products ⟨ΔW₁, ΔW₂⟩ of the changes that two modules make to one layer, through their
// factors wherever both have some: no matrix of the layer's size is made then. Not here: which
// modules meet where (compare.h).
#pragma once

#include "lora/algorithms/algorithm.h"

namespace velatura::lora::tools {

/// One change at strength 1, in the form that products are taken in. Immutable; thread-safe.
class DeltaForm {
 public:
  /// Its factors in f32 where the kind has some (a Tucker core multiplied into its down factor).
  /// Else nothing: dense_form() makes it.
  static DeltaForm of(const ModuleDelta& delta);
  /// The change as a whole: memory for one weight of the layer.
  static DeltaForm dense_form(const ModuleDelta& delta, const Pristine& base);

  bool is_factored() const { return up_.defined() || w1_.defined(); }
  bool is_dense() const { return dense_.defined(); }

  /// ⟨a, b⟩ in the Frobenius sense. Both on one layer; each factored or dense. Kronecker pairs of
  /// other shapes have no product through their factors: has_product() is false, and one of them is
  /// to be made dense.
  static bool has_product(const DeltaForm& a, const DeltaForm& b);
  static double product(const DeltaForm& a, const DeltaForm& b);

 private:
  double scale_ = 1;
  Tensor up_, down_;  ///< [out, r], [r, columns]
  Tensor w1_, w2_;    ///< of w1 ⊗ w2
  Tensor dense_;      ///< [out, columns]; absent where the weight stays
};

}  // namespace velatura::lora::tools

// Classifier-free guidance on a model's two outputs.
#pragma once

#include "tensor/tensor.h"

namespace velatura::diffusion::guidance {

/// Ho and Salimans 2022: unconditional + scale * (conditional - unconditional). f32 of one shape;
/// scale 1 gives the conditional output, so a caller need not compute the other.
Tensor classifier_free(const Tensor& unconditional, const Tensor& conditional, double scale);

/// Lin et al. 2023, eq. 14-16: the guided output brought to the standard deviation of the
/// conditional one, picture by picture (the outermost axis), and mixed with the guided output by
/// `rescale` in [0, 1] (0 leaves it).
Tensor rescaled(const Tensor& guided, const Tensor& conditional, double rescale);

}  // namespace velatura::diffusion::guidance

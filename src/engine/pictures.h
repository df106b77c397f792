// Between tensors of pictures and Image values.
#pragma once

#include "tensor/tensor.h"
#include "velatura/image.h"

namespace velatura::engine {

/// f32 [3, H, W] in [0, 1] → 8-bit RGB, rounded to nearest.
Image to_image(const Tensor& picture);

/// RGB → f32 [1, 3, H, W] in [−1, 1].
Tensor to_signed_tensor(const Image& image);

}  // namespace velatura::engine

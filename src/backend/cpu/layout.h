// Ops that move values without computing: concatenation, upsampling, embedding rows, channel order.
// Contracts: ops/.
#pragma once

#include "tensor/tensor.h"

namespace velatura::backend::cpu {

void concat_channels(const Tensor& a, const Tensor& b, Tensor& y);
void upsample_nearest_2x(const Tensor& x, Tensor& y);
void embedding(const Tensor& table, const Tensor& ids, Tensor& y);
void cast(const Tensor& x, Tensor& y);
void nchw_to_nhwc(const Tensor& x, Tensor& y);
void nhwc_to_nchw(const Tensor& x, Tensor& y);

}  // namespace velatura::backend::cpu

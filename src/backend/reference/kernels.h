// The ops of this backend as free functions, one file each; contracts stand in ops/. Only
// reference.cc includes all of them.
#pragma once

#include "ops/attention.h"
#include "ops/conv2d.h"
#include "ops/linear.h"
#include "ops/norm.h"

namespace velatura::backend::reference {

using ops::Activation;
using ops::ConvGeometry;
using ops::Epilogue;
using ops::Weight;

void linear(const Tensor& x, const Weight& weight, const Tensor& bias, const Epilogue& epilogue,
            Tensor& y);
void conv2d(const Tensor& x, const Weight& weight, const Tensor& bias, const ConvGeometry& geometry,
            const Epilogue& epilogue, Tensor& y);
void low_rank_update(const Tensor& x, const Weight& down, const Tensor& scales, const Weight& up,
                     const ConvGeometry* geometry, Tensor& y);
/// `geometry` null: a linear layer's.
void kronecker_update(const Tensor& x, const Weight& w1, const Weight& w2, const Tensor& scale,
                      const ConvGeometry* geometry, Tensor& y);
void group_norm(const Tensor& x, const ops::GroupNormArgs& args, Tensor& y);
void layer_norm(const Tensor& x, const Tensor& gamma, const Tensor& beta, float epsilon, Tensor& y);
void attention(const Tensor& q, const Tensor& k, const Tensor& v, const ops::AttentionArgs& args,
               Tensor& y);
void activation(const Tensor& x, Activation kind, Tensor& y);
void geglu(const Tensor& x, Tensor& y);
void scaled_add(const Tensor& a, const Tensor& b, float scale, Tensor& y);
void masked_add(const Tensor& delta, const Tensor& mask, float scale, Tensor& y);
void cast(const Tensor& x, Tensor& y);
void embedding(const Tensor& table, const Tensor& ids, Tensor& y);
void concat_channels(const Tensor& a, const Tensor& b, Tensor& y);
void upsample_nearest_2x(const Tensor& x, Tensor& y);
void nchw_to_nhwc(const Tensor& x, Tensor& y);
void nhwc_to_nchw(const Tensor& x, Tensor& y);

}  // namespace velatura::backend::reference

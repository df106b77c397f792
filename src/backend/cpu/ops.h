// The ops of this backend as free functions; contracts stand in ops/. Only cpu.cc includes all of
// them.
#pragma once

#include "ops/conv2d.h"
#include "ops/linear.h"
#include "ops/low_rank.h"
#include "ops/norm.h"

namespace velatura::ops {
class Context;
}

namespace velatura::backend::cpu {

using ops::Activation;
using ops::ConvGeometry;
using ops::Epilogue;
using ops::Weight;

void linear(const Tensor& x, const Weight& weight, const Tensor& bias, const Epilogue& epilogue,
            Tensor& y);
/// False where the shapes or the type have no faster way than the two ops one after the other.
bool linear_low_rank(const Tensor& x, const Weight& weight, const Tensor& bias,
                     const ops::LowRank& low_rank, const Epilogue& epilogue, Tensor& y);
void conv2d(const Tensor& x, const Weight& weight, const Tensor& bias, const ConvGeometry& geometry,
            const Epilogue& epilogue, Tensor& y);
/// `geometry` null: a linear layer's update.
void low_rank_update(const Tensor& x, const Weight& down, const Tensor& scales, const Weight& up,
                     const ConvGeometry* geometry, Tensor& y, ops::Context& context);
/// `geometry` null: a linear layer's.
void kronecker_update(const Tensor& x, const Weight& w1, const Weight& w2, const Tensor& scale,
                      const ConvGeometry* geometry, Tensor& y);

}  // namespace velatura::backend::cpu

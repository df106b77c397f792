#include "models/unet/transformer.h"

#include "ops/attention.h"

namespace velatura::models::unet {

namespace {

/// Constants of diffusers' Transformer2DModel, BasicTransformerBlock and FeedForward.
constexpr float kGroupNormEpsilon = 1e-6f;
constexpr float kLayerNormEpsilon = 1e-5f;
constexpr int kFeedForwardFactor = 4;

using Projection = std::variant<nn::Conv2d, nn::Linear>;

Projection projection(const nn::Scope& scope, std::string_view name,
                      const TransformerShape& shape) {
  if (shape.linear_projection) return nn::Linear(scope, name, shape.channels, shape.channels);
  return nn::Conv2d(scope, name, nn::Conv2dShape::same(shape.channels, shape.channels, 1));
}

Tensor project(nn::Run& run, const Projection& layer, const Tensor& x,
               const ops::Epilogue& epilogue = {}) {
  return std::visit([&](const auto& typed) { return typed.forward(run, x, epilogue); }, layer);
}

}  // namespace

Attention::Attention(const nn::Scope& scope, std::int64_t width, std::int64_t context_width,
                     int heads)
    : heads_(heads),
      to_q_(scope, "to_q", width, width, nn::Bias::without),
      to_k_(scope, "to_k", context_width, width, nn::Bias::without),
      to_v_(scope, "to_v", context_width, width, nn::Bias::without),
      to_out_(scope.child("to_out"), "0", width, width) {}

Tensor Attention::forward(nn::Run& run, const Tensor& x, const Tensor& context,
                          const Tensor& residual) const {
  const Tensor q = to_q_.forward(run, x);
  const Tensor k = to_k_.forward(run, context);
  const Tensor v = to_v_.forward(run, context);
  return to_out_.forward(run, ops::attention(run.ops, q, k, v, {.heads = heads_}),
                         {.residual = &residual});
}

TransformerBlock::TransformerBlock(const nn::Scope& scope, const TransformerShape& shape)
    : norm1_(scope, "norm1", shape.channels, kLayerNormEpsilon),
      attn1_(scope.child("attn1"), shape.channels, shape.channels, shape.heads),
      norm2_(scope, "norm2", shape.channels, kLayerNormEpsilon),
      attn2_(scope.child("attn2"), shape.channels, shape.text_width, shape.heads),
      norm3_(scope, "norm3", shape.channels, kLayerNormEpsilon),
      ff_in_(scope.child("ff").child("net").child(0), "proj", shape.channels,
             2 * kFeedForwardFactor * shape.channels),
      ff_out_(scope.child("ff").child("net"), "2", kFeedForwardFactor * shape.channels,
              shape.channels) {}

Tensor TransformerBlock::forward(nn::Run& run, const Tensor& x, const Tensor& text) const {
  Tensor h = norm1_.forward(run, x);
  h = attn1_.forward(run, h, h, x);
  h = attn2_.forward(run, norm2_.forward(run, h), text, h);
  const Tensor gated = ops::geglu(run.ops, ff_in_.forward(run, norm3_.forward(run, h)));
  return ff_out_.forward(run, gated, {.residual = &h});
}

PictureTransformer::PictureTransformer(const nn::Scope& scope, const TransformerShape& shape)
    : norm_(scope, "norm", shape.channels, shape.norm_groups, kGroupNormEpsilon),
      proj_in_(projection(scope, "proj_in", shape)),
      proj_out_(projection(scope, "proj_out", shape)) {
  for (int layer = 0; layer < shape.layers; ++layer) {
    blocks_.emplace_back(scope.child("transformer_blocks").child(layer), shape);
  }
}

Tensor PictureTransformer::forward(nn::Run& run, const Tensor& x, const Tensor& text) const {
  Tensor h = project(run, proj_in_, norm_.forward(run, x));
  h = h.reshaped({x.size(0), x.size(1) * x.size(2), x.size(3)});
  for (const TransformerBlock& block : blocks_) h = block.forward(run, h, text);
  return project(run, proj_out_, h.reshaped(x.shape()), {.residual = &x});
}

}  // namespace velatura::models::unet

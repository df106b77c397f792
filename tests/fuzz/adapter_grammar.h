// What the adapter fuzzer's bytes mean, for the fuzzer and for the seeds. An input is three bytes
// of choices (family and kind of input, dialect, what is done), then either a list of tensors on
// the model's own modules, six or seven bytes each, or a file's header and data.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "tensor/tensor.h"

namespace velatura::fuzz {

// First byte: the family's number, and
constexpr unsigned kFamilyBits = 0x03;
constexpr unsigned kIsFile = 0x80;  ///< a header and its data follow, no list
// Second byte: the dialect's number; beyond the last, all dialects' spellings at once.
// Third byte.
constexpr unsigned kFormBits = 0x03;  ///< the form to convert to; 3: none
constexpr unsigned kIsApplied = 0x04;
constexpr unsigned kIsFolded = 0x08, kIsDense = 0x10, kIsFitted = 0x20;
constexpr std::size_t kChoiceBytes = 3;

// A tensor: the module (high and low byte; a high byte of 0 alone goes on with the one before),
// suffix, element type, rank, any small number, shape.

constexpr std::string_view kSuffixes[] = {".lora_down.weight",
                                          ".lora_up.weight",
                                          ".lora_mid.weight",
                                          ".lora_A.weight",
                                          ".lora_B.weight",
                                          ".lora_A.default.weight",
                                          ".lora_B.default.weight",
                                          ".lora_B.bias",
                                          "_lora.down.weight",
                                          "_lora.up.weight",
                                          ".lora.down.weight",
                                          ".lora.up.weight",
                                          ".lora_linear_layer.down.weight",
                                          ".lora_linear_layer.up.weight",
                                          ".down.weight",
                                          ".up.weight",
                                          ".lora_a",
                                          ".lora_b",
                                          ".alpha",
                                          ".scale",
                                          ".scalar",
                                          ".dora_scale",
                                          ".lora_magnitude_vector",
                                          ".magnitude",
                                          ".hada_w1_a",
                                          ".hada_w1_b",
                                          ".hada_w2_a",
                                          ".hada_w2_b",
                                          ".hada_t1",
                                          ".hada_t2",
                                          ".lokr_w1",
                                          ".lokr_w1_a",
                                          ".lokr_w1_b",
                                          ".lokr_w2",
                                          ".lokr_w2_a",
                                          ".lokr_w2_b",
                                          ".lokr_t1",
                                          ".lokr_t2",
                                          ".a1.weight",
                                          ".a2.weight",
                                          ".b1.weight",
                                          ".b2.weight",
                                          ".bm.weight",
                                          ".weight",
                                          ".on_input",
                                          ".ia3_l",
                                          ".oft_blocks",
                                          ".oft_blocks.0",
                                          ".oft_blocks.1",
                                          ".oft_diag",
                                          ".rescale",
                                          ".oft_R.weight",
                                          ".oft_R.scaled_oft",
                                          ".diff",
                                          ".diff_b",
                                          ".w_norm",
                                          ".b_norm",
                                          ".set_weight",
                                          ".reshape_weight",
                                          ".bias_indices",
                                          ".bias_values",
                                          ".bias_size",
                                          ".bias",
                                          "_lora1.down.weight",
                                          "_lora2.up.weight",
                                          ":down",
                                          ":up",
                                          ""};
constexpr DType kTypes[] = {DType::f32, DType::f16, DType::bf16, DType::i64,
                            DType::i16, DType::u8,  DType::f64,  DType::f8_e4m3};

/// The shapes that roles have on a weight [out, in] or [out, in, k, k].
enum class ShapeKind : std::uint8_t {
  scalar,    ///< []
  one,       ///< [1]
  vector,    ///< [any]
  out,       ///< [out]
  in,        ///< [in]
  down,      ///< [rank, in] or [rank, in, k, k]
  down_1,    ///< [rank, in] or [rank, in, 1, 1]
  up,        ///< [out, rank] or [out, rank, 1, 1]
  flat,      ///< [rank, in · k · k]
  core,      ///< [rank, rank, k, k]
  turned,    ///< [in, rank]
  from,      ///< [rank, out]
  weight,    ///< as the weight
  column,    ///< [out, 1] or [out, 1, 1, 1]
  row,       ///< [1, in] or [1, in, 1, 1]
  square,    ///< [any, any]
  quotient,  ///< [out / any, in / any] or with k, k
  blocks,    ///< [any, out / any, out / any]
  packed,    ///< [in / any, any (any − 1) / 2]
  chain,     ///< [rank, out / any, any, any]
  any_rank,  ///< [any, rank]
  cube,      ///< [any, any, any]
  count
};

inline Shape shape_of(ShapeKind kind, const Shape& weight, std::int64_t rank, std::int64_t any) {
  const std::int64_t out = weight.rank() > 0 ? weight[0] : 1;
  const std::int64_t in = weight.rank() > 1 ? weight[1] : 1;
  const bool is_conv = weight.rank() == 4;
  const std::int64_t k = is_conv ? weight[2] : 1, part = std::max<std::int64_t>(any, 1);
  switch (kind) {
    case ShapeKind::scalar:
      return {};
    case ShapeKind::one:
      return {1};
    case ShapeKind::vector:
      return {any};
    case ShapeKind::out:
      return {out};
    case ShapeKind::in:
      return {in};
    case ShapeKind::down:
      return is_conv ? Shape{rank, in, k, k} : Shape{rank, in};
    case ShapeKind::down_1:
      return is_conv ? Shape{rank, in, 1, 1} : Shape{rank, in};
    case ShapeKind::up:
      return is_conv ? Shape{out, rank, 1, 1} : Shape{out, rank};
    case ShapeKind::flat:
      return {rank, in * k * k};
    case ShapeKind::core:
      return {rank, rank, k, k};
    case ShapeKind::turned:
      return {in, rank};
    case ShapeKind::from:
      return {rank, out};
    case ShapeKind::weight:
      return weight;
    case ShapeKind::column:
      return is_conv ? Shape{out, 1, 1, 1} : Shape{out, 1};
    case ShapeKind::row:
      return is_conv ? Shape{1, in, 1, 1} : Shape{1, in};
    case ShapeKind::square:
      return {any, any};
    case ShapeKind::quotient:
      return is_conv ? Shape{out / part, in / part, k, k} : Shape{out / part, in / part};
    case ShapeKind::blocks:
      return {any, out / part, out / part};
    case ShapeKind::packed:
      return {in / part, any * (any - 1) / 2};
    case ShapeKind::chain:
      return {rank, out / part, any, any};
    case ShapeKind::any_rank:
      return {any, rank};
    case ShapeKind::cube:
    case ShapeKind::count:
      return {any, any, any};
  }
  return {};
}

/// An algorithm as a list of tensors on one module, for seeds.
struct Part {
  std::string_view suffix;
  ShapeKind shape;
};
inline const std::vector<std::vector<Part>>& algorithms_parts() {
  using K = ShapeKind;
  static const std::vector<std::vector<Part>> kAll = {
      {{".lora_down.weight", K::down}, {".lora_up.weight", K::up}, {".alpha", K::scalar}},
      {{".lora_A.weight", K::down}, {".lora_B.weight", K::up}, {".lora_B.bias", K::out}},
      {{".lora_A.default.weight", K::down}, {".lora_B.default.weight", K::up}},
      {{"_lora.down.weight", K::down}, {"_lora.up.weight", K::up}},
      {{".lora.down.weight", K::down}, {".lora.up.weight", K::up}},
      {{".lora_linear_layer.down.weight", K::down}, {".lora_linear_layer.up.weight", K::up}},
      {{".down.weight", K::down}, {".up.weight", K::up}},
      {{":down", K::down}, {":up", K::up}},
      {{".lora_a", K::turned}, {".lora_b", K::from}},
      {{".lora_down.weight", K::flat}, {".lora_up.weight", K::up}, {".scale", K::scalar}},
      {{".lora_down.weight", K::down_1},
       {".lora_mid.weight", K::core},
       {".lora_up.weight", K::up},
       {".alpha", K::one}},
      {{".lora_down.weight", K::down}, {".lora_up.weight", K::up}, {".dora_scale", K::column}},
      {{".lora_down.weight", K::down}, {".lora_up.weight", K::up}, {".dora_scale", K::row}},
      {{".lora_A.weight", K::down}, {".lora_B.weight", K::up}, {".lora_magnitude_vector", K::out}},
      {{".hada_w1_a", K::up},
       {".hada_w1_b", K::flat},
       {".hada_w2_a", K::up},
       {".hada_w2_b", K::flat}},
      {{".hada_t1", K::core},
       {".hada_w1_a", K::from},
       {".hada_w1_b", K::down_1},
       {".hada_t2", K::core},
       {".hada_w2_a", K::from},
       {".hada_w2_b", K::down_1}},
      {{".lokr_w1", K::square}, {".lokr_w2", K::quotient}, {".alpha", K::scalar}},
      {{".lokr_w1_a", K::any_rank}, {".lokr_w1_b", K::square}, {".lokr_w2", K::quotient}},
      {{".lokr_w1", K::one}, {".lokr_w2_a", K::up}, {".lokr_w2_b", K::flat}},
      {{".lokr_w1", K::square},
       {".lokr_t2", K::core},
       {".lokr_w2_a", K::from},
       {".lokr_w2_b", K::down_1}},
      {{".a1.weight", K::turned},
       {".a2.weight", K::down},
       {".b1.weight", K::up},
       {".b2.weight", K::down}},
      {{".a1.weight", K::down},
       {".a2.weight", K::turned},
       {".b1.weight", K::down},
       {".b2.weight", K::up},
       {".bm.weight", K::weight}},
      {{".weight", K::in}, {".on_input", K::one}},
      {{".ia3_l", K::column}},
      {{".oft_blocks", K::blocks}, {".rescale", K::column}, {".alpha", K::scalar}},
      {{".oft_diag", K::blocks}},
      {{".oft_blocks", K::chain}},
      {{".oft_blocks.0", K::square}, {".oft_blocks.1", K::square}},
      {{".oft_R.weight", K::packed}, {".oft_R.scaled_oft", K::one}},
      {{".diff", K::weight}, {".diff_b", K::out}},
      {{".w_norm", K::out}, {".b_norm", K::out}},
      {{".set_weight", K::weight}},
      {{".reshape_weight", K::vector}, {".lora_down.weight", K::down}, {".lora_up.weight", K::up}},
      {{".bias_indices", K::vector},
       {".bias_values", K::vector},
       {".bias_size", K::vector},
       {".lora_down.weight", K::down},
       {".lora_up.weight", K::up}},
      {{".weight", K::weight}, {".bias", K::out}},
      {{"", K::weight}},
  };
  return kAll;
}

}  // namespace velatura::fuzz

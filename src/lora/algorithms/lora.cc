// LoRA (Hu et al. 2021) and LoCon: ΔW = (α/r) · B·A for linear layers and convolutions, with the
// biases of the low-rank layers (lora-formats §1.1, §1.2, §1.7, §1.12, §1.13).
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>

#include "base/error.h"
#include "lora/algorithms/matrix.h"

namespace velatura::lora {

namespace {

class LoraDelta : public ModuleDelta {
 public:
  /// `bias`: what strength 1 adds to the layer's bias, f32 [out], or absent. `weight`: of the layer
  /// once it is as wide as the file wants it. `first_rank`: of those that the file stores.
  LoraDelta(ThinFactors factors, Tensor bias, const Shape& weight, std::string remark,
            std::int64_t first_rank = 0)
      : factors_(std::move(factors)),
        bias_(std::move(bias)),
        weight_(weight),
        remark_(std::move(remark)),
        first_rank_(first_rank),
        is_zero_(factors_.scale == 0 || is_all_zero(factors_.up->original()) ||
                 is_all_zero(factors_.down->original())) {}

  std::int64_t rank() const override { return factors_.up->shape()[1]; }
  std::int64_t ranks_among(std::int64_t first) const override {
    return std::clamp<std::int64_t>(first - first_rank_, 0, rank());
  }
  bool is_zero() const override { return is_zero_ && (!bias_.defined() || is_all_zero(bias_)); }
  std::string remark() const override { return remark_; }
  const ThinFactors* thin() const override { return &factors_; }

  Tensor weight_change(const Pristine&, float strength, std::int64_t ranks) const override {
    const std::int64_t used = ranks > 0 ? ranks_among(ranks) : rank();
    if (used == 0) return Tensor::zeros(weight_, DType::f32);
    const Tensor up =
        scaled(take_columns(factors_.up->original(), {0, used}), strength * factors_.scale);
    const Tensor down = to_f32(flattened(factors_.down->original()).slice(0, used));
    return product(up, down).reshaped(weight_);
  }
  Tensor bias_change(const Pristine&, float strength) const override {
    return bias_.defined() ? scaled(bias_, strength) : Tensor();
  }
  std::unique_ptr<ModuleDelta> rows(std::span<const RowRange> rows) const override {
    Tensor up = take_rows(factors_.up->original(), rows);
    const Shape weight = with_rows(weight_, up.size(0));
    ThinFactors factors = factors_;
    std::int64_t first_rank = first_rank_;
    const RowRange used = used_columns(up);
    if (used.count() > 0 && used.count() < rank()) {
      // Other pieces' ranks would be multiplied by zeros.
      up = take_columns(up, used);
      factors.down = std::make_shared<const ops::Weight>(
          factors_.down->original().slice(used.begin, used.end));
      first_rank += used.begin;
    }
    factors.up = std::make_shared<const ops::Weight>(std::move(up));
    return std::make_unique<LoraDelta>(std::move(factors),
                                       bias_.defined() ? take_rows(bias_, rows) : Tensor(), weight,
                                       remark_, first_rank);
  }

 private:
  ThinFactors factors_;
  Tensor bias_;
  Shape weight_;
  std::string remark_;
  std::int64_t first_rank_;
  bool is_zero_;
};

struct Pair {
  Tensor down;  ///< r rows of the weight's columns
  Tensor up;    ///< out rows of r elements
};

/// The pair as its names say, else with one or both factors transposed (behaviour.md §1); nullopt
/// where no reading fits. `is_transposed`: the names are of the form that stores [in, r] and
/// [r, out].
std::optional<Pair> read_pair(const Tensor& down, const Tensor& up, std::int64_t out,
                              std::int64_t columns, bool is_transposed) {
  struct Reading {
    bool down, up;  ///< transposed
  };
  constexpr auto kReadings =
      std::to_array<Reading>({{false, false}, {true, false}, {false, true}, {true, true}});
  for (std::size_t i = 0; i < kReadings.size(); ++i) {
    const Reading& reading = kReadings[is_transposed ? kReadings.size() - 1 - i : i];
    if ((reading.down && down.rank() != 2) || (reading.up && up.rank() != 2)) continue;
    const auto rank = reading.down
                          ? (down.size(0) == columns ? std::optional(down.size(1)) : std::nullopt)
                          : rows_of(down, columns);
    if (!rank || *rank < 1) continue;
    const bool up_fits =
        reading.up ? up.size(0) == *rank && up.size(1) == out : rows_of(up, *rank) == out;
    if (up_fits)
      return Pair{reading.down ? transposed(down) : down, reading.up ? transposed(up) : up};
  }
  return std::nullopt;
}

/// Layers whose input differs between variants of one model: control pictures, masks and masked
/// pictures come after the latents (lora-formats §1.13, §5.2).
bool is_input_layer(std::string_view path) {
  constexpr auto kPaths = std::to_array<std::string_view>({"conv_in", "x_embedder", "img_in"});
  return std::ranges::find(kPaths, path) != kPaths.end() || path.starts_with("all_x_embedder.");
}

/// BFL's control LoRAs, which say nowhere that they widen the input (lora-formats §1.13).
bool is_control_lora(const AdapterFile& file) {
  return std::ranges::any_of(file.source().tensors(), [](const weights::TensorInfo& tensor) {
    return tensor.name.ends_with("single_blocks.0.norm.key_norm.scale");
  });
}

/// The weight that the file means: `reshape_weight` where it is there, a control LoRA's own width,
/// else the layer's.
Shape weight_meant(const ModuleInput& input, const Tensor& down) {
  if (!is_input_layer(input.path)) return input.weight;
  if (has(input, Role::reshape_weight)) {
    const auto extents = read_integers(input, Role::reshape_weight, Shape::kMaxRank);
    if (std::ranges::equal(extents, input.weight.extents())) return input.weight;
    bool fits = extents.size() == static_cast<std::size_t>(input.weight.rank()) &&
                extents[0] == input.weight[0] && extents[1] >= input.weight[1] &&
                extents[1] <= columns_of(down);
    for (std::size_t i = 2; fits && i < extents.size(); ++i)
      fits = extents[i] == input.weight[static_cast<int>(i)];
    if (!fits) {
      fail(ErrorKind::mismatch,
           "\"{}\" asks for [{}], which the weight {} of \"{}\" and down {} "
           "cannot be widened to",
           input.module.tensors.at(Role::reshape_weight), fmt::join(extents, ", "),
           input.weight.to_string(), input.path, down.shape().to_string());
    }
    return Shape(std::span<const std::int64_t>(extents));
  }
  if (input.weight.rank() == 2 && columns_of(down) > input.columns() && is_control_lora(input.file))
    return {input.weight[0], columns_of(down)};
  return input.weight;
}

/// `down` of a narrower variant of an input layer with zeros for the channels it does not know;
/// `down` itself anywhere else.
Tensor with_missing_channels(const ModuleInput& input, const Tensor& down) {
  const std::int64_t own = columns_of(down), columns = input.columns();
  const std::int64_t kernel = columns / input.weight[1];
  if (!is_input_layer(input.path) || own < 1 || own >= columns || own % kernel != 0) return down;
  if (down.rank() == 4 && (down.size(2) != input.weight[2] || down.size(3) != input.weight[3]))
    return down;
  Tensor padded = Tensor::zeros({down.size(0), columns}, down.dtype());
  const std::size_t width = size_of(down.dtype());
  for (std::int64_t row = 0; row < down.size(0); ++row) {
    std::memcpy(padded.mutable_bytes() + static_cast<std::size_t>(row * columns) * width,
                down.bytes() + static_cast<std::size_t>(row * own) * width,
                static_cast<std::size_t>(own) * width);
  }
  return padded;
}

/// scale · (b_up + B·b_down), what the biases of the low-rank layers add to the layer's own.
Tensor read_bias(const ModuleInput& input, const Tensor& up, float scale) {
  Tensor bias;
  if (!input.has_bias) return bias;
  if (has(input, Role::up_bias)) bias = scaled(read_shaped_as_bias(input, Role::up_bias), scale);
  if (!has(input, Role::down_bias)) return bias;
  const Tensor down_bias = read_f32(input, Role::down_bias);
  if (down_bias.rank() < 1 || down_bias.count() != up.size(1)) {
    fail(ErrorKind::mismatch, "\"{}\" has shape {}, the rank of \"{}\" is {}",
         input.module.tensors.at(Role::down_bias), down_bias.shape().to_string(), input.module.name,
         up.size(1));
  }
  Tensor through = product(scaled(up, scale), down_bias.reshaped({up.size(1), 1}));
  if (bias.defined()) {
    for (std::int64_t i = 0; i < through.count(); ++i)
      through.mutable_floats()[static_cast<std::size_t>(i)] +=
          bias.floats()[static_cast<std::size_t>(i)];
  }
  return through.reshaped({up.size(0)});
}

std::unique_ptr<ModuleDelta> make(const ModuleInput& input, bool is_transposed) {
  require_product_layer(input, "LoRA pair");
  const Role down_role = is_transposed ? Role::down_transposed : Role::down;
  const Role up_role = is_transposed ? Role::up_transposed : Role::up;
  const Tensor stored_down = read_finite(input, down_role), up = read_finite(input, up_role);
  const Tensor standard_down =
      is_transposed && stored_down.rank() == 2 ? transposed(stored_down) : stored_down;
  const Shape weight = weight_meant(input, standard_down);
  const std::int64_t out = input.out(), columns = weight.count() / out;
  std::optional<Pair> pair = read_pair(stored_down, up, out, columns, is_transposed);
  std::string remark;
  if (!(weight == input.weight)) {
    remark = fmt::format("widens the weight from {} to {}", input.weight.to_string(),
                         weight.to_string());
  }
  if (!pair) {
    pair = read_pair(with_missing_channels(input, standard_down),
                     is_transposed && up.rank() == 2 ? transposed(up) : up, out, columns, false);
    if (pair) {
      remark =
          fmt::format("made for {} input columns, the layer has {}: the others stay as they are",
                      columns_of(standard_down), columns);
    }
  }
  if (!pair) {
    fail(ErrorKind::mismatch,
         "down {} and up {} of \"{}\" do not fit the weight {} of \"{}\": [r, {}] and [{}, r] with "
         "r of 1 or more are expected",
         stored_down.shape().to_string(), up.shape().to_string(), input.module.name,
         weight.to_string(), input.path, columns, out);
  }
  const std::int64_t rank = pair->down.size(0);
  const float scale = scale_of(input, rank);
  const Shape down_shape =
      weight.rank() == 4 ? Shape{rank, weight[1], weight[2], weight[3]} : Shape{rank, columns};
  if (!input.has_bias && (has(input, Role::up_bias) || has(input, Role::down_bias)))
    remark += std::string(remark.empty() ? "" : "; ") + std::string(kNoBias);
  const Tensor up_matrix = pair->up.reshaped({out, rank});
  return std::make_unique<LoraDelta>(
      ThinFactors{.down = std::make_shared<const ops::Weight>(pair->down.reshaped(down_shape)),
                  .up = std::make_shared<const ops::Weight>(up_matrix),
                  .scale = scale},
      read_bias(input, up_matrix, scale), weight, std::move(remark));
}

}  // namespace

std::unique_ptr<ModuleDelta> make_lora(const ModuleInput& input) {
  return make(input, false);
}

std::unique_ptr<ModuleDelta> lora_of(ThinFactors factors, const Shape& weight, std::string remark) {
  return std::make_unique<LoraDelta>(std::move(factors), Tensor(), weight, std::move(remark));
}

std::unique_ptr<ModuleDelta> make_lora_transposed(const ModuleInput& input) {
  return make(input, true);
}

}  // namespace velatura::lora

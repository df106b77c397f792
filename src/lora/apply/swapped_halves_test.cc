// FLUX.1's last modulation, whose halves the authors' files have the other way round: what acts on
// single rows (full differences, biases, DoRA over outputs), against the formula in double, written
// on the authors' weight, live and fused.
#include <gtest/gtest.h>

#include <cmath>

#include "lora/apply/adapter_set.h"
#include "nn/linear.h"
#include "tests/support/backends.h"
#include "tests/support/double_matrix.h"
#include "tests/support/memory_source.h"
#include "tests/support/runs.h"
#include "tests/support/tensors.h"

namespace velatura::lora {
namespace {

using testing::Matrix;
using testing::MemorySource;
using testing::uniform_tensor;

constexpr std::int64_t kIn = 6, kOut = 8, kRank = 2;
const std::string kTheirs = "final_layer.adaLN_modulation.1";

/// Row r of one naming is this row of the other.
std::int64_t swapped(std::int64_t row) {
  return (row + kOut / 2) % kOut;
}

class SwappedHalves : public ::testing::Test {
 protected:
  SwappedHalves()
      : weight_(uniform_tensor({kOut, kIn}, DType::f32, 1)),
        bias_(uniform_tensor({kOut}, DType::f32, 2)),
        input_(uniform_tensor({1, 3, kIn}, DType::f32, 3)) {
    auto source = std::make_shared<MemorySource>();
    source->add("norm_out.linear.weight", weight_).add("norm_out.linear.bias", bias_);
    layer_ = std::make_unique<nn::Linear>(nn::Scope{weights::Scope(source, "norm_out."), &tree_},
                                          "linear", kIn, kOut);
    weights::NameMap names;
    for (const char* ending : {".weight", ".bias"}) {
      names.push_back({.canonical = std::string("norm_out.linear") + ending,
                       .file = kTheirs + ending,
                       .halves_swapped = true});
    }
    components_ = {component_of("transformer", weights::Part::flux, tree_, names)};
  }

  /// The layer's output under the adapter is the authors' weight and bias, changed, on the input.
  void expect_output(const MemorySource& adapter, float strength, const Matrix& weight,
                     const std::vector<double>& bias) const {
    const auto bound =
        lora::bind(AdapterFile::from_source(std::make_shared<MemorySource>(adapter), "a"),
                   components_, NameIndex(components_));
    for (const TensorFate& tensor : bound->report.tensors)
      EXPECT_EQ(tensor.fate, Fate::bound) << tensor.name << ": " << tensor.reason;
    for (const auto& table : testing::test_backends()) {
      for (const Mode mode : {Mode::live, Mode::fused}) {
        const AdapterSet set(components_, {{.adapter = bound, .denoiser = strength}}, mode, {});
        testing::TestRun test(*table);
        test.run.patches = set.patches(0);
        const Tensor output = layer_->forward(test.run, input_).clone();
        for (std::int64_t row = 0; row < output.count() / kOut; ++row) {
          for (std::int64_t o = 0; o < kOut; ++o) {
            double expected = bias[static_cast<std::size_t>(swapped(o))];
            for (std::int64_t i = 0; i < kIn; ++i)
              expected += weight(swapped(o), i) * input_.data<float>()[row * kIn + i];
            EXPECT_NEAR(output.data<float>()[row * kOut + o], expected,
                        1e-5 * (1 + std::abs(expected)))
                << "output " << o << (mode == Mode::live ? ", live" : ", fused");
          }
        }
      }
    }
  }
  /// As the authors have them.
  Matrix their_weight() const {
    return Matrix::generate(kOut, kIn, [&](std::int64_t r, std::int64_t c) {
      return static_cast<double>(weight_.data<float>()[swapped(r) * kIn + c]);
    });
  }
  std::vector<double> their_bias() const {
    std::vector<double> bias;
    for (std::int64_t r = 0; r < kOut; ++r)
      bias.push_back(static_cast<double>(bias_.data<float>()[swapped(r)]));
    return bias;
  }

  Tensor weight_, bias_, input_;
  nn::ModuleTree tree_;
  std::unique_ptr<nn::Linear> layer_;
  std::vector<Component> components_;
};

TEST_F(SwappedHalves, FullDifferencesOfWeightAndBias) {
  const Tensor of_weight = uniform_tensor({kOut, kIn}, DType::f32, 4),
               of_bias = uniform_tensor({kOut}, DType::f32, 5);
  for (const float strength : {1.0F, -0.5F}) {
    const Matrix theirs = their_weight(), difference = Matrix::of(of_weight);
    const Matrix changed = Matrix::generate(kOut, kIn, [&](std::int64_t r, std::int64_t c) {
      return theirs(r, c) + strength * difference(r, c);
    });
    std::vector<double> bias = their_bias();
    for (std::size_t r = 0; r < bias.size(); ++r)
      bias[r] += strength * static_cast<double>(of_bias.floats()[r]);
    MemorySource adapter;
    adapter.add("diffusion_model." + kTheirs + ".diff", of_weight);
    adapter.add("diffusion_model." + kTheirs + ".diff_b", of_bias);
    expect_output(adapter, strength, changed, bias);
    MemorySource bias_alone;
    bias_alone.add("diffusion_model." + kTheirs + ".diff_b", of_bias);
    expect_output(bias_alone, strength, theirs, bias);
  }
}

/// W' = W + m (g V / ‖V‖ − W) by rows, V = W + α/r · up · down, all in the authors' order.
TEST_F(SwappedHalves, DoraOverOutputs) {
  const Tensor down = uniform_tensor({kRank, kIn}, DType::f32, 6),
               up = uniform_tensor({kOut, kRank}, DType::f32, 7);
  const Tensor magnitude = uniform_tensor({kOut, 1}, DType::f32, 8);
  constexpr float kAlpha = 1;
  const Matrix theirs = their_weight(), a = Matrix::of(down), b = Matrix::of(up);
  const Matrix moved = Matrix::generate(kOut, kIn, [&](std::int64_t r, std::int64_t c) {
    double sum = theirs(r, c);
    for (std::int64_t k = 0; k < kRank; ++k)
      sum += double{kAlpha} / double{kRank} * b(r, k) * a(k, c);
    return sum;
  });
  for (const float strength : {1.0F, 0.7F}) {
    const Matrix changed = Matrix::generate(kOut, kIn, [&](std::int64_t r, std::int64_t c) {
      double squares = 0;
      for (std::int64_t i = 0; i < kIn; ++i) squares += moved(r, i) * moved(r, i);
      const double growth = static_cast<double>(magnitude.data<float>()[r]) / std::sqrt(squares);
      return theirs(r, c) + strength * (growth * moved(r, c) - theirs(r, c));
    });
    MemorySource adapter;
    const std::string module = "lora_unet_final_layer_adaLN_modulation_1.";
    adapter.add(module + "lora_down.weight", down).add(module + "lora_up.weight", up);
    adapter.add(module + "alpha", Tensor::from(std::vector<float>{kAlpha}, {}));
    adapter.add(module + "dora_scale", magnitude);
    expect_output(adapter, strength, changed, their_bias());
  }
}

}  // namespace
}  // namespace velatura::lora

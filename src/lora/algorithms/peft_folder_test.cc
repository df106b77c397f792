// Scales out of the adapter_config.json that PEFT writes beside the weights, for every kind whose
// scale it decides: against PEFT's formulas (tuners/{lora,loha,lokr}/layer.py) in double.
#include <gtest/gtest.h>

#include <fstream>

#include "tests/support/adapter_module.h"
#include "tests/support/test_folder.h"

namespace velatura::lora {
namespace {

namespace fs = std::filesystem;
using testing::AdapterModule;
using testing::Matrix;
using testing::relative_error;
using testing::uniform_tensor;

constexpr double kClose = 1e-6;
const std::string kTheirs = "base_model.model.double_blocks.0.img_attn.proj";

class PeftFolder : public ::testing::Test {
 protected:
  /// A module of FLUX.1 under its authors' name.
  AdapterModule module(const Shape& weight, const std::string& config) const {
    std::ofstream(folder_ / "adapter_config.json") << config;
    return AdapterModule(weight)
        .named(kTheirs)
        .on("transformer_blocks.0.attn.to_out.0")
        .at(folder_ / "adapter_model.safetensors");
  }

 private:
  testing::TestFolder folder_;
};

TEST_F(PeftFolder, PatternsOfALoraAreInTheNamesThatWereTrained) {
  const Tensor down = uniform_tensor({4, 6}, DType::f32, 1),
               up = uniform_tensor({8, 4}, DType::f32, 2);
  const Matrix product = Matrix::of(up) * Matrix::of(down);
  const auto change = [&](const std::string& pattern) {
    return module({8, 6}, R"({"peft_type": "LORA", "r": 4, "lora_alpha": 4, "alpha_pattern": {")" +
                              pattern + R"(": 16}})")
        .add("lora_A.weight", down)
        .add("lora_B.weight", up)
        .change(1);
  };
  for (const char* pattern : {"img_attn.proj", "double_blocks.0.img_attn.proj",
                              "^double_blocks.0.img_attn.proj", "attn.to_out.0"})
    EXPECT_LT(relative_error(change(pattern), 4.0 * product), kClose) << pattern;
  EXPECT_LT(relative_error(change("txt_attn.proj"), product), kClose);
}

TEST_F(PeftFolder, LohaTakesAlphaAndRank) {
  const Tensor a1 = uniform_tensor({8, 4}, DType::f32, 1),
               b1 = uniform_tensor({4, 6}, DType::f32, 2),
               a2 = uniform_tensor({8, 4}, DType::f32, 3),
               b2 = uniform_tensor({4, 6}, DType::f32, 4);
  const Matrix first = Matrix::of(a1) * Matrix::of(b1), second = Matrix::of(a2) * Matrix::of(b2);
  const Matrix expected = Matrix::generate(
      8, 6, [&](std::int64_t r, std::int64_t c) { return 2.0 / 4.0 * first(r, c) * second(r, c); });
  const Tensor change = module({8, 6}, R"({"peft_type": "LOHA", "r": 4, "alpha": 2})")
                            .add("hada_w1_a", a1)
                            .add("hada_w1_b", b1)
                            .add("hada_w2_a", a2)
                            .add("hada_w2_b", b2)
                            .change(1);
  EXPECT_LT(relative_error(change, expected), kClose);
}

TEST_F(PeftFolder, LokrTakesAlphaAndRankEvenWhereBothFactorsAreWhole) {
  const Tensor w1 = uniform_tensor({2, 3}, DType::f32, 1),
               w2 = uniform_tensor({4, 2}, DType::f32, 2),
               a = uniform_tensor({4, 1}, DType::f32, 3), b = uniform_tensor({1, 2}, DType::f32, 4);
  const auto scaled = [&](const Matrix& right, double scale) {
    const Matrix left = Matrix::of(w1);
    return Matrix::generate(8, 6, [=](std::int64_t r, std::int64_t c) {
      return scale * left(r / 4, c / 2) * right(r % 4, c % 2);
    });
  };
  const std::string config = R"({"peft_type": "LOKR", "r": 1, "alpha": 2, "rank_pattern":
                                {"txt_attn.proj": 3}})";
  EXPECT_LT(relative_error(module({8, 6}, config)
                               .add("lokr_w1", w1)
                               .add("lokr_w2_a", a)
                               .add("lokr_w2_b", b)
                               .change(1),
                           scaled(Matrix::of(a) * Matrix::of(b), 2)),
            kClose);
  const auto whole = [&](const std::string& text) {
    return module({8, 6}, text).add("lokr_w1", w1).add("lokr_w2", w2).change(1);
  };
  EXPECT_LT(relative_error(whole(R"({"peft_type": "LOKR", "r": 32, "alpha": 8})"),
                           scaled(Matrix::of(w2), 0.25)),
            kClose);
  EXPECT_LT(relative_error(whole(R"({"peft_type": "LOKR", "r": 32, "alpha": 8, "rank_pattern":
                                    {"img_attn.proj": 64}})"),
                           scaled(Matrix::of(w2), 0.125)),
            kClose);
}

/// Of a square convolution's vector, [1, n, 1, 1] whatever it is for (PEFT's tuners/ia3/layer.py).
TEST_F(PeftFolder, Ia3OnASquareConvolutionHasItsAxisFromTheConfiguration) {
  const Tensor vector = uniform_tensor({1, 8, 1, 1}, DType::f32, 1);
  enum class Axis { outputs, inputs };
  const auto expect = [&](const std::string& config, Axis axis) {
    const auto layer = module({8, 8, 3, 3}, config).with_bias().add("ia3_l", vector);
    const Matrix weight = Matrix::of(layer.weight());
    const Matrix expected = Matrix::generate(8, 72, [&](std::int64_t r, std::int64_t c) {
      const std::int64_t at = axis == Axis::outputs ? r : c / 9;
      return weight(r, c) * (static_cast<double>(vector.data<float>()[at]) - 1);
    });
    EXPECT_LT(relative_error(layer.change(1), expected), kClose) << config;
    // What multiplies the outputs multiplies the bias with them.
    EXPECT_EQ(layer.make().delta->bias_change(layer.bias_base(), 1).defined(),
              axis == Axis::outputs)
        << config;
  };
  expect(R"({"peft_type": "IA3", "feedforward_modules": ["attn.proj"]})", Axis::inputs);
  expect(R"({"peft_type": "IA3", "feedforward_modules": ["roj"]})", Axis::inputs);
  expect(R"({"peft_type": "IA3", "feedforward_modules": ["qkv"]})", Axis::outputs);
  expect(R"({"peft_type": "IA3", "feedforward_modules": []})", Axis::outputs);
  expect(R"({"peft_type": "IA3", "feedforward_modules": ".*attn\\.proj"})", Axis::inputs);
  expect(R"({"peft_type": "IA3", "feedforward_modules": "attn\\.proj"})", Axis::outputs);
  for (const char* config : {R"({"peft_type": "IA3", "feedforward_modules": null})",
                             R"({"peft_type": "LORA", "feedforward_modules": ["proj"]})"}) {
    // As the shape says, and said so.
    expect(config, Axis::inputs);
    const auto made = module({8, 8, 3, 3}, config).add("ia3_l", vector).make();
    EXPECT_NE(made.delta->remark().find("feedforward_modules"), std::string::npos);
  }
}

}  // namespace
}  // namespace velatura::lora

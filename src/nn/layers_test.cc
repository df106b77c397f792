// Layers with and without a run's patches. What adapters compute is tested in lora/; here a delta
// adds a constant.
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <vector>

#include "nn/conv2d.h"
#include "nn/embedding.h"
#include "nn/norm.h"
#include "nn/patched_rows.h"
#include "tests/support/backends.h"
#include "tests/support/memory_source.h"
#include "tests/support/runs.h"
#include "tests/support/tensors.h"

namespace velatura::nn {
namespace {

using ops::Activation;
using testing::MemorySource;
using testing::TestRun;
using testing::uniform_tensor;

/// Sums of some tens of f32 products in another order.
constexpr testing::Tolerance kRounding{.absolute = 1e-5, .relative = 1e-5};

class AddConstant : public LayerDelta {
 public:
  explicit AddConstant(float value) : value_(value) {}
  void add_to(Run&, const Tensor&, Tensor& y) const override {
    for (float& element : y.mutable_floats()) element += value_;
  }

 private:
  float value_;
};

/// A pair that says that it is one.
class AddRanks : public LayerDelta {
 public:
  AddRanks(std::int64_t in, std::int64_t out, std::int64_t rank, std::uint64_t seed)
      : down_(uniform_tensor({rank, in}, DType::bf16, seed)),
        up_(uniform_tensor({out, rank}, DType::bf16, seed + 1)),
        scales_(uniform_tensor({rank}, DType::f32, seed + 2)) {}
  void add_to(Run& run, const Tensor& x, Tensor& y) const override {
    ops::low_rank_update(run.ops, x, down_, scales_, up_, y);
  }
  std::optional<ops::LowRank> low_rank() const override {
    return ops::LowRank{.down = down_, .scales = scales_, .up = up_};
  }

 private:
  ops::Weight down_, up_;
  Tensor scales_;
};

/// A weight made beforehand, that counts how often it was asked for.
class Given : public StandIn {
 public:
  explicit Given(Tensor values) : weight_(std::make_shared<const ops::Weight>(std::move(values))) {}
  std::shared_ptr<const ops::Weight> weight() const override {
    ++asked_;
    return weight_;
  }
  int asked() const { return asked_; }

 private:
  std::shared_ptr<const ops::Weight> weight_;
  mutable int asked_ = 0;
};

float activated(float x, Activation activation) {
  return activation == Activation::silu ? x / (1 + std::exp(-x)) : x;
}

/// A linear layer "block.to_q" of 6 → 5 with the tree it joined.
struct LinearCase {
  LinearCase() {
    auto made = std::make_shared<MemorySource>();
    made->add("block.to_q.weight", uniform_tensor({5, 6}, DType::f16, 1));
    made->add("block.to_q.bias", uniform_tensor({5}, DType::f16, 2));
    source = made;
  }
  std::shared_ptr<const weights::Source> source;
  ModuleTree tree;
  Linear layer() {
    return Linear(Scope{weights::Scope(source), &tree}.child("block"), "to_q", 6, 5);
  }
};

/// activation(x·Wᵀ + b + delta) + residual, by loops.
Tensor expected_linear(const Tensor& x, const Tensor& weight, const Tensor& bias, float delta,
                       Activation activation, const Tensor* residual) {
  const Tensor w = to_f32(weight), b = to_f32(bias);
  const std::int64_t out = w.size(0), in = w.size(1), rows = x.count() / in;
  Tensor y = Tensor::allocate({rows, out}, DType::f32);
  for (std::int64_t row = 0; row < rows; ++row) {
    for (std::int64_t o = 0; o < out; ++o) {
      float sum = b.floats()[static_cast<std::size_t>(o)] + delta;
      for (std::int64_t i = 0; i < in; ++i)
        sum += x.data<float>()[row * in + i] * w.data<float>()[o * in + i];
      sum = activated(sum, activation);
      if (residual != nullptr) sum += residual->data<float>()[row * out + o];
      y.mutable_data<float>()[row * out + o] = sum;
    }
  }
  return y;
}

TEST(Linear, JoinsTheTreeUnderItsCanonicalPath) {
  LinearCase linear;
  linear.layer();
  const std::optional<LayerId> id = linear.tree.find("block.to_q");
  ASSERT_TRUE(id.has_value());
  const LayerInfo& info = linear.tree.layer(*id);
  EXPECT_EQ(info.kind, LayerKind::linear);
  EXPECT_EQ(info.weight->shape(), (Shape{5, 6}));
  EXPECT_EQ(info.weight->original().dtype(), DType::f16) << "weights stay in the file's type";
  EXPECT_EQ(info.bias.dtype(), DType::f32);
}

TEST(Linear, EachEndWithAndWithoutADeltaAndReplacements) {
  LinearCase linear;
  const Linear layer = linear.layer();
  const Tensor x = uniform_tensor({3, 6}, DType::f32, 3),
               residual = uniform_tensor({3, 5}, DType::f32, 4);
  const auto own_weight = linear.source->load("block.to_q.weight"),
             own_bias = linear.source->load("block.to_q.bias");
  const auto other = std::make_shared<const Given>(uniform_tensor({5, 6}, DType::f32, 5));
  const Tensor other_bias = uniform_tensor({5}, DType::f32, 6);
  for (const auto& table : testing::test_backends()) {
    for (const Activation activation : {Activation::none, Activation::silu}) {
      for (const Tensor* straight : {static_cast<const Tensor*>(nullptr), &residual}) {
        for (const bool replaced : {false, true}) {
          for (const int deltas : {0, 2}) {
            SCOPED_TRACE(::testing::Message()
                         << table->name() << " silu " << (activation == Activation::silu)
                         << " residual " << (straight != nullptr) << " replaced " << replaced
                         << " deltas " << deltas);
            LayerPatches patches(linear.tree.layers().size());
            LayerPatch& patch = patches.at(*linear.tree.find("block.to_q"));
            if (replaced) patch.weight = other, patch.bias = other_bias;
            for (int i = 0; i < deltas; ++i)
              patch.deltas.push_back(std::make_shared<AddConstant>(0.5f));
            TestRun test(*table);
            test.run.patches = &patches;
            const Tensor y =
                layer.forward(test.run, x, {.activation = activation, .residual = straight});
            const Tensor expected =
                expected_linear(x, replaced ? other->weight()->original() : own_weight,
                                replaced ? other_bias : own_bias, 0.5f * static_cast<float>(deltas),
                                activation, straight);
            EXPECT_TRUE(testing::within(y, expected, kRounding));
          }
        }
      }
    }
  }
}

TEST(Linear, EmptyPatchesGiveTheBaseBitForBit) {
  LinearCase linear;
  const Linear layer = linear.layer();
  const Tensor x = uniform_tensor({7, 6}, DType::f32, 3);
  const LayerPatches empty(linear.tree.layers().size());
  for (const auto& table : testing::test_backends()) {
    TestRun plain(*table), patched(*table);
    patched.run.patches = &empty;
    EXPECT_TRUE(
        testing::bit_identical(layer.forward(patched.run, x, {.activation = Activation::silu}),
                               layer.forward(plain.run, x, {.activation = Activation::silu})));
  }
}

TEST(Linear, WrongShapeNamesTensorAndBothShapes) {
  LinearCase linear;
  const Scope scope{weights::Scope(linear.source), &linear.tree};
  try {
    Linear(scope.child("block"), "to_q", 6, 4);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::mismatch);
    EXPECT_NE(std::string(error.what()).find("block.to_q.weight"), std::string::npos)
        << error.what();
    EXPECT_NE(std::string(error.what()).find("[5, 6]"), std::string::npos) << error.what();
  }
}

TEST(Linear, TwoLayersOfOnePathAreOurMistake) {
  LinearCase linear;
  linear.layer();
  EXPECT_THROW(linear.layer(), Error);
}

TEST(Conv2d, DeltasComeBeforeTheActivation) {
  auto source = std::make_shared<MemorySource>();
  source->add("conv.weight", uniform_tensor({4, 3, 3, 3}, DType::f32, 1));
  ModuleTree tree;
  Conv2dShape shape = Conv2dShape::same(3, 4);
  shape.bias = Bias::without;
  shape.geometry.stride = 2;
  const Conv2d layer(Scope{weights::Scope(source), &tree}, "conv", shape);
  EXPECT_EQ(tree.layer(*tree.find("conv")).geometry.stride, 2);
  const Tensor x = uniform_tensor({1, 5, 6, 3}, DType::f32, 2);
  LayerPatches patches(1);
  patches.at(0).deltas.push_back(std::make_shared<AddConstant>(-0.25f));
  for (const auto& table : testing::test_backends()) {
    TestRun plain(*table), patched(*table);
    patched.run.patches = &patches;
    Tensor expected = layer.forward(plain.run, x).clone();
    EXPECT_EQ(expected.shape(), (Shape{1, 3, 3, 4}));
    for (float& value : expected.mutable_floats())
      value = activated(value - 0.25f, Activation::silu);
    EXPECT_TRUE(testing::within(layer.forward(patched.run, x, {.activation = Activation::silu}),
                                expected, kRounding));
  }
}

TEST(Conv2d, ReadsALinearLayersMatrixAsAKernelOfOne) {
  auto source = std::make_shared<MemorySource>();
  source->add("proj_in.weight", uniform_tensor({4, 4}, DType::f32, 1));
  source->add("proj_in.bias", uniform_tensor({4}, DType::f32, 2));
  ModuleTree tree;
  const Conv2d layer(Scope{weights::Scope(source), &tree}, "proj_in", Conv2dShape::same(4, 4, 1));
  EXPECT_EQ(tree.layer(0).weight->shape(), (Shape{4, 4, 1, 1}));
}

TEST(Norm, GammaAndBetaMayBeReplaced) {
  auto source = std::make_shared<MemorySource>();
  source->add("norm.weight", uniform_tensor({8}, DType::f16, 1));
  source->add("norm.bias", uniform_tensor({8}, DType::f16, 2));
  ModuleTree layer_tree, group_tree;
  const LayerNorm layer_norm(Scope{weights::Scope(source), &layer_tree}, "norm", 8, 1e-5f);
  const GroupNorm group_norm(Scope{weights::Scope(source), &group_tree}, "norm", 8, 2, 1e-5f);
  EXPECT_EQ(layer_tree.layer(0).kind, LayerKind::norm);
  const Tensor x = uniform_tensor({1, 2, 3, 8}, DType::f32, 3);
  LayerPatches patches(1);
  patches.at(0).weight = std::make_shared<const Given>(Tensor::zeros({8}, DType::f32));
  patches.at(0).bias = uniform_tensor({8}, DType::f32, 4);
  for (const auto& table : testing::test_backends()) {
    TestRun test(*table);
    test.run.patches = &patches;
    for (const Tensor& y : {layer_norm.forward(test.run, x), group_norm.forward(test.run, x)}) {
      for (std::size_t i = 0; i < y.floats().size(); ++i) {
        EXPECT_FLOAT_EQ(y.floats()[i], patches.at(0).bias.floats()[i % 8]);
      }
    }
  }
}

TEST(Embedding, TableMayBeReplaced) {
  auto source = std::make_shared<MemorySource>();
  source->add("words.weight", uniform_tensor({4, 3}, DType::f16, 1));
  ModuleTree tree;
  const Embedding embedding(Scope{weights::Scope(source), &tree}, "words", 4, 3);
  Tensor ids = Tensor::allocate({1, 2}, DType::i64);
  ids.mutable_data<std::int64_t>()[0] = 3;
  ids.mutable_data<std::int64_t>()[1] = 0;
  const Tensor own = to_f32(source->load("words.weight")),
               other = uniform_tensor({4, 3}, DType::f32, 2);
  LayerPatches patches(1);
  patches.at(0).weight = std::make_shared<const Given>(other);
  for (const auto& table : testing::test_backends()) {
    TestRun test(*table);
    const Tensor plain = embedding.forward(test.run, ids);
    EXPECT_EQ(plain.shape(), (Shape{1, 2, 3}));
    EXPECT_EQ(plain.floats()[0], own.floats()[9]);
    EXPECT_EQ(plain.floats()[5], own.floats()[2]);
    test.run.patches = &patches;
    EXPECT_EQ(embedding.forward(test.run, ids).floats()[0], other.floats()[9]);
    ids.mutable_data<std::int64_t>()[1] = 4;
    EXPECT_THROW(embedding.forward(test.run, ids), Error);
    ids.mutable_data<std::int64_t>()[1] = 0;
  }
}

/// Four pictures of which each has a patch of its own: none, a delta, a stand-in, all there is.
struct FourPictures {
  FourPictures(LayerId id, const Shape& weight, std::int64_t out, bool with_deltas = true)
      : patches{LayerPatches(static_cast<std::size_t>(id) + 1),
                LayerPatches(static_cast<std::size_t>(id) + 1),
                LayerPatches(static_cast<std::size_t>(id) + 1)} {
    const auto delta = std::make_shared<AddConstant>(0.75f);
    if (with_deltas) patches[0].at(id).deltas = {delta};
    patches[1].at(id).weight =
        std::make_shared<const Given>(uniform_tensor(weight, DType::f32, 31));
    patches[2].at(id).weight =
        std::make_shared<const Given>(uniform_tensor(weight, DType::f32, 32));
    patches[2].at(id).bias = uniform_tensor({out}, DType::f32, 33);
    if (with_deltas) patches[2].at(id).deltas = {delta, delta};
    ranges = {{0, 1, nullptr}, {1, 3, &patches[0]}, {3, 4, &patches[1]}, {4, 5, &patches[2]}};
  }
  std::array<LayerPatches, 3> patches;
  std::vector<PicturePatches> ranges;

  /// `forward`, Tensor(Run&, begin, end), of all rows at once and range by range.
  template <typename Forward>
  void expect_each_as_alone(ops::OpTable& table, const Forward& forward) const {
    TestRun together(table);
    together.run.pictures = ranges;
    const Tensor all = forward(together.run, 0, ranges.back().end);
    for (const PicturePatches& range : ranges) {
      TestRun alone(table);
      alone.run.patches = range.patches;
      EXPECT_TRUE(testing::within(all.slice(range.begin, range.end),
                                  forward(alone.run, range.begin, range.end), kRounding))
          << table.name() << " rows from " << range.begin;
    }
  }
};

TEST(Linear, PicturesOfABatchHavePatchesOfTheirOwn) {
  LinearCase linear;
  const Linear layer = linear.layer();
  const Tensor x = uniform_tensor({5, 4, 6}, DType::f32, 3),
               residual = uniform_tensor({5, 4, 5}, DType::f32, 4);
  const FourPictures pictures(0, {5, 6}, 5);
  for (const auto& table : testing::test_backends()) {
    for (const Activation activation : {Activation::none, Activation::silu}) {
      for (const bool straight : {false, true}) {
        pictures.expect_each_as_alone(*table, [&](nn::Run& run, std::int64_t begin,
                                                  std::int64_t end) {
          const Tensor own = residual.slice(begin, end);
          return layer.forward(run, x.slice(begin, end),
                               {.activation = activation, .residual = straight ? &own : nullptr});
        });
      }
    }
  }
}

/// In bf16 a backend may take each picture's ranks along with its product.
TEST(Linear, PicturesWithRanksOfTheirOwnAreAsAlone) {
  auto source = std::make_shared<MemorySource>();
  source->add("to_q.weight", uniform_tensor({48, 32}, DType::bf16, 1));
  source->add("to_q.bias", uniform_tensor({48}, DType::f32, 2));
  ModuleTree tree;
  const Linear layer(Scope{weights::Scope(source), &tree}, "to_q", 32, 48);
  const Tensor x = uniform_tensor({5, 64, 32}, DType::bf16, 3),
               residual = uniform_tensor({5, 64, 48}, DType::bf16, 4);
  std::array<LayerPatches, 3> patches = {LayerPatches(1), LayerPatches(1), LayerPatches(1)};
  patches[0].at(0).deltas = {std::make_shared<AddRanks>(32, 48, 4, 5)};
  patches[1].at(0).deltas = {std::make_shared<AddRanks>(32, 48, 6, 8)};
  patches[1].at(0).bias = uniform_tensor({48}, DType::f32, 11);
  patches[2].at(0).weight =
      std::make_shared<const Given>(uniform_tensor({48, 32}, DType::bf16, 12));
  const std::vector<PicturePatches> ranges = {
      {0, 1, &patches[0]}, {1, 2, nullptr}, {2, 4, &patches[1]}, {4, 5, &patches[2]}};
  for (const auto& table : testing::test_backends()) {
    for (const Activation activation : {Activation::none, Activation::silu}) {
      TestRun together(*table, DType::bf16);
      together.run.pictures = ranges;
      const ops::Epilogue end{.activation = activation, .residual = &residual};
      const Tensor all = layer.forward(together.run, x, end);
      for (const PicturePatches& range : ranges) {
        TestRun alone(*table, DType::bf16);
        alone.run.patches = range.patches;
        const Tensor own = residual.slice(range.begin, range.end);
        const Tensor expected = layer.forward(alone.run, x.slice(range.begin, range.end),
                                              {.activation = activation, .residual = &own});
        // Rounded once or, behind an activation that waits for the sum, twice more.
        EXPECT_TRUE(testing::within(all.slice(range.begin, range.end), expected,
                                    {.absolute = 3 * 0x1p-8, .relative = 3 * 0x1p-8}))
            << table->name() << " rows from " << range.begin;
      }
    }
  }
}

TEST(Conv2d, PicturesOfABatchHavePatchesOfTheirOwn) {
  auto source = std::make_shared<MemorySource>();
  source->add("conv.weight", uniform_tensor({4, 3, 3, 3}, DType::f32, 1));
  source->add("conv.bias", uniform_tensor({4}, DType::f32, 1));
  ModuleTree tree;
  const Conv2d layer(Scope{weights::Scope(source), &tree}, "conv", Conv2dShape::same(3, 4));
  const Tensor x = uniform_tensor({5, 4, 3, 3}, DType::f32, 3);
  const FourPictures pictures(0, {4, 3, 3, 3}, 4);
  for (const auto& table : testing::test_backends()) {
    pictures.expect_each_as_alone(*table, [&](nn::Run& run, std::int64_t begin, std::int64_t end) {
      return layer.forward(run, x.slice(begin, end), {.activation = Activation::silu});
    });
  }
}

TEST(Norm, PicturesOfABatchHaveParametersOfTheirOwn) {
  auto source = std::make_shared<MemorySource>();
  source->add("norm.weight", uniform_tensor({8}, DType::f16, 1));
  source->add("norm.bias", uniform_tensor({8}, DType::f16, 2));
  ModuleTree layer_tree, group_tree;
  const LayerNorm layer_norm(Scope{weights::Scope(source), &layer_tree}, "norm", 8, 1e-5f);
  const GroupNorm group_norm(Scope{weights::Scope(source), &group_tree}, "norm", 8, 2, 1e-5f);
  const Tensor x = uniform_tensor({5, 2, 3, 8}, DType::f32, 3),
               added = uniform_tensor({5, 8}, DType::f32, 4);
  const FourPictures pictures(0, {8}, 8, false);
  for (const auto& table : testing::test_backends()) {
    pictures.expect_each_as_alone(*table, [&](nn::Run& run, std::int64_t begin, std::int64_t end) {
      return layer_norm.forward(run, x.slice(begin, end));
    });
    pictures.expect_each_as_alone(*table, [&](nn::Run& run, std::int64_t begin, std::int64_t end) {
      const Tensor own = added.slice(begin, end);
      return group_norm.forward(run, x.slice(begin, end),
                                {.activation = Activation::silu, .channel_add = &own});
    });
  }
}

TEST(Embedding, PicturesOfABatchHaveTablesOfTheirOwn) {
  auto source = std::make_shared<MemorySource>();
  source->add("words.weight", uniform_tensor({4, 3}, DType::f16, 1));
  ModuleTree tree;
  const Embedding embedding(Scope{weights::Scope(source), &tree}, "words", 4, 3);
  Tensor ids = Tensor::allocate({5, 2}, DType::i64);
  for (std::int64_t i = 0; i < ids.count(); ++i) ids.mutable_data<std::int64_t>()[i] = i % 4;
  const FourPictures pictures(0, {4, 3}, 4, false);
  for (const auto& table : testing::test_backends()) {
    pictures.expect_each_as_alone(*table, [&](nn::Run& run, std::int64_t begin, std::int64_t end) {
      return embedding.forward(run, ids.slice(begin, end));
    });
  }
}

TEST(PatchedRows, TheBaseProductIsSharedByAllWhoseParametersAreTheSame) {
  const FourPictures pictures(0, {5, 6}, 5);
  Workspace workspace;
  const auto table = std::move(testing::test_backends().front());
  ops::Context context(*table, workspace, DType::f32);
  nn::Run run{.ops = context, .pictures = pictures.ranges};
  const auto rows = patched_rows(run, 0, 5);
  std::vector<std::int64_t> ends;
  by_parameters(run, rows, [&](std::int64_t, std::int64_t end, const LayerPatch*) {
    ends.push_back(end);
    return Tensor::zeros({1, 1}, DType::f32);
  });
  EXPECT_EQ(ends, (std::vector<std::int64_t>{3, 4, 5})) << "a delta shares the untouched one's";
  EXPECT_THROW(patched_rows(run, 0, 6), Error) << "other rows than the pictures'";
  EXPECT_EQ(patched_rows(run, 7, 5).size(), 1u) << "a layer that no picture changes";
}

}  // namespace
}  // namespace velatura::nn

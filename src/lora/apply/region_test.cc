// Masks at layers' resolutions, and adapters that act in a region alone.
#include "lora/apply/region.h"

#include <algorithm>
#include <cmath>

#include "tests/support/mixed_sets.h"

namespace velatura::lora {
namespace {

using testing::bit_identical;

Tensor mask_of(std::int64_t height, std::int64_t width, auto&& value) {
  Tensor mask = Tensor::allocate({height, width}, DType::f32);
  for (std::int64_t y = 0; y < height; ++y) {
    for (std::int64_t x = 0; x < width; ++x)
      mask.mutable_data<float>()[y * width + x] = static_cast<float>(value(y, x));
  }
  return mask;
}

TEST(Region, AveragesTheAreaOfACell) {
  const Tensor mask = mask_of(4, 6, [](auto y, auto x) { return y < 2 && x < 3 ? 1.0 : 0.0; });
  const Tensor half = resample_area(mask, 2, 2);
  EXPECT_EQ(half.floats()[0], 1);
  EXPECT_EQ(half.floats()[1], 0);
  EXPECT_EQ(half.floats()[3], 0);
  const Tensor odd = resample_area(mask, 3, 4);  // cells of 4/3 × 3/2
  EXPECT_FLOAT_EQ(odd.floats()[0], 1);
  EXPECT_FLOAT_EQ(odd.floats()[4], 0.5f) << "row 4/3 … 8/3 is half inside";
  EXPECT_FLOAT_EQ(odd.floats()[8], 0);
  const Tensor larger = resample_area(mask, 8, 12);
  EXPECT_EQ(larger.floats()[0], 1);
  EXPECT_EQ(larger.floats()[11], 0);
  EXPECT_TRUE(bit_identical(resample_area(mask, 4, 6), mask));
}

TEST(Region, KeepsTheMeanAtEverySize) {
  const Tensor mask = mask_of(7, 5, [](auto y, auto x) { return ((y * 3 + x) % 4) / 4.0; });
  const auto mean = [](const Tensor& values) {
    double sum = 0;
    for (const float value : values.floats()) sum += value;
    return sum / static_cast<double>(values.count());
  };
  for (const std::int64_t height : {1, 3, 7, 12}) {
    for (const std::int64_t width : {1, 2, 5, 9})
      EXPECT_NEAR(mean(resample_area(mask, height, width)), mean(mask), 1e-6);
  }
}

TEST(Region, FindsThePicturesGridOfTokens) {
  const Region region(mask_of(9, 14, [](auto, auto x) { return x < 7 ? 1.0 : 0.0; }), 9, 14);
  EXPECT_EQ(region.at({2, 9, 14, 3}).count(), 9 * 14);
  EXPECT_EQ(region.at({2, 9 * 14, 3}).count(), 9 * 14);
  EXPECT_EQ(region.at({2, 5 * 7, 3}).count(), 5 * 7) << "odd extents are rounded up";
  EXPECT_EQ(region.at({2, 3 * 4, 3}).count(), 12);
  EXPECT_EQ(region.at({1, 1, 3}).count(), 1);
  EXPECT_THROW(region.at({2, 77, 3}), Error);
  EXPECT_THROW(region.at({2, 8}), Error) << "no tokens at all";
  EXPECT_THROW(Region(mask_of(2, 2, [](auto, auto) { return 1; }), 0, 0), Error);
}

TEST(Region, KnowsWhatSeesThePicture) {
  const std::string block = "down_blocks.1.attentions.0.transformer_blocks.0.";
  for (const std::string& path :
       {std::string("conv_in"), block + "attn1.to_q", block + "attn1.to_k", block + "attn2.to_q",
        block + "attn2.to_out.0", block + "ff.net.2"})
    EXPECT_TRUE(sees_picture(weights::Part::unet, path)) << path;
  for (const std::string& path :
       {std::string("time_embedding.linear_1"), std::string("add_embedding.linear_2"),
        std::string("down_blocks.0.resnets.1.time_emb_proj"), block + "attn2.to_k",
        block + "attn2.to_v"})
    EXPECT_FALSE(sees_picture(weights::Part::unet, path)) << path;
  EXPECT_THROW(sees_picture(weights::Part::flux, "x_embedder"), Error);
}

class RegionTest : public testing::MixedSetTest {
 protected:
  static Use in_region(Use use, Tensor region) {
    use.region = std::move(region);
    return use;
  }
  /// The left three of five columns, of a resolution of its own.
  static Tensor left() {
    return mask_of(12, 10, [](auto, auto x) { return x < 6 ? 1.0 : 0.0; });
  }
};

TEST_F(RegionTest, AMaskOfOnesIsNoMask) {
  const Tensor everywhere = mask_of(3, 3, [](auto, auto) { return 1; });
  std::vector<Use> masked;
  for (const Use& one : all_uses()) masked.push_back(in_region(one, everywhere));
  expect_same(make(masked), make(all_uses()));
  expect_same(fused(masked), fused(all_uses()));
  EXPECT_EQ(make(masked).account().at(0).summary(), make(all_uses()).account().at(0).summary());
  EXPECT_EQ(make({in_region(use(0, 1), everywhere), use(0, 1)}).size(), 1u) << "they are one";
}

TEST_F(RegionTest, AlmostEverywhereIsAsWithoutRegionButForWhatSeesNoPicture) {
  const float almost = std::nextafter(1.0f, 0.0f);
  const Tensor everywhere = mask_of(3, 3, [=](auto, auto) { return almost; });
  std::vector<Use> masked, plain;
  for (const Use& one : all_uses()) {
    masked.push_back(in_region(one, everywhere));
    plain.push_back(one);
  }
  const AdapterSet set = make(masked), same = make(plain), none = make({});
  for (const auto& table : testing::test_backends()) {
    const Outputs a = run(*table, set), b = run(*table, same), base = run(*table, none);
    for (const std::string& path : {M::kQuery, M::kConv, M::kDown})
      EXPECT_TRUE(testing::within(of(a, path), of(b, path), {2e-5, 2e-5})) << path;
    for (const std::string& path : {M::kKey, M::kNorm})
      EXPECT_TRUE(bit_identical(of(a, path), of(base, path))) << path;
  }
  const ComponentAccount account = set.account().at(0);
  EXPECT_EQ(account.count(Form::untouched), 2u);
  EXPECT_EQ(account.count(Form::dense_product), 3u);
  EXPECT_EQ(account.count(Form::stand_in), 0u) << "a weight acts everywhere";
}

TEST_F(RegionTest, OutsideEveryBitIsTheBases) {
  std::vector<Use> masked;
  for (const Use& one : all_uses()) masked.push_back(in_region(one, left()));
  const AdapterSet set = make(masked), whole = make(all_uses()), none = make({});
  for (const auto& table : testing::test_backends()) {
    const Outputs a = run(*table, set), all = run(*table, whole), base = run(*table, none);
    for (const std::string& path : {M::kQuery, M::kConv}) {
      const auto values = of(a, path).floats(), inside = of(all, path).floats(),
                 outside = of(base, path).floats();
      for (std::size_t i = 0; i < values.size(); ++i) {
        const auto column = static_cast<std::int64_t>(i) / M::kChannels % kWidth;
        if (column >= 3) {
          ASSERT_EQ(values[i], outside[i]) << path;
        } else {
          ASSERT_NEAR(values[i], inside[i], 3e-5) << path;
        }
      }
    }
    // 3 × 3 places for 6 × 5: the middle column is half inside.
    const auto values = of(a, M::kDown).floats(), inside = of(all, M::kDown).floats(),
               outside = of(base, M::kDown).floats();
    const double shares[] = {1, 0.8, 0};
    for (std::size_t i = 0; i < values.size(); ++i) {
      const double share = shares[i / M::kChannels % 3];
      ASSERT_NEAR(values[i], share * inside[i] + (1 - share) * outside[i], 3e-5);
    }
  }
}

TEST_F(RegionTest, AnEmptyRegionIsAbsence) {
  const Tensor nowhere = Tensor::zeros({4, 4}, DType::f32);
  const AdapterSet set = make({in_region(use(0, 1, 1), nowhere), use(1, 1)}),
                   same = make({use(1, 1)});
  for (const auto& table : testing::test_backends())
    expect_same(run(*table, set), run(*table, same));
  const AdapterSet text = make({in_region(use(0, 1, 1), nowhere)}), whole = make({use(0, 1, 1)});
  EXPECT_EQ(text.patches(0), nullptr);
  for (const auto& table : testing::test_backends())
    EXPECT_TRUE(bit_identical(encode(*table, text), encode(*table, whole)))
        << "text encoders know no region";
}

TEST_F(RegionTest, EqualMasksAreOne) {
  const AdapterSet apart = make({in_region(use(0, 1), left()), in_region(use(1, 1), left())});
  const Tensor mask = left();
  const AdapterSet shared = make({in_region(use(0, 1), mask), in_region(use(1, 1), mask)});
  expect_same(apart, shared);
  EXPECT_EQ(make({in_region(use(0, 1), left()), in_region(use(0, 1), left())}).size(), 1u);
}

TEST_F(RegionTest, MasksAreNumbersFromZeroToOne) {
  EXPECT_THROW(make({in_region(use(0, 1), mask_of(2, 2, [](auto, auto) { return 1.5; }))}), Error);
  EXPECT_THROW(make({in_region(use(0, 1), mask_of(2, 2, [](auto, auto) { return NAN; }))}), Error);
  EXPECT_THROW(make({in_region(use(0, 1), Tensor::zeros({2, 2, 1}, DType::f32))}), Error);
  EXPECT_THROW(make({in_region(use(0, 1), Tensor::zeros({2, 2}, DType::bf16))}), Error);
}

}  // namespace
}  // namespace velatura::lora

// Block-weight lists against the published sizes of every family (lora-formats §1.21).
#include "lora/strength/block_weights.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "models/families.h"

namespace velatura::pipelines {
namespace {

using ::testing::ElementsAre;

class Family {
 public:
  explicit Family(std::string_view id) : shape_(models::full_size(id)) {
    for (const models::PartShape& part : shape_.parts) {
      components_.push_back(
          lora::component_of(part.component, part.part, part.parameters, part.native));
    }
    blocks_.emplace(components_);
  }
  const lora::ModelBlocks& blocks() const { return *blocks_; }

  std::string block(std::string_view path) const {
    for (std::size_t i = 0; i < blocks().components(); ++i) {
      for (const auto& module : blocks().modules(i)) {
        if (module.path == path) return module.block;
      }
    }
    return "no such module";
  }

  /// The weight that a list of 0, 1, 2 … gives a module.
  float position(std::string_view path, std::size_t length) const {
    std::string list = "0";
    for (std::size_t i = 1; i < length; ++i) list += "," + std::to_string(i);
    const lora::ModelFactors factors = lora::block_factors(blocks(), list, "");
    for (std::size_t i = 0; i < blocks().components(); ++i) {
      for (std::size_t layer = 0; layer < factors[i].size(); ++layer) {
        if (blocks().modules(i)[layer].path == path) return factors[i][layer];
      }
    }
    return -1;
  }

 private:
  models::FamilyShape shape_;
  std::vector<lora::Component> components_;
  std::optional<lora::ModelBlocks> blocks_;
};

TEST(BlockWeightFamilies, Sd15) {
  const Family sd15("sd15");
  ASSERT_EQ(sd15.blocks().lists().size(), 2u);
  EXPECT_THAT(sd15.blocks().lists()[0],
              ElementsAre("BASE", "IN01", "IN02", "IN04", "IN05", "IN07", "IN08", "M00", "OUT03",
                          "OUT04", "OUT05", "OUT06", "OUT07", "OUT08", "OUT09", "OUT10", "OUT11"));
  EXPECT_EQ(sd15.blocks().lists()[1].size(), 26u);
  EXPECT_EQ(sd15.block("down_blocks.1.attentions.0.proj_in"), "IN04");
  EXPECT_EQ(sd15.block("down_blocks.2.downsamplers.0.conv"), "IN09");
  EXPECT_EQ(sd15.block("up_blocks.1.upsamplers.0.conv"), "OUT05");
  EXPECT_EQ(sd15.block("up_blocks.3.attentions.2.proj_out"), "OUT11");
  // sd-scripts' positions in the list of 26: 2 + 3i + j, 4 + 3i, 13, 14 + 3i + j, 16 + 3i.
  for (int i = 0; i < 4; ++i) {
    for (int j = 0; j < 2; ++j) {
      const std::string name = "down_blocks." + std::to_string(i) + ".resnets." + std::to_string(j);
      EXPECT_EQ(sd15.position(name + ".conv1", 26), static_cast<float>(2 + 3 * i + j)) << name;
    }
    for (int j = 0; j < 3; ++j) {
      const std::string name = "up_blocks." + std::to_string(i) + ".resnets." + std::to_string(j);
      EXPECT_EQ(sd15.position(name + ".conv2", 26), static_cast<float>(14 + 3 * i + j)) << name;
    }
    if (i == 3) continue;
    const std::string level = std::to_string(i);
    EXPECT_EQ(sd15.position("down_blocks." + level + ".downsamplers.0.conv", 26),
              static_cast<float>(4 + 3 * i));
    EXPECT_EQ(sd15.position("up_blocks." + level + ".upsamplers.0.conv", 26),
              static_cast<float>(16 + 3 * i));
  }
  EXPECT_EQ(sd15.position("mid_block.attentions.0.proj_in", 26), 13);
  EXPECT_EQ(sd15.position("text_model.encoder.layers.3.mlp.fc1", 26), 0);
  EXPECT_EQ(sd15.position("conv_out", 26), 0);  // covered by no list
  EXPECT_EQ(sd15.position("up_blocks.1.attentions.0.proj_in", 17), 8);
}

TEST(BlockWeightFamilies, Sdxl) {
  const Family sdxl("sdxl");
  ASSERT_EQ(sdxl.blocks().lists().size(), 2u);
  EXPECT_THAT(sdxl.blocks().lists()[0],
              ElementsAre("BASE", "IN04", "IN05", "IN07", "IN08", "M00", "OUT00", "OUT01", "OUT02",
                          "OUT03", "OUT04", "OUT05"));
  EXPECT_EQ(sdxl.blocks().lists()[1].size(), 20u);
  EXPECT_EQ(sdxl.block("add_embedding.linear_1"), "IN00");
  EXPECT_EQ(sdxl.block("up_blocks.1.attentions.2.proj_in"), "OUT05");
  EXPECT_EQ(sdxl.position("up_blocks.0.attentions.0.proj_in", 12), 6);
  EXPECT_EQ(sdxl.position("up_blocks.2.resnets.2.conv1", 20), 19);
  EXPECT_EQ(sdxl.position("down_blocks.2.attentions.1.proj_in", 20), 9);
  // Presets of 17 are spread: the first half of the IN blocks, the last of the OUT blocks.
  const auto outs = lora::block_factors(sdxl.blocks(), "OUTS", "");
  for (std::size_t layer = 0; layer < outs[0].size(); ++layer) {
    const auto& module = sdxl.blocks().modules(0)[layer];
    const bool is_on =
        module.block == "OUT03" || module.block == "OUT04" || module.block == "OUT05";
    EXPECT_EQ(outs[0][layer], is_on ? 1.0f : 0.0f) << module.path;
  }
}

TEST(BlockWeightFamilies, Flux) {
  const Family flux("flux");
  ASSERT_EQ(flux.blocks().lists().size(), 1u);
  EXPECT_EQ(flux.blocks().lists()[0].size(), 61u);
  EXPECT_EQ(flux.blocks().names().front(), "CLIP");
  EXPECT_EQ(flux.block("transformer_blocks.7.attn.to_q"), "D07");
  EXPECT_EQ(flux.block("single_transformer_blocks.37.proj_mlp"), "S37");
  EXPECT_EQ(flux.block("x_embedder"), "IN");
  EXPECT_EQ(flux.block("norm_out.linear"), "OUT");
  EXPECT_EQ(flux.block("text_model.encoder.layers.0.mlp.fc1"), "CLIP");
  EXPECT_EQ(flux.block("encoder.block.0.layer.0.SelfAttention.q"), "T5");
  EXPECT_EQ(flux.position("transformer_blocks.0.attn.to_q", 61), 3);
  EXPECT_EQ(flux.position("single_transformer_blocks.0.proj_mlp", 61), 22);
  EXPECT_EQ(flux.position("proj_out", 61), 60);
  EXPECT_TRUE(lora::block_factors(flux.blocks(), "FLUXALL", "")[0].empty());
}

TEST(BlockWeightFamilies, ZImage) {
  const Family zimage("zimage");
  ASSERT_EQ(zimage.blocks().lists().size(), 1u);
  EXPECT_EQ(zimage.blocks().lists()[0].size(), 37u);
  EXPECT_EQ(zimage.blocks().names()[3], "NR01");
  EXPECT_EQ(zimage.position("layers.0.attention.to_q", 37), 6);
  EXPECT_EQ(zimage.position("context_refiner.1.feed_forward.w1", 37), 5);
  EXPECT_EQ(zimage.position("cap_embedder.1", 37), 1);
  EXPECT_EQ(zimage.position("model.layers.0.self_attn.q_proj", 37), 0);
}

}  // namespace
}  // namespace velatura::pipelines

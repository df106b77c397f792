#include "lora/strength/block_weights.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "velatura/error.h"

namespace velatura::lora {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

/// One level with attention of one layer, and what lies around it.
struct Toy {
  std::vector<Component> components;

  Toy() {
    const std::vector<std::pair<std::string, std::string>> modules = {
        {"conv_in", "input_blocks.0.0"},
        {"down_blocks.0.resnets.0.conv1", "input_blocks.1.0.in_layers.2"},
        {"down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q",
         "input_blocks.1.1.transformer_blocks.0.attn1.to_q"},
        {"mid_block.resnets.0.conv1", "middle_block.0.in_layers.2"},
        {"up_blocks.0.attentions.1.transformer_blocks.0.ff.net.2",
         "output_blocks.1.1.transformer_blocks.0.ff.net.2"},
        {"time_embedding.linear_1", "time_embed.0"},
        {"conv_out", "out.2"},
    };
    Component& unet = components.emplace_back(
        Component{.name = "unet", .part = weights::Part::unet, .modules = {}, .native = {}});
    for (const auto& [canonical, native] : modules) {
      unet.modules.push_back({.path = canonical, .kind = nn::LayerKind::linear, .weight = {4, 4}});
      unet.native.push_back({.canonical = canonical + ".weight", .file = native + ".weight"});
    }
    Component& text = components.emplace_back(
        Component{.name = "te", .part = weights::Part::clip_l, .modules = {}, .native = {}});
    text.modules.push_back({.path = "text_model.encoder.layers.0.mlp.fc1",
                            .kind = nn::LayerKind::linear,
                            .weight = {4, 4}});
  }
};

std::string message(const auto& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  ADD_FAILURE() << "nothing was thrown";
  return {};
}

TEST(ModelBlocks, OfAToyOfOtherDepth) {
  const Toy toy;
  const ModelBlocks blocks(toy.components);
  EXPECT_THAT(blocks.names(), ElementsAre("BASE", "IN00", "IN01", "M00", "OUT01"));
  EXPECT_THAT(blocks.lists()[0], ElementsAre("BASE", "IN01", "M00", "OUT01"));
  EXPECT_EQ(blocks.lists()[1], blocks.names());
  EXPECT_EQ(blocks.lists()[2].size(), 17u);
  EXPECT_EQ(blocks.lists()[3].size(), 26u);
  EXPECT_EQ(blocks.modules(0)[5].block, "IN00");
  EXPECT_EQ(blocks.modules(0)[6].block, "");
  EXPECT_EQ(blocks.modules(1)[0].block, "BASE");
}

TEST(BlockWeights, ListsPresetsAndWhatTheyLeaveOut) {
  const Toy toy;
  const ModelBlocks model(toy.components);
  const auto of = [&](std::string_view text) { return block_factors(model, text, ""); };
  EXPECT_THAT(of("")[0], ElementsAre());
  EXPECT_THAT(of("0.5,2,3,4")[0], ElementsAre(0, 2, 2, 3, 4, 0, 0));
  EXPECT_THAT(of("0.5,2,3,4")[1], ElementsAre(0.5f));
  EXPECT_THAT(of("0.5,1,2,3,4")[0], ElementsAre(1, 2, 2, 3, 4, 1, 0));
  // The list of 26 by name: IN00, IN01, M00 at 13, OUT01 at 15.
  std::string full = "9";
  for (int i = 1; i < 26; ++i) full += "," + std::to_string(i);
  EXPECT_THAT(of(full)[0], ElementsAre(1, 2, 2, 13, 15, 1, 0));
  EXPECT_THAT(of("ALL")[0], ElementsAre());
  EXPECT_THAT(of("none")[0], ElementsAre(0, 0, 0, 0, 0, 0, 0));
  EXPECT_THAT(of("ALL0.5")[0], ElementsAre(.5, .5, .5, .5, .5, .5, .5));
  EXPECT_THAT(of("OUTALL")[0], ElementsAre(0, 0, 0, 0, 1, 0, 0));
  EXPECT_THAT(of("OUTALL")[1], ElementsAre());
  const std::string error = message([&] { of("1,1"); });
  EXPECT_THAT(error,
              HasSubstr("2 values; this model takes lists of 4 (BASE IN01 M00 OUT01); of 5"));
  EXPECT_THAT(error, HasSubstr("of 17"));
  EXPECT_THAT(error, HasSubstr("of 26"));
  EXPECT_THAT(message([&] { of("FLUXALL"); }), HasSubstr("61 values"));
}

TEST(BlockWeights, Patterns) {
  const Toy toy;
  const ModelBlocks model(toy.components);
  const auto of = [&](std::string_view text) { return block_factors(model, text, ""); };
  EXPECT_THAT(of("*attn1*=0.5")[0], ElementsAre(1, 1, 0.5, 1, 1, 1, 1));
  EXPECT_THAT(of("NONE,OUT*=0.5,*ff*=0.25")[0], ElementsAre(0, 0, 0, 0, 0.25, 0, 0));
  EXPECT_THAT(of("IN0?=0,input_blocks.0.*=3")[0], ElementsAre(3, 0, 0, 1, 1, 0, 1));
  EXPECT_THAT(of("te.*=0")[1], ElementsAre(0));
  EXPECT_THAT(of("te.*=0")[0], ElementsAre());
  EXPECT_THAT(message([&] { of("*attn9*=1"); }), HasSubstr("matches no block and no module"));
  EXPECT_THAT(message([&] { of("*=x"); }), HasSubstr("pattern=number"));
  EXPECT_THAT(message([&] { of("*=1,NONE"); }), HasSubstr("before the patterns"));
}

TEST(BlockWeights, ElementalRules) {
  const Toy toy;
  const ModelBlocks model(toy.components);
  const auto of = [&](std::string_view rules) { return block_factors(model, "", rules)[0]; };
  EXPECT_THAT(of("|attn1|0.5"), ElementsAre(1, 1, 0.5, 1, 1, 1, 1));
  EXPECT_THAT(of("IN01-OUT05|attn1 ff_net|0.5"), ElementsAre(1, 1, 0.5, 1, 0.5, 1, 1));
  EXPECT_THAT(of("NOT IN00-IN01|| 0"), ElementsAre(1, 1, 1, 0, 0, 1, 0));
  EXPECT_THAT(of("IN|NOT conv|0"), ElementsAre(1, 1, 0, 1, 1, 0, 1));
  EXPECT_THAT(of("||0,OUT|ff|1\nM00||2"), ElementsAre(0, 0, 0, 2, 1, 0, 0));
  EXPECT_THAT(message([&] { of("IN|x"); }), HasSubstr("blocks|elements|weight"));
  EXPECT_THAT(message([&] { of("IN00-MUD01||1"); }), HasSubstr("no block 'MUD01'"));
  // Over a list.
  EXPECT_THAT(block_factors(model, "NONE", "IN|attn1|1")[0], ElementsAre(0, 0, 1, 0, 0, 0, 0));
}

TEST(BlockPresets, FromFiles) {
  BlockPresets presets;
  presets.read("# mine\nMINE:1,0,X,R # trailing\n\nOUTS:0,0\nE:IN05-OUT05:attn:1\nE:OUT:ff:0\r\n",
               "p.txt");
  EXPECT_EQ(*presets.list("mine"), "1,0,X,R");
  EXPECT_EQ(settle_blocks("MINE", presets, {.x = 0.25, .seed = 1}).substr(0, 9), "1,0,0.25,");
  EXPECT_EQ(settle_blocks("OUTS", presets, {}), "0,0");  // redefined
  EXPECT_EQ(settle_elements("E", presets), "IN05-OUT05|attn|1,OUT|ff|0");
  EXPECT_EQ(settle_elements("IN|ff|0,E", presets), "IN|ff|0,IN05-OUT05|attn|1,OUT|ff|0");
  presets.read("E:M00::1\n", "q.txt");
  EXPECT_EQ(settle_elements("E", presets), "M00||1");
  EXPECT_THAT(message([&] { presets.read("ok:1\nNAME\n", "bad.txt"); }),
              HasSubstr("bad.txt, line 2"));
  EXPECT_THAT(message([&] { settle_blocks("MIME", presets, {}); }), HasSubstr("nearest: M"));
  EXPECT_THAT(message([&] { settle_elements("F", presets); }), HasSubstr("nearest: E"));
  EXPECT_THAT(message([&] { settle_elements("F", BlockPresets()); }), HasSubstr("elempresets.txt"));
}

TEST(BlockPresets, LettersAreDrawnBySeedAndAdapter) {
  const BlockPresets none;
  const auto drawn = [&](std::uint64_t seed, std::string_view salt) {
    return settle_blocks("R,R,U,U,R+1,*ff*=U-1", none, {.x = {}, .seed = seed, .salt = salt});
  };
  EXPECT_EQ(drawn(1, "a"), drawn(1, "a"));
  EXPECT_NE(drawn(1, "a"), drawn(2, "a"));
  EXPECT_NE(drawn(1, "a"), drawn(1, "b"));
  EXPECT_EQ(drawn(1, "a").find('R'), std::string::npos);
  EXPECT_EQ(settle_blocks("X,X+0.5,X-1,0.1", none, {.x = 0.5}), "0.5,1,-0.5,0.1");
  EXPECT_THAT(message([&] { settle_blocks("X", none, {}); }), HasSubstr("no x="));
  for (int seed = 0; seed < 100; ++seed) {
    const double r =
        std::stod(settle_blocks("R", none, {.x = {}, .seed = static_cast<std::uint64_t>(seed)}));
    const double u =
        std::stod(settle_blocks("U", none, {.x = {}, .seed = static_cast<std::uint64_t>(seed)}));
    EXPECT_TRUE(r >= 0 && r <= 1 && u >= -0.5 && u <= 1.5) << r << " " << u;
  }
}

}  // namespace
}  // namespace velatura::lora

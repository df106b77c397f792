#include "lora/dialects/dialect.h"

#include <gtest/gtest.h>

#include <set>

#include "tests/support/toy_adapters.h"

namespace velatura::lora {
namespace {

using testing::ToyModel;

TEST(Dialects, AFoundNameKnowsItsDialectAndLayer) {
  const ToyModel model;
  struct Row {
    std::string module;
    std::string_view dialect;
    const std::string& layer;
  };
  const Row rows[] = {
      {"lora_unet_" + flatten(ToyModel::kQuery), "kohya", ToyModel::kQuery},
      {"lora_unet_input_blocks_1_1_transformer_blocks_0_attn1_to_q", "kohya", ToyModel::kQuery},
      {"lora_unet_input_blocks_1_0_in_layers_2", "kohya", ToyModel::kConv},
      {"lora_unet_unet_" + flatten(ToyModel::kQuery), "kohya", ToyModel::kQuery},
      {ToyModel::kQuery, "diffusers", ToyModel::kQuery},
      {"unet." + ToyModel::kBlock + "attn1.processor.to_out", "processor", ToyModel::kOutput},
      {ToyModel::kBlock + "attn1.processor.to_q", "processor", ToyModel::kQuery},
      {"base_model.model.unet." + ToyModel::kQuery, "peft", ToyModel::kQuery},
      {"diffusion_model.input_blocks.1.0.in_layers.2", "comfy", ToyModel::kConv},
      {"lycoris_" + flatten(ToyModel::kConv), "lycoris", ToyModel::kConv},
      {"lora_unet_" + flatten(ToyModel::kQuery) + "_", "kohya", ToyModel::kQuery},
  };
  for (const Row& row : rows) {
    const NameIndex::Entry* entry = model.names().find(row.module);
    ASSERT_NE(entry, nullptr) << row.module;
    EXPECT_EQ(entry->dialect, row.dialect) << row.module;
    EXPECT_EQ(entry->placement->pieces.at(0).target.layer, model.unet().find(row.layer).value())
        << row.module;
  }
}

TEST(Dialects, NamesAreLookedUpNeverParsed) {
  const ToyModel model;
  for (const char* name : {"", "lora_unet_", "unet.", "lora_unet_down.blocks.0", "lora_unet_to_q",
                           "to_q", "lora_te2_text_model_encoder_layers_0_self_attn_q_proj"})
    EXPECT_EQ(model.names().find(name), nullptr) << name;
}

TEST(Dialects, EachNamesItself) {
  std::set<std::string_view> names;
  for (const Dialect& dialect : dialects()) EXPECT_TRUE(names.insert(dialect.name).second);
}

}  // namespace
}  // namespace velatura::lora

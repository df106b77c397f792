#include "lora/suffix.h"

#include <gtest/gtest.h>

#include <array>

namespace velatura::lora {
namespace {

struct Row {
  std::string_view suffix;
  Role role;
};

// Every spelling of lora-formats §0 that a file of ours may have.
constexpr auto kRows = std::to_array<Row>({
    {".lora_down.weight", Role::down},
    {".lora_up.weight", Role::up},
    {".lora_mid.weight", Role::mid},
    {".lora.down.weight", Role::down},
    {".lora.up.weight", Role::up},
    {"_lora.down.weight", Role::down},
    {"_lora.up.weight", Role::up},
    {"_lora_down.weight", Role::down},
    {"_lora_up.weight", Role::up},
    {".lora_linear_layer.down.weight", Role::down},
    {".lora_linear_layer.up.weight", Role::up},
    {".lora_A.weight", Role::down},
    {".lora_B.weight", Role::up},
    {".lora_A.default.weight", Role::down},
    {".lora_B.my-adapter_2.weight", Role::up},
    {".lora_A", Role::down},
    {".lora_B", Role::up},
    {".lora_B.bias", Role::up_bias},
    {".lora_up.bias", Role::up_bias},
    {".alpha", Role::alpha},
    {".scale", Role::scale},
    {".scalar", Role::scalar},
    {".dora_scale", Role::dora_scale},
    {".lora_magnitude_vector", Role::magnitude_vector},
    {".lora_magnitude_vector.weight", Role::magnitude_vector},
    {".lora_magnitude_vector.default.weight", Role::magnitude_vector},
    {".hada_w1_a", Role::hada_w1_a},
    {".lokr_w2_b", Role::lokr_w2_b},
    {".lokr_t1", Role::lokr_t1},
    {".bm.weight", Role::glora_bm},
    {".oft_blocks.3", Role::oft_list},
    {".oft_R.scaled_oft", Role::oft_scaled},
    {".diff", Role::diff},
    {".diff_b", Role::diff_b},
    {".w_norm", Role::norm_w},
    {".set_weight", Role::set_weight},
    {".lora_alpha", Role::alpha},
    {".q_layer.weight", Role::tlora_q},
    {"_lora.p_layer.weight", Role::tlora_p},
    {".lambda_layer", Role::tlora_lambda},
    {".base_q", Role::tlora_base_q},
    {"_lora.base_p.weight", Role::tlora_base_p},
    {"_lora.base_lambda", Role::tlora_base_lambda},
});

TEST(Suffix, EverySpellingGivesModuleAndRole) {
  const std::string module = "unet.down_blocks.0.attentions.1.to_out.0";
  for (const Row& row : kRows) {
    const auto split = split_name(module + std::string(row.suffix));
    ASSERT_TRUE(split) << row.suffix;
    EXPECT_EQ(split->module, module) << row.suffix;
    EXPECT_EQ(split->role, row.role) << row.suffix;
  }
}

TEST(Suffix, LongestWins) {
  // ".lora.down.weight" ends in what another row spells; "_lora.up" joins by an underscore.
  EXPECT_EQ(split_name("a.to_q.lora.down.weight")->module, "a.to_q");
  EXPECT_EQ(split_name("a.to_q_lora.up.weight")->module, "a.to_q");
  EXPECT_EQ(split_name("x.lora_magnitude_vector.weight")->module, "x");
}

TEST(Suffix, OtherNamesAreNoAdapterTensors) {
  for (const char* name : {"", ".alpha", ".lora_A.weight", "model.weight", "model.bias", "<s1>",
                           "lora_A.weight", "x.lora_A..weight", "emb_params"})
    EXPECT_FALSE(split_name(name)) << name;
}

TEST(Suffix, EveryRoleHasAName) {
  for (int role = 0; role <= static_cast<int>(Role::sparse_size); ++role)
    EXPECT_FALSE(to_string(static_cast<Role>(role)).empty());
  EXPECT_EQ(to_string(Role::sparse_size), "sparse residual's size");
  EXPECT_EQ(to_string(Role::down), "down");
}

TEST(Suffix, PartsThatPeftLeavesAreNoNames) {
  const auto module_of = [](const char* tensor) { return split_name(tensor).value().module; };
  EXPECT_EQ(module_of("a.to_q.lora_A.default.weight"), "a.to_q");
  EXPECT_EQ(module_of("a.default.to_q.lora_A.weight"), "a.to_q");
  EXPECT_EQ(module_of("a.defaults.to_q.lora_A.weight"), "a.defaults.to_q");
  EXPECT_EQ(without_peft_parts("a.modules_to_save.default.weight"), "a.weight");
  EXPECT_EQ(without_peft_parts("default.weight"), "default.weight");
}

TEST(Suffix, WhereTheNumberBelongsToTheModule) {
  EXPECT_EQ(split_name("b.processor.qkv_lora2.up.weight")->module, "b.processor.qkv_lora2");
  EXPECT_EQ(split_name("b.processor.qkv_lora.up.weight")->module, "b.processor.qkv");
  EXPECT_EQ(split_name("unet:3:down")->module, "unet:3");
  EXPECT_EQ(split_name("unet:3:down")->role, Role::down);
}

}  // namespace
}  // namespace velatura::lora

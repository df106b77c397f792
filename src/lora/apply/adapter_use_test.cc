#include "lora/apply/adapter_use.h"

#include <gtest/gtest.h>

namespace velatura::lora {
namespace {

using weights::Part;

TEST(AdapterUse, EachEncoderHasAStrengthOfItsOwnOrTheFirsts) {
  AdapterUse use{.denoiser = 0.5F, .text = 0.25F};
  for (const Part part : {Part::unet, Part::flux, Part::z_image})
    EXPECT_EQ(use.strength(part), 0.5F);
  for (const Part part : {Part::clip_l, Part::clip_g, Part::t5, Part::qwen3})
    EXPECT_EQ(use.strength(part), 0.25F);
  use.te2 = -2.0F;
  use.t5 = 0.0F;
  EXPECT_EQ(use.strength(Part::clip_l), 0.25F);
  EXPECT_EQ(use.strength(Part::clip_g), -2.0F);
  EXPECT_EQ(use.strength(Part::t5), 0.0F) << "0 is a strength";
  EXPECT_EQ(use.strength(Part::qwen3), 0.25F);
}

}  // namespace
}  // namespace velatura::lora

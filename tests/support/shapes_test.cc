#include "tests/support/shapes.h"

#include <gtest/gtest.h>

#include <limits>

#include "tests/support/tensors.h"
#include "velatura/error.h"

namespace velatura::testing {
namespace {

TEST(Shapes, ReadsFieldsTagsAndComments) {
  const std::vector<ShapeCase> cases = parse_shapes(
      "# a comment\n"
      "\n"
      "rows=3 pad=0,0,1,1 activation=silu large  # and one behind\r\n"
      "  rows=-4\n");
  ASSERT_EQ(cases.size(), 2u);
  EXPECT_EQ(cases[0].get("rows"), 3);
  EXPECT_EQ(cases[0].list("pad"), (std::vector<std::int64_t>{0, 0, 1, 1}));
  EXPECT_EQ(cases[0].word("activation", "none"), "silu");
  EXPECT_TRUE(cases[0].is("large"));
  EXPECT_FALSE(cases[1].is("large"));
  EXPECT_EQ(cases[1].get("rows"), -4);
  EXPECT_EQ(cases[1].get("stride", 1), 1);
  EXPECT_EQ(cases[1].word("activation", "none"), "none");
}

TEST(Shapes, RefusesWhatItDoesNotKnow) {
  EXPECT_THROW(parse_shapes("rows="), Error);
  EXPECT_THROW(parse_shapes("=3"), Error);
  EXPECT_THROW(parse_shapes("rows=1 rows=2"), Error);
  const ShapeCase shape = parse_shapes("rows=3x columns=2,,3").front();
  EXPECT_THROW((void)shape.get("rows"), Error);
  EXPECT_THROW((void)shape.get("missing"), Error);
  EXPECT_THROW((void)shape.list("columns"), Error);
  EXPECT_THROW(read_shapes("no_such_op"), Error);
}

/// The comparison that the op tests rest on sees what it should.
TEST(Within, SeesWorstElementsAndWhatIsNoNumber) {
  const auto of = [](float value) { return Tensor::from(std::vector<float>{1, value}, {2}); };
  EXPECT_TRUE(within(of(2), of(2), {}));
  EXPECT_TRUE(within(of(2.01f), of(2), {0.02, 0}));
  EXPECT_TRUE(within(of(2.01f), of(2), {0, 0.01}));
  EXPECT_FALSE(within(of(2.01f), of(2), {0.005, 0.001}));
  EXPECT_FALSE(within(of(2.01f), of(2), {}));
  for (const float bad :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    EXPECT_FALSE(within(of(bad), of(2), {1e9, 0}));
    EXPECT_FALSE(within(of(2), of(bad), {1e9, 1e9}));
    EXPECT_FALSE(within(of(bad), of(bad), {1e9, 1e9}));
  }
  EXPECT_FALSE(within(of(2), of(2).reshaped({2, 1}), {1, 1}));
  EXPECT_FALSE(within(of(2), from_f32(of(2), DType::bf16), {1, 1}));
  EXPECT_FALSE(bit_identical(of(0.0f), of(-0.0f)));
}

}  // namespace
}  // namespace velatura::testing

#include "weights/name_map.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>

#include "base/error.h"
#include "tests/support/memory_source.h"

namespace velatura::weights {

namespace {

using ::testing::ElementsAre;

std::shared_ptr<const Source> counting(const Shape& shape) {
  std::vector<float> values(static_cast<std::size_t>(shape.count()));
  std::iota(values.begin(), values.end(), 0.0f);
  auto source = std::make_shared<testing::MemorySource>();
  source->add("there", Tensor::from(values, shape));
  return source;
}

TEST(NameMap, HalvesChangePlacesByWholeRows) {
  const NameRow row{.canonical = "here", .file = "there", .halves_swapped = true};
  const MappedSource matrix(counting({4, 2}), {row});
  EXPECT_EQ(matrix.tensors().front().shape, Shape({4, 2}));
  EXPECT_THAT(matrix.load("here").floats(), ElementsAre(4, 5, 6, 7, 0, 1, 2, 3));
  EXPECT_THAT(MappedSource(counting({6}), {row}).load("here").floats(),
              ElementsAre(3, 4, 5, 0, 1, 2));
  EXPECT_THROW(MappedSource(counting({3, 2}), {row}), Error);
  EXPECT_THROW(MappedSource(counting({}), {row}), Error);
}

TEST(NameMap, RowsOfAFusedMatrix) {
  const NameMap rows = {{.canonical = "q", .file = "there", .begin = 0, .end = 1},
                        {.canonical = "mlp", .file = "there", .begin = 1, .end = 4}};
  const MappedSource source(counting({4, 2}), rows);
  EXPECT_THAT(source.load("q").floats(), ElementsAre(0, 1));
  EXPECT_THAT(source.load("mlp").floats(), ElementsAre(2, 3, 4, 5, 6, 7));
  EXPECT_TRUE(source.unmapped().empty());
  EXPECT_THROW(MappedSource(counting({3, 2}), rows), Error);
}

}  // namespace

}  // namespace velatura::weights

#include <gtest/gtest.h>

#include "tests/support/adapter_module.h"

namespace velatura::lora {
namespace {

using testing::Matrix;
using testing::relative_error;
using testing::uniform_tensor;

TEST(Product, IsTheMatrixProductAtEveryEdgeOfItsBlocks) {
  std::uint64_t seed = 1;
  for (const std::int64_t rows : {1, 4, 33}) {
    for (const std::int64_t depth : {1, 3, 4, 257}) {
      for (const std::int64_t columns : {1, 9, 513}) {
        const Tensor a = uniform_tensor({rows, depth}, DType::f32, ++seed),
                     b = uniform_tensor({depth, columns}, DType::f32, ++seed);
        EXPECT_LT(relative_error(product(a, b), Matrix::of(a) * Matrix::of(b)), 1e-6)
            << rows << " × " << depth << " × " << columns;
      }
    }
  }
}

TEST(Product, OfSomeRowsIsThoseRowsOfTheProduct) {
  const Tensor a = uniform_tensor({70, 300}, DType::f32, 1),
               b = uniform_tensor({300, 600}, DType::f32, 2);
  EXPECT_TRUE(testing::bit_identical(product(a.slice(33, 50), b), product(a, b).slice(33, 50)));
}

}  // namespace
}  // namespace velatura::lora

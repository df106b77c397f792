// Splitting and joining of pairs at random shapes: the same bits there and back, and the same
// product on the way.
#include "lora/tools/pairs.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <random>

#include "lora/tools/row_module.h"
#include "tests/support/tensors.h"

namespace velatura::lora::tools {
namespace {

using testing::uniform_tensor;

constexpr int kCases = 200;

bool same_bits(const Tensor& a, const Tensor& b) {
  return a.dtype() == b.dtype() && a.shape() == b.shape() &&
         std::memcmp(a.bytes(), b.bytes(), a.byte_size()) == 0;
}

/// scale · up · down in double, [rows, columns].
std::vector<double> product_of(const Pair& pair) {
  const Tensor up = to_f32(pair.up), down = to_f32(pair.down);
  const std::int64_t rows = up.size(0), rank = pair.rank(), columns = down.count() / rank;
  std::vector<double> product(static_cast<std::size_t>(rows * columns));
  for (std::int64_t o = 0; o < rows; ++o) {
    for (std::int64_t i = 0; i < columns; ++i) {
      double sum = 0;
      for (std::int64_t p = 0; p < rank; ++p) {
        sum += static_cast<double>(up.data<float>()[o * rank + p]) *
               static_cast<double>(down.data<float>()[p * columns + i]);
      }
      product[static_cast<std::size_t>(o * columns + i)] = pair.scale() * sum;
    }
  }
  return product;
}

/// Two to four pieces of random heights, the first sometimes in two ranges.
struct RandomCase {
  explicit RandomCase(std::uint64_t seed) : random(seed) {
    const std::int64_t count = 2 + below(3);
    std::int64_t at = 0;
    for (std::int64_t k = 0; k < count; ++k) {
      const std::int64_t height = 1 + below(5);
      placement.pieces.push_back(
          {.target = {0, static_cast<nn::LayerId>(k)}, .rows = {{at, at + height}}});
      at += height;
    }
    placement.weight = {at, columns};
    const RowRange first = placement.pieces.front().rows.front();
    if (first.count() > 1)
      placement.pieces.front().rows = {{first.begin + 1, first.end},
                                       {first.begin, first.begin + 1}};
    type = std::array{DType::f32, DType::f16, DType::bf16}[static_cast<std::size_t>(below(3))];
  }
  std::int64_t below(std::uint64_t count) { return static_cast<std::int64_t>(random() % count); }
  std::int64_t height(std::size_t piece) const {
    std::int64_t rows = 0;
    for (const RowRange& range : placement.pieces[piece].rows) rows += range.count();
    return rows;
  }
  Pair pair(std::int64_t rows, std::int64_t rank, std::optional<double> alpha) {
    return {.down = uniform_tensor({rank, columns}, type, random()),
            .up = uniform_tensor({rows, rank}, type, random()),
            .alpha = alpha};
  }
  std::mt19937_64 random;
  std::int64_t columns = 5;
  Placement placement;
  DType type = DType::f32;
};

std::vector<std::optional<RowModule>> as_pieces(std::vector<RowModule> modules) {
  return {std::make_move_iterator(modules.begin()), std::make_move_iterator(modules.end())};
}

TEST(Pairs, JoiningWhatWasSplitGivesTheSameBits) {
  for (std::uint64_t seed = 0; seed < kCases; ++seed) {
    SCOPED_TRACE(seed);
    RandomCase random(seed);
    RowModule whole;
    whole.factors = {random.pair(random.placement.rows(), 1 + random.below(6), 3.0)};
    whole.rows.emplace(Role::up_bias, uniform_tensor({random.placement.rows()}, random.type, seed));
    const RowModule back = fuse(as_pieces(split(whole, random.placement)), random.placement);
    EXPECT_TRUE(same_bits(back.factors[0].up, whole.factors[0].up));
    EXPECT_TRUE(same_bits(back.factors[0].down, whole.factors[0].down));
    EXPECT_EQ(back.factors[0].alpha, whole.factors[0].alpha);
    EXPECT_TRUE(same_bits(back.rows.at(Role::up_bias), whole.rows.at(Role::up_bias)));
  }
}

TEST(Pairs, SplittingWhatWasJoinedGivesTheSameBits) {
  for (std::uint64_t seed = 0; seed < kCases; ++seed) {
    SCOPED_TRACE(seed);
    RandomCase random(seed);
    const bool has_alpha = random.below(2) == 0, one_rank = random.below(2) == 0;
    const std::int64_t common = 1 + random.below(4);
    std::vector<std::optional<RowModule>> pieces;
    for (std::size_t k = 0; k < random.placement.pieces.size(); ++k) {
      pieces.emplace_back();
      if (k > 0 && random.below(3) == 0) continue;  // not trained
      const std::int64_t rank = one_rank ? common : 1 + random.below(4);
      const std::optional<double> alpha =
          has_alpha ? std::optional(2.0 * static_cast<double>(rank)) : std::nullopt;
      pieces.back() = RowModule{{random.pair(random.height(k), rank, alpha)}, {}};
    }
    const std::vector<RowModule> back = split(fuse(pieces, random.placement), random.placement);
    for (std::size_t k = 0; k < pieces.size(); ++k) {
      EXPECT_EQ(is_idle(back[k]), !pieces[k]);
      if (!pieces[k]) continue;
      EXPECT_TRUE(same_bits(back[k].factors[0].up, pieces[k]->factors[0].up));
      EXPECT_TRUE(same_bits(back[k].factors[0].down, pieces[k]->factors[0].down));
      EXPECT_EQ(back[k].factors[0].alpha, pieces[k]->factors[0].alpha);
    }
  }
}

TEST(Pairs, JoinedProductIsThatOfThePiecesInTheirRowsAndZeroElsewhere) {
  for (std::uint64_t seed = 0; seed < kCases; ++seed) {
    SCOPED_TRACE(seed);
    RandomCase random(seed);
    std::vector<std::optional<Pair>> pieces;
    for (std::size_t k = 0; k < random.placement.pieces.size(); ++k) {
      const bool is_absent = k > 0 && random.below(3) == 0;
      pieces.push_back(
          is_absent ? std::nullopt
                    : std::optional(random.pair(random.height(k), 1 + random.below(4),
                                                1.0 + static_cast<double>(random.below(5)))));
    }
    const std::vector<double> whole =
        product_of(fuse(pieces, random.placement, share_down(pieces)));
    // Scales that differ are multiplied into factors of the file's type: one rounding each.
    const double tolerance =
        16 * testing::epsilon_of(random.type) * static_cast<double>(random.placement.rows());
    for (std::size_t k = 0; k < pieces.size(); ++k) {
      const std::vector<double> own = pieces[k] ? product_of(*pieces[k]) : std::vector<double>();
      std::size_t at = 0;
      for (const RowRange& range : random.placement.pieces[k].rows) {
        const auto first = static_cast<std::size_t>(range.begin * random.columns);
        const auto count = static_cast<std::size_t>(range.count() * random.columns);
        for (std::size_t i = 0; i < count; ++i, ++at)
          EXPECT_NEAR(whole[first + i], pieces[k] ? own[at] : 0, tolerance);
      }
    }
  }
}

TEST(Pairs, FoldingKeepsTheProductAndBalancesByPowersOfTwo) {
  for (std::uint64_t seed = 0; seed < kCases; ++seed) {
    SCOPED_TRACE(seed);
    RandomCase random(seed);
    const double alpha = std::ldexp(1.0 + static_cast<double>(random.below(7)),
                                    static_cast<int>(random.below(20)) - 16) *
                         (random.below(4) == 0 ? -1 : 1);
    const Pair pair = random.pair(3, 1 + random.below(5), alpha);
    const Pair without = folded(pair);
    EXPECT_FALSE(without.alpha);
    EXPECT_EQ(without.down.dtype(), random.type);
    const std::vector<double> before = product_of(pair), after = product_of(without);
    const double scale = std::abs(pair.scale()) * static_cast<double>(pair.rank());
    for (std::size_t i = 0; i < before.size(); ++i)
      EXPECT_NEAR(after[i], before[i], 4 * testing::epsilon_of(random.type) * scale);
  }
  RandomCase random(1);
  Pair none = random.pair(3, 2, 0.0);
  for (const double value : product_of(folded(none))) EXPECT_EQ(value, 0);
}

}  // namespace
}  // namespace velatura::lora::tools

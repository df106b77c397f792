// The rank that a module's tensors show, without reading a value (lora-formats §3.4): what reports,
// the library and conversions say of a file. Not here: the rank of what a kind makes of them
// (ModuleDelta::rank()), which is the same number.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>

#include "lora/suffix.h"

namespace velatura::lora {

/// GLoRA's, by the extents that a generation shares; where both fit (square layers) the smaller is
/// the rank. 0 where the tensors are not there.
template <typename Extent>
std::int64_t stored_glora_rank(const Extent& extent) {
  const auto all_are = [](std::int64_t rank, std::array<std::int64_t, 3> others) {
    return rank > 0 && std::ranges::count(others, rank) == 3;
  };
  const std::int64_t first = extent(Role::glora_b1, 0), second = extent(Role::glora_b1, 1);
  const bool is_old = all_are(
      first, {extent(Role::glora_b2, 1), extent(Role::glora_a1, 0), extent(Role::glora_a2, 1)});
  const bool is_current = all_are(
      second, {extent(Role::glora_b2, 0), extent(Role::glora_a1, 1), extent(Role::glora_a2, 0)});
  if (is_old && is_current) return std::min(first, second);
  return is_old ? first : is_current ? second : 0;
}

/// `extent(role, axis)` is that of the module's tensor, 0 where it or the axis is not there. For
/// OFT's kinds the number of blocks; 0 for kinds without a rank.
template <typename Extent>
std::int64_t stored_rank(const Extent& extent) {
  struct Row {
    Role role;
    int axis;
  };
  static constexpr auto kRows = std::to_array<Row>({{Role::down, 0},
                                                    {Role::down_transposed, 1},
                                                    {Role::hada_w1_b, 0},
                                                    {Role::lokr_w2_b, 0},
                                                    {Role::lokr_w1_b, 0},
                                                    {Role::tlora_q, 0}});
  static constexpr auto kBlocks =
      std::to_array({Role::oft_blocks, Role::oft_list, Role::oft_diag, Role::oft_r});
  for (const Row& row : kRows) {
    if (const std::int64_t rank = extent(row.role, row.axis); rank > 0) return rank;
  }
  if (const std::int64_t rank = stored_glora_rank(extent); rank > 0) return rank;
  for (const Role role : kBlocks) {
    // BOFT's factors stand before its blocks.
    const int axis = extent(role, 3) > 0 ? 1 : 0;
    if (const std::int64_t blocks = extent(role, axis); blocks > 0) return blocks;
  }
  return 0;
}

}  // namespace velatura::lora

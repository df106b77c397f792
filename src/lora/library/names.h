// Which entry a name means, as people type it in a prompt's tag. Not here: paths outside the
// library.
#pragma once

#include <compare>
#include <cstdint>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "velatura/library.h"

namespace velatura::lora::library {

/// 8 to 64 hexadecimal digits, and not the hash of nothing.
bool can_be_hash(std::string_view text);

/// Tables of names by their hashes: thirty thousand are sorted as numbers in milliseconds, as texts
/// in a tenth of a second. Immutable, thread-safe.
class NameTable {
 public:
  /// `entries` in search order: of equal names in different roots the first root's is meant. They
  /// must outlive the table.
  explicit NameTable(const LibraryEntries& entries);

  /// Position of the entry. In this order: the path within a root, with or without extension (with
  /// either slash); the name; the file name; an alias (ss_output_name, title) that only one entry
  /// has and that is none of web UIs' forbidden ones; 8 or more digits of a hash; the name or alias
  /// in other letter case. Throws invalid_argument where several entries are meant, not_found with
  /// the three nearest names.
  std::size_t find(std::string_view name) const;

 private:
  using Position = std::uint32_t;
  struct Row {
    std::uint64_t hash;
    std::string_view text;
    Position position;
    auto operator<=>(const Row&) const = default;
  };
  using Rows = std::vector<Row>;
  using Found = std::vector<Position>;

  static Row row_of(std::string_view text, Position position);
  /// Positions of `key`, ascending.
  static Found equal(const Rows& rows, std::string_view key);

  Found by_path(std::string_view name) const;
  Found by_name(std::string_view name) const;
  Found by_alias(std::string_view name) const;
  Found by_hash(std::string_view name) const;
  Found without_case(std::string_view name) const;
  /// The one that is meant among several; throws where that cannot be said.
  std::size_t only(Found found, std::string_view name, std::string_view what) const;
  [[noreturn]] void fail_unknown(std::string_view name) const;

  const LibraryEntries& entries_;
  Rows paths_, names_, aliases_;
  std::vector<std::pair<std::string_view, Position>> hashes_;  ///< sorted: asked by beginnings
};

}  // namespace velatura::lora::library

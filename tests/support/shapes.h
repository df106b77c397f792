// The shape lists of bench/shapes: which sizes an op is tested and measured at. The format stands
// in bench/shapes/README.md. Not here: what an op does with a case.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace velatura::testing {

/// One line of a list.
struct ShapeCase {
  std::string text;  ///< the line as written, to name a failing case by
  std::map<std::string, std::string, std::less<>> fields;
  std::set<std::string, std::less<>> tags;

  bool is(std::string_view tag) const { return tags.contains(tag); }
  bool has(std::string_view field) const { return fields.contains(field); }
  /// The field as an integer; throws invalid_argument naming field and line where it is missing.
  std::int64_t get(std::string_view field) const;
  std::int64_t get(std::string_view field, std::int64_t otherwise) const;
  /// The comma-separated integers of a field.
  std::vector<std::int64_t> list(std::string_view field) const;
  std::string word(std::string_view field, std::string_view otherwise) const;
};

/// Throws invalid_argument, naming the line, on anything the format does not know.
std::vector<ShapeCase> parse_shapes(std::string_view text);

/// All of bench/shapes/<op>.txt. The folder is found through $VELATURA_SOURCE_DIR (set by ctest),
/// else in the working directory or above it.
std::vector<ShapeCase> read_shapes(std::string_view op);

/// The cases that tests run: those without the tag `large`; all of them where $VELATURA_SHAPES is
/// `large` (minutes, not seconds).
std::vector<ShapeCase> test_shapes(std::string_view op);

}  // namespace velatura::testing

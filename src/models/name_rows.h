// Writing the name rows of a family: both spellings under a pair of prefixes. Not here: any
// family's names.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>

#include "weights/name_map.h"

namespace velatura::models {

/// Appends rows to a map. Cheap to copy; the map outlives it. `at()` enters a module in both
/// spellings.
class NameRows {
 public:
  NameRows(weights::NameMap& rows, std::string canonical, std::string file)
      : rows_(&rows), canonical_(std::move(canonical)), file_(std::move(file)) {}

  NameRows at(std::string_view canonical, std::string_view file) const {
    return {*rows_, canonical_ + std::string(canonical) + ".", file_ + std::string(file) + "."};
  }
  NameRows at(std::string_view same) const { return at(same, same); }
  NameRows at(int index) const { return at(std::to_string(index)); }

  /// One tensor.
  void tensor(std::string_view canonical, std::string_view file) const {
    rows_->push_back(
        {.canonical = canonical_ + std::string(canonical), .file = file_ + std::string(file)});
  }
  /// A layer without a bias, and one with.
  void weight(std::string_view canonical, std::string_view file) const {
    tensor(std::string(canonical) + ".weight", std::string(file) + ".weight");
  }
  void layer(std::string_view canonical, std::string_view file) const {
    weight(canonical, file);
    tensor(std::string(canonical) + ".bias", std::string(file) + ".bias");
  }
  void layers(std::initializer_list<std::pair<std::string_view, std::string_view>> pairs) const {
    for (const auto& [canonical, file] : pairs) layer(canonical, file);
  }

 private:
  weights::NameMap* rows_;
  std::string canonical_;
  std::string file_;
};

}  // namespace velatura::models

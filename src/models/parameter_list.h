// A list of parameters as something to ask: what a family's naming is made for. Not here: any
// family's names.
#pragma once

#include <map>
#include <span>
#include <string>
#include <string_view>

#include "weights/name_map.h"
#include "weights/source.h"

namespace velatura::models {

/// Looks into a list that outlives it.
class ParameterList {
 public:
  explicit ParameterList(std::span<const weights::TensorInfo> parameters);

  const weights::TensorInfo* find(std::string_view name) const;
  bool has(std::string_view name) const { return find(name) != nullptr; }
  /// Whether a name begins with `prefix`.
  bool has_prefix(std::string_view prefix) const;
  /// How many of prefix + "0.", prefix + "1.", … follow one another.
  int count(std::string_view prefix) const;
  std::size_t size() const { return index_.size(); }

  /// A row for `canonical` under `file`, if it is in the list.
  void add(weights::NameMap& rows, const std::string& canonical, const std::string& file) const;
  /// `names` with `ending` after each, one below the other in the matrix or vector `file`; nothing
  /// unless all are in the list, since their places hang on one another.
  void add_fused(weights::NameMap& rows, std::span<const std::string> names,
                 std::string_view ending, const std::string& file) const;
  /// `rows` of parameters that the list has.
  weights::NameMap known(weights::NameMap rows) const;

 private:
  std::map<std::string_view, const weights::TensorInfo*, std::less<>> index_;
};

}  // namespace velatura::models

// What the names of a file look like with their numbers left out, and how wide its projections are:
// the facts that detection asks for. Not here: what follows from them (family.cc).
#pragma once

#include <bitset>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lora/adapter_file.h"

namespace velatura::lora {

/// A dotted or flattened name with every separator an underscore and every number between
/// separators a "#": "down_blocks_#_resnets_#_conv1".
std::string pattern_of(std::string_view name);
/// The same in place of what `pattern` held: a collection has millions of names.
void pattern_of(std::string_view name, std::string& pattern);

/// Which runs of four characters some texts have: of a part that none of them contains, one look
/// mostly says so.
class CharacterRuns {
 public:
  void add(std::string_view text);
  /// Never false where a text that was added contains `part`.
  bool may_contain(std::string_view part) const;

 private:
  static constexpr std::size_t kLength = 4;
  static constexpr int kBits = 15;
  static std::size_t place_of(const char* run);
  std::bitset<std::size_t{1} << kBits> seen_;
};

/// Looks into a file that outlives it.
class Traits {
 public:
  explicit Traits(const AdapterFile& file);

  /// The first tensor whose pattern contains `part`; null where none does.
  const weights::TensorInfo* with(std::string_view part) const;
  /// The first tensor under whose pattern `accept` says yes.
  template <typename Accept>
  const weights::TensorInfo* where(Accept accept) const {
    for (const Pattern& pattern : patterns_) {
      if (accept(std::string_view(pattern.text))) return pattern.first;
    }
    return nullptr;
  }
  template <typename Accept>
  bool every(Accept accept) const {
    return where([&](std::string_view pattern) { return !accept(pattern); }) == nullptr;
  }
  /// The tensor with the greatest number after `part` ("transformer_blocks_") among patterns that
  /// `accept` takes.
  struct Indexed {
    const weights::TensorInfo* tensor = nullptr;
    int index = -1;
  };
  template <typename Accept>
  Indexed greatest(std::string_view part, Accept accept) const {
    Indexed best;
    for (const weights::TensorInfo& info : file_->source().tensors()) {
      const int index = number_after(info.name, part);
      if (index > best.index && accept(std::string_view(pattern_of(info.name))))
        best = {&info, index};
    }
    return best;
  }
  /// The first module whose pattern `accept` takes, with the side that `side_of` (input_side,
  /// output_side) gives; nullopt where none has one.
  template <typename Accept, typename SideOf>
  auto side_where(Accept accept, SideOf side_of) const {
    for (const ModulePattern& module : modules_) {
      if (!accept(std::string_view(module.text))) continue;
      if (auto side = side_of(*file_, *module.first)) return side;
    }
    return decltype(side_of(*file_, *modules_.front().first)){};
  }
  /// Whether any tensor is a matrix of an adapter: what tells one from other files.
  bool has_matrices() const { return has_matrices_; }

 private:
  static int number_after(std::string_view name, std::string_view part);
  struct Pattern {
    std::string text;
    const weights::TensorInfo* first;
  };
  struct ModulePattern {
    std::string text;
    const FileModule* first;
  };
  const AdapterFile* file_;
  std::vector<Pattern> patterns_;       ///< in the order of their first tensors, each once
  CharacterRuns runs_;                  ///< of the patterns
  std::vector<ModulePattern> modules_;  ///< modules whose widths show, likewise
  bool has_matrices_ = false;
};

/// The tensor that shows how many inputs a module takes, and how many.
struct InputSide {
  const weights::TensorInfo* tensor = nullptr;
  std::int64_t width = 0;
};
/// Of a pair, a Hadamard or Kronecker product or a full difference; nullopt for other kinds.
std::optional<InputSide> input_side(const AdapterFile& file, const FileModule& module);
/// The same of its outputs.
std::optional<InputSide> output_side(const AdapterFile& file, const FileModule& module);

}  // namespace velatura::lora

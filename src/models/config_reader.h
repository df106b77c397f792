// Typed reading of a model's config.json as diffusers and transformers write it. Not here: what the
// fields mean (each family's config.h), tensors.
#pragma once

#include <cstdint>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace velatura::models {

/// One JSON object. A field of another type than asked for is a bad_file error that names the
/// file's part, the field and what was found; an absent field and null are the same thing.
class ConfigReader {
 public:
  /// `what` names the part in messages: "unet config.json". Throws bad_file when `text` is no JSON
  /// object.
  ConfigReader(std::string_view text, std::string what);

  bool has(std::string_view field) const;
  /// A positive count (channels, layers …) within [1, 2^20].
  int count(std::string_view field, int fallback) const;
  /// A list of positive counts; a single number stands for a list of one.
  std::vector<int> counts(std::string_view field, std::vector<int> fallback) const;
  std::int64_t integer(std::string_view field, std::int64_t fallback) const;
  double number(std::string_view field, double fallback) const;
  bool boolean(std::string_view field, bool fallback) const;
  std::string text(std::string_view field, std::string_view fallback) const;
  std::vector<std::string> texts(std::string_view field, std::vector<std::string> fallback) const;

  /// Throws unsupported unless the field is absent, null or false: options of the reference
  /// implementation that we do not build.
  void refuse(std::string_view field) const;
  /// Throws unsupported unless the field is absent or one of `accepted`.
  void expect_text(std::string_view field, std::initializer_list<std::string_view> accepted) const;
  void expect_number(std::string_view field, double accepted) const;

  /// A bad_file about this configuration.
  [[noreturn]] void wrong(std::string_view field, std::string_view expected) const;

 private:
  const nlohmann::json* find(std::string_view field) const;

  std::shared_ptr<const nlohmann::json> object_;
  std::string what_;
};

/// `values` for `size` blocks: a single value stands for all. Throws bad_file through `reader` on
/// another length.
std::vector<int> for_each_block(const ConfigReader& reader, std::string_view field,
                                std::vector<int> values, std::size_t size);

}  // namespace velatura::models

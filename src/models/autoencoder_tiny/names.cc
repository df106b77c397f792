#include "models/autoencoder_tiny/names.h"

#include <array>
#include <charconv>
#include <optional>

namespace velatura::models::autoencoder_tiny {

namespace {

struct Spelling {
  std::string_view prefix;
  std::string_view canonical;
  int first_layer;  ///< the file's number of canonical layer 0
};
constexpr std::array kSpellings = {Spelling{"encoder.layers.", "encoder.layers.", 0},
                                   Spelling{"decoder.layers.", "decoder.layers.", 0},
                                   Spelling{"taesd_encoder.", "encoder.layers.", 0},
                                   Spelling{"taesd_decoder.", "decoder.layers.", 1}};
constexpr Spelling kBareEncoder{"", "encoder.layers.", 0};
constexpr Spelling kBareDecoder{"", "decoder.layers.", 1};

/// "decoder.layers.3.conv.0.bias" for the name in the file; nothing where it is not a numbered
/// layer.
std::optional<std::string> translated(std::string_view name, const Spelling& spelling) {
  const std::string_view rest = name.substr(spelling.prefix.size());
  int number = 0;
  const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), number);
  if (error != std::errc() || end == rest.data() + rest.size() || *end != '.' ||
      number < spelling.first_layer) {
    return std::nullopt;
  }
  return std::string(spelling.canonical) + std::to_string(number - spelling.first_layer) +
         std::string(end, rest.data() + rest.size());
}

/// Files of bare numbers: the encoder begins with a convolution, the decoder with the clamp, which
/// has no weights.
const Spelling* bare_spelling(const weights::Source& source) {
  if (source.find("0.weight") != nullptr) return &kBareEncoder;
  if (source.find("1.weight") != nullptr && source.find("3.conv.0.weight") != nullptr)
    return &kBareDecoder;
  return nullptr;
}

}  // namespace

weights::NameMap names(const weights::Source& source) {
  weights::NameMap rows;
  const Spelling* bare = bare_spelling(source);
  for (const weights::TensorInfo& info : source.tensors()) {
    const Spelling* spelling = bare;
    for (const Spelling& known : kSpellings) {
      if (info.name.starts_with(known.prefix)) spelling = &known;
    }
    if (spelling == nullptr) continue;
    if (std::optional<std::string> canonical = translated(info.name, *spelling)) {
      rows.push_back({.canonical = std::move(*canonical), .file = info.name});
    }
  }
  return rows;
}

}  // namespace velatura::models::autoencoder_tiny

#include "tokenizers/clip_bpe/byte_alphabet.h"

#include <array>

#include "tokenizers/unicode.h"

namespace velatura::tokenizers {
namespace {

bool is_printable(int byte) {
  return (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
}

struct Alphabet {
  std::array<unsigned char, 256> order{};
  std::array<char32_t, 256> characters{};

  Alphabet() {
    int count = 0;
    char32_t substitute = 0x100;
    for (const bool printable : {true, false}) {
      for (int byte = 0; byte < 256; ++byte) {
        if (is_printable(byte) != printable) continue;
        order[static_cast<std::size_t>(count++)] = static_cast<unsigned char>(byte);
        characters[static_cast<std::size_t>(byte)] =
            printable ? static_cast<char32_t>(byte) : substitute++;
      }
    }
  }
};

const Alphabet& alphabet() {
  static const Alphabet instance;
  return instance;
}

}  // namespace

unsigned char alphabet_byte(int index) {
  return alphabet().order[static_cast<std::size_t>(index)];
}

std::string alphabet_character(unsigned char byte) {
  const char32_t character = alphabet().characters[byte];  // below U+0800: at most two bytes
  if (character < 0x80) return {static_cast<char>(character)};
  return {static_cast<char>(0xc0 | (character >> 6)), static_cast<char>(0x80 | (character & 0x3f))};
}

std::optional<std::string> alphabet_to_bytes(std::string_view text) {
  std::string bytes;
  for (std::size_t at = 0; at < text.size();) {
    const char32_t character = next_character(text, at);
    if (character >= 0x100) {
      // Unprintable bytes follow the printable ones in `order`, and are numbered from U+0100 in it.
      constexpr char32_t kUnprintable =
          256 - (0x7e - 0x21 + 1) - (0xac - 0xa1 + 1) - (0xff - 0xae + 1);
      if (character >= 0x100 + kUnprintable) return std::nullopt;
      bytes += static_cast<char>(alphabet().order[256 - kUnprintable + (character - 0x100)]);
    } else if (is_printable(static_cast<int>(character))) {
      bytes += static_cast<char>(character);
    } else {
      return std::nullopt;
    }
  }
  return bytes;
}

}  // namespace velatura::tokenizers

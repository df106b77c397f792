#include "image/exif.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "image/formats.h"
#include "image/text_encoding.h"

namespace velatura::image {
namespace {

constexpr std::uint16_t kImageDescription = 0x010e;
constexpr std::uint16_t kMake = 0x010f;
constexpr std::uint16_t kModel = 0x0110;
constexpr std::uint16_t kOrientation = 0x0112;
constexpr std::uint16_t kExifDirectory = 0x8769;
constexpr std::uint16_t kUserComment = 0x9286;

/// Bounds-checked integers of a TIFF block in its byte order.
class Tiff {
 public:
  explicit Tiff(std::string_view block) : block_(block), big_endian_(block.starts_with("MM")) {}

  bool big_endian() const { return big_endian_; }
  std::string_view block() const { return block_; }

  bool holds(std::size_t offset, std::size_t size) const {
    return offset <= block_.size() && size <= block_.size() - offset;
  }

  /// 0 outside the block: no tag, no entries, no offset that leads anywhere.
  std::uint32_t integer(std::size_t offset, std::size_t size) const {
    if (!holds(offset, size)) return 0;
    std::uint32_t value = 0;
    for (std::size_t i = 0; i < size; ++i) {
      const std::size_t at = offset + (big_endian_ ? i : size - 1 - i);
      value = (value << 8) | static_cast<std::uint8_t>(block_[at]);
    }
    return value;
  }

 private:
  std::string_view block_;
  bool big_endian_;
};

struct Entry {
  std::uint16_t tag;
  std::uint32_t value;     ///< the value of a 16- or 32-bit entry of count 1
  std::string_view bytes;  ///< the value of an entry of 1-byte units
};

/// The entries of one directory that lie inside the block. TIFF 6.0, section 2: count, then 12
/// bytes an entry.
std::vector<Entry> directory(const Tiff& tiff, std::size_t offset) {
  std::vector<Entry> entries;
  const std::size_t count = tiff.integer(offset, 2);
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t at = offset + 2 + 12 * i;
    if (!tiff.holds(at, 12)) break;
    const std::uint32_t type = tiff.integer(at + 2, 2);
    const std::size_t units = tiff.integer(at + 4, 4);
    constexpr std::uint32_t kByte = 1, kAscii = 2, kShort = 3, kUndefined = 7;
    Entry entry{static_cast<std::uint16_t>(tiff.integer(at, 2)),
                tiff.integer(at + 8, type == kShort ? 2 : 4),
                {}};
    if (type == kByte || type == kAscii || type == kUndefined) {
      const std::size_t start = units <= 4 ? at + 8 : entry.value;
      if (tiff.holds(start, units)) entry.bytes = tiff.block().substr(start, units);
    }
    entries.push_back(entry);
  }
  return entries;
}

std::string_view without_trailing_nuls(std::string_view text) {
  while (!text.empty() && text.back() == '\0') text.remove_suffix(1);
  return text;
}

/// EXIF says that the text follows the block's byte order; web UIs (piexif) write big-endian
/// whatever the block has, others little-endian. A byte-order mark decides, then where the zero
/// bytes of ASCII characters lie.
std::string decode_utf16(std::string_view bytes, bool block_is_big_endian) {
  if (bytes.starts_with("\xfe\xff")) return utf16_to_utf8(bytes.substr(2), true);
  if (bytes.starts_with("\xff\xfe")) return utf16_to_utf8(bytes.substr(2), false);
  std::array<std::size_t, 2> zeros{};
  for (std::size_t i = 0; i < bytes.size(); ++i) zeros[i % 2] += bytes[i] == '\0' ? 1 : 0;
  const bool big_endian = zeros[0] == zeros[1] ? block_is_big_endian : zeros[0] > zeros[1];
  std::string text = utf16_to_utf8(bytes, big_endian);
  text.resize(without_trailing_nuls(text).size());
  return text;
}

std::string decode_user_comment(std::string_view bytes, bool block_is_big_endian) {
  constexpr std::size_t kCharsetLength = 8;
  if (bytes.size() < kCharsetLength) return guess_to_utf8(without_trailing_nuls(bytes));
  const std::string_view charset = bytes.substr(0, kCharsetLength);
  const std::string_view text = bytes.substr(kCharsetLength);
  if (charset == std::string_view("UNICODE\0", 8)) return decode_utf16(text, block_is_big_endian);
  const bool marked = charset == std::string_view("ASCII\0\0\0", 8) ||
                      charset == std::string_view("\0\0\0\0\0\0\0\0", 8);
  return guess_to_utf8(without_trailing_nuls(marked ? text : bytes));
}

/// Keeps the first text of a name. A hostile block may point at one long value from thousands of
/// entries.
template <typename Decode>
void add_once(std::vector<TextChunk>& texts, std::string_view key, std::string_view bytes,
              const Decode& decode) {
  if (bytes.empty() || find_text(texts, key) != nullptr) return;
  texts.push_back({std::string(key), decode(bytes)});
}

/// `prompt:{…}` in Make or Model is a text called `prompt`; so write ComfyUI's savers for JPEG and
/// WebP.
void add_named_json(std::vector<TextChunk>& texts, std::string_view bytes) {
  constexpr std::string_view kNames[] = {"prompt", "workflow"};
  for (const std::string_view name : kNames) {
    if (!bytes.starts_with(name) || bytes.size() <= name.size() || bytes[name.size()] != ':')
      continue;
    add_once(texts, name, without_trailing_nuls(bytes.substr(name.size() + 1)), guess_to_utf8);
  }
}

}  // namespace

Exif parse_exif(std::span<const std::byte> block) {
  std::string_view bytes(reinterpret_cast<const char*>(block.data()), block.size());
  if (bytes.starts_with(std::string_view("Exif\0\0", 6))) bytes.remove_prefix(6);
  if (!bytes.starts_with("II") && !bytes.starts_with("MM")) return {};
  const Tiff tiff(bytes);
  if (tiff.integer(2, 2) != 42) return {};
  const std::uint32_t first = tiff.integer(4, 4);

  Exif exif;
  std::optional<std::uint32_t> inner;
  for (const Entry& entry : directory(tiff, first)) {
    if (entry.tag == kOrientation && entry.value >= 1 && entry.value <= 8) {
      exif.orientation = static_cast<int>(entry.value);
    } else if (entry.tag == kImageDescription) {
      add_once(exif.texts, "ImageDescription", without_trailing_nuls(entry.bytes), guess_to_utf8);
    } else if (entry.tag == kMake || entry.tag == kModel) {
      add_named_json(exif.texts, entry.bytes);
    } else if (entry.tag == kExifDirectory && !inner) {
      inner = entry.value;
    }
  }
  if (!inner) return exif;
  for (const Entry& entry : directory(tiff, *inner)) {
    if (entry.tag != kUserComment) continue;
    add_once(exif.texts, "UserComment", entry.bytes,
             [&](std::string_view bytes) { return decode_user_comment(bytes, tiff.big_endian()); });
  }
  return exif;
}

Image upright(Image image, int orientation) {
  if (orientation <= 1 || orientation > 8) return image;
  const bool swaps = orientation >= 5;
  Image out = make_image(swaps ? image.height : image.width, swaps ? image.width : image.height,
                         image.channels);
  // Which end of the stored picture the upright one starts from, by the tag's value (EXIF 2.3,
  // table 4).
  const bool from_right =
      orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
  const bool from_bottom =
      orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
  const auto channels = static_cast<std::size_t>(image.channels);
  for (int y = 0; y < out.height; ++y) {
    for (int x = 0; x < out.width; ++x) {
      const int along = swaps ? y : x;
      const int down = swaps ? x : y;
      const int source_x = from_right ? image.width - 1 - along : along;
      const int source_y = from_bottom ? image.height - 1 - down : down;
      const auto width = static_cast<std::size_t>(image.width);
      std::memcpy(&out.pixels[(static_cast<std::size_t>(y) * static_cast<std::size_t>(out.width) +
                               static_cast<std::size_t>(x)) *
                              channels],
                  &image.pixels[(static_cast<std::size_t>(source_y) * width +
                                 static_cast<std::size_t>(source_x)) *
                                channels],
                  channels);
    }
  }
  return out;
}

}  // namespace velatura::image

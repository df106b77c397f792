// PNG by libpng. Its errors leave by longjmp, so every call into it stands in a function without
// C++ objects of its own; what owns memory lives in the caller's Reader.
#include <png.h>

#include <algorithm>
#include <csetjmp>
#include <cstdio>
#include <cstring>

#include "image/exif.h"
#include "image/formats.h"
#include "image/text_encoding.h"

namespace velatura::image {
namespace {

/// Deflate makes at most 1032 bytes of one, so a short file cannot hold what it claims.
constexpr std::size_t kMostInflation = 1032;

/// Metadata bounds: workflows of node programs reach a few MB; libpng's own default of 8 MB would
/// drop larger ones.
constexpr png_alloc_size_t kMaxChunkBytes = png_alloc_size_t{64} << 20;
constexpr png_uint_32 kMaxChunks = 1000;

struct Reader {
  explicit Reader(std::span<const std::byte> bytes) : input(bytes) {}
  ~Reader() { png_destroy_read_struct(&png, &info, nullptr); }
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;

  std::span<const std::byte> input;
  std::size_t at = 0;
  png_structp png = nullptr;
  png_infop info = nullptr;
  char message[200] = "";
  std::vector<png_bytep> rows;
};

/// Whether every chunk up to IEND lies inside the file. libpng allocates what a chunk's length says
/// before it reads, up to 2 GB.
bool chunks_are_whole(std::span<const std::byte> bytes) {
  constexpr std::size_t kSignature = 8, kLengthTypeAndCrc = 12;
  std::size_t at = kSignature;
  while (bytes.size() - at >= kLengthTypeAndCrc) {
    std::size_t length = 0;
    for (std::size_t i = 0; i < 4; ++i)
      length = (length << 8) | std::to_integer<std::size_t>(bytes[at + i]);
    if (length > bytes.size() - at - kLengthTypeAndCrc) return false;
    if (std::memcmp(bytes.data() + at + 4, "IEND", 4) == 0) return true;
    at += length + kLengthTypeAndCrc;
  }
  return false;
}

void on_error(png_structp png, png_const_charp text) {
  auto* reader = static_cast<Reader*>(png_get_error_ptr(png));
  std::snprintf(reader->message, sizeof reader->message, "%s", text);
  png_longjmp(png, 1);
}

void on_warning(png_structp, png_const_charp) {
}  // the library never prints; a readable picture is read

void on_read(png_structp png, png_bytep out, png_size_t size) {
  auto* reader = static_cast<Reader*>(png_get_io_ptr(png));
  if (size > reader->input.size() - reader->at) png_error(png, "the file ends early");
  std::memcpy(out, reader->input.data() + reader->at, size);
  reader->at += size;
}

/// Everything before the pixels. False: reader.message says why.
bool read_header(Reader& reader, const ReadLimits& limits) {
  if (setjmp(png_jmpbuf(reader.png)) != 0) return false;
  png_set_read_fn(reader.png, &reader, on_read);
  png_set_user_limits(reader.png, static_cast<png_uint_32>(limits.max_side),
                      static_cast<png_uint_32>(limits.max_side));
  png_set_chunk_malloc_max(
      reader.png, std::min<png_alloc_size_t>(kMaxChunkBytes, kMostInflation * reader.input.size()));
  png_set_chunk_cache_max(reader.png, kMaxChunks);
  png_read_info(reader.png, reader.info);
  return true;
}

bool ask_for_8_bit_rgb(Reader& reader) {
  if (setjmp(png_jmpbuf(reader.png)) != 0) return false;
  png_set_expand(
      reader.png);  // palette to RGB, grey below 8 bits to 8, transparent colour to alpha
  png_set_scale_16(reader.png);  // rounds to nearest; strip_16 would cut
  png_set_gray_to_rgb(reader.png);
  png_set_interlace_handling(reader.png);
  png_read_update_info(reader.png, reader.info);
  return true;
}

bool read_pixels_and_end(Reader& reader) {
  if (setjmp(png_jmpbuf(reader.png)) != 0) return false;
  png_read_image(reader.png, reader.rows.data());
  png_read_end(reader.png, reader.info);  // texts may follow the pixels
  return true;
}

std::vector<TextChunk> texts_of(const Reader& reader) {
  std::vector<TextChunk> texts;
  png_textp chunks = nullptr;
  int count = 0;
  png_get_text(reader.png, reader.info, &chunks, &count);
  for (int i = 0; i < count; ++i) {
    const png_text& chunk = chunks[i];
    if (chunk.key == nullptr || chunk.text == nullptr) continue;
    const bool is_international = chunk.compression >= PNG_ITXT_COMPRESSION_NONE;
    std::string_view value(chunk.text, is_international ? chunk.itxt_length : chunk.text_length);
    while (!value.empty() && value.back() == '\0') value.remove_suffix(1);
    // tEXt is Latin-1 by the standard, but several programs put UTF-8 there; encode_png never
    // writes a tEXt whose Latin-1 bytes could be taken for UTF-8.
    texts.push_back({latin1_to_utf8(chunk.key), guess_to_utf8(value)});
  }
  return texts;
}

int add_exif(const Reader& reader, std::vector<TextChunk>& texts) {
#ifdef PNG_eXIf_SUPPORTED
  png_uint_32 size = 0;
  png_bytep block = nullptr;
  if (png_get_eXIf_1(reader.png, reader.info, &size, &block) != 0 && block != nullptr) {
    Exif exif = parse_exif(std::as_bytes(std::span(block, size)));
    for (TextChunk& text : exif.texts) texts.push_back(std::move(text));
    return exif.orientation;
  }
#endif
  return 1;
}

}  // namespace

Picture decode_png(std::span<const std::byte> bytes, std::string_view name,
                   const ReadLimits& limits) {
  if (!chunks_are_whole(bytes)) refuse(name, "the file ends early");
  Reader reader(bytes);
  reader.png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &reader, on_error, on_warning);
  if (reader.png != nullptr) reader.info = png_create_info_struct(reader.png);
  if (reader.info == nullptr) refuse(name, "libpng could not start");
  if (!read_header(reader, limits)) refuse(name, reader.message);

  const std::int64_t width = png_get_image_width(reader.png, reader.info);
  const std::int64_t height = png_get_image_height(reader.png, reader.info);
  check_size(name, width, height, limits);
  const std::size_t stored =
      png_get_rowbytes(reader.png, reader.info) * static_cast<std::size_t>(height);
  if (stored / kMostInflation > bytes.size()) refuse(name, "the file ends early");

  if (!ask_for_8_bit_rgb(reader)) refuse(name, reader.message);
  const int channels = png_get_channels(reader.png, reader.info);
  const std::size_t row_bytes =
      static_cast<std::size_t>(width) * static_cast<std::size_t>(channels);
  if ((channels != 3 && channels != 4) || png_get_rowbytes(reader.png, reader.info) != row_bytes) {
    refuse(name, "its pixel layout is unknown");
  }
  Picture picture{Format::png, make_image(width, height, channels), {}};
  reader.rows.resize(static_cast<std::size_t>(height));
  for (std::size_t y = 0; y < reader.rows.size(); ++y)
    reader.rows[y] = picture.image.pixels.data() + y * row_bytes;
  if (!read_pixels_and_end(reader)) refuse(name, reader.message);
  picture.texts = texts_of(reader);
  const int orientation = add_exif(reader, picture.texts);
  picture.image = upright(std::move(picture.image), orientation);
  return picture;
}

}  // namespace velatura::image

// PNG by libpng; the longjmp rule of png_read.cc holds here too.
#include <png.h>

#include <csetjmp>
#include <cstdio>
#include <optional>

#include "base/error.h"
#include "image/codec.h"
#include "image/text_encoding.h"

namespace velatura::image {
namespace {

struct Writer {
  Writer() = default;
  ~Writer() { png_destroy_write_struct(&png, &info); }
  Writer(const Writer&) = delete;
  Writer& operator=(const Writer&) = delete;

  png_structp png = nullptr;
  png_infop info = nullptr;
  char message[200] = "";
  std::vector<std::byte> output;
  std::vector<png_text> texts;
  std::vector<png_const_bytep> rows;
};

void on_error(png_structp png, png_const_charp text) {
  auto* writer = static_cast<Writer*>(png_get_error_ptr(png));
  std::snprintf(writer->message, sizeof writer->message, "%s", text);
  png_longjmp(png, 1);
}

void on_warning(png_structp, png_const_charp) {}

bool append(std::vector<std::byte>& output, png_bytep data, png_size_t size) noexcept {
  try {
    const auto bytes = std::as_bytes(std::span(data, size));
    output.insert(output.end(), bytes.begin(), bytes.end());
    return true;
  } catch (const std::bad_alloc&) {
    return false;  // no exception may pass libpng's frames; the caller turns this into its error
  }
}

void on_write(png_structp png, png_bytep data, png_size_t size) {
  auto* writer = static_cast<Writer*>(png_get_io_ptr(png));
  if (!append(writer->output, data, size)) png_error(png, "out of memory");
}

void on_flush(png_structp) {}

bool write_all(Writer& writer, const Image& image) {
  if (setjmp(png_jmpbuf(writer.png)) != 0) return false;
  png_set_write_fn(writer.png, &writer, on_write, on_flush);
  // The limits libpng sets itself are for reading; a side up to PNG's 2^31 - 1 is legal.
  png_set_user_limits(writer.png, PNG_UINT_31_MAX, PNG_UINT_31_MAX);
  png_set_IHDR(writer.png, writer.info, static_cast<png_uint_32>(image.width),
               static_cast<png_uint_32>(image.height), 8,
               image.channels == 4 ? PNG_COLOR_TYPE_RGB_ALPHA : PNG_COLOR_TYPE_RGB,
               PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
  png_set_compression_level(writer.png,
                            6);  // fixed: the bytes must not depend on how libpng was built
  if (!writer.texts.empty()) {
    png_set_text(writer.png, writer.info, writer.texts.data(),
                 static_cast<int>(writer.texts.size()));
  }
  png_write_info(writer.png, writer.info);
  png_write_image(writer.png, const_cast<png_bytepp>(writer.rows.data()));
  png_write_end(writer.png, nullptr);
  return true;
}

/// A text as the chunk holds it.
struct Encoded {
  std::string key;
  std::string value;
  bool is_international;
};

Encoded encode_text(const TextChunk& text) {
  if (!is_utf8(text.value) || text.value.find('\0') != std::string::npos) {
    fail(ErrorKind::invalid_argument,
         "the text \"{}\" for the picture is not UTF-8 without NUL bytes", text.key);
  }
  const std::optional<std::string> key = utf8_to_latin1(text.key);
  if (!key || key->empty() || key->size() > 79) {
    fail(ErrorKind::invalid_argument,
         "\"{}\" cannot name a text of a PNG: 1 to 79 Latin-1 characters are allowed", text.key);
  }
  std::optional<std::string> latin1 = utf8_to_latin1(text.value);
  // Latin-1 that reads as UTF-8 (beyond ASCII) would be misread by all who guess, and so do we.
  if (latin1 && (*latin1 == text.value || !is_utf8(*latin1)))
    return {*key, std::move(*latin1), false};
  return {*key, text.value, true};
}

}  // namespace

std::vector<std::byte> encode_png(const Image& image, std::span<const TextChunk> texts) {
  VELATURA_CHECK(image.width > 0 && image.height > 0 &&
                 (image.channels == 3 || image.channels == 4));
  const std::size_t row_bytes =
      static_cast<std::size_t>(image.width) * static_cast<std::size_t>(image.channels);
  VELATURA_CHECK(image.pixels.size() == row_bytes * static_cast<std::size_t>(image.height));

  std::vector<Encoded> encoded;
  encoded.reserve(texts.size());
  for (const TextChunk& text : texts) encoded.push_back(encode_text(text));

  char empty[] = "";  // libpng takes language and translated keyword as char*, and only reads them
  Writer writer;
  for (Encoded& text : encoded) {
    png_text chunk{};
    chunk.compression =
        text.is_international ? PNG_ITXT_COMPRESSION_NONE : PNG_TEXT_COMPRESSION_NONE;
    chunk.key = text.key.data();
    chunk.text = text.value.data();
    chunk.text_length = text.is_international ? 0 : text.value.size();
    chunk.itxt_length = text.is_international ? text.value.size() : 0;
    chunk.lang = empty;
    chunk.lang_key = empty;
    writer.texts.push_back(chunk);
  }
  for (std::size_t y = 0; y < static_cast<std::size_t>(image.height); ++y) {
    writer.rows.push_back(image.pixels.data() + y * row_bytes);
  }
  writer.png = png_create_write_struct(PNG_LIBPNG_VER_STRING, &writer, on_error, on_warning);
  if (writer.png != nullptr) writer.info = png_create_info_struct(writer.png);
  if (writer.info == nullptr)
    fail(ErrorKind::out_of_memory, "libpng could not start writing a picture");
  if (!write_all(writer, image)) {
    fail(ErrorKind::internal, "cannot encode a picture of {}x{} as PNG: {}", image.width,
         image.height, writer.message);
  }
  return std::move(writer.output);
}

}  // namespace velatura::image

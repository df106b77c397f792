// JPEG by libjpeg-turbo; the longjmp rule of png_read.cc holds here too.
#include <csetjmp>
#include <cstdio>  // jpeglib.h needs it and does not include it

#include <jerror.h>
#include <jpeglib.h>

#include <cstring>

#include "image/exif.h"
#include "image/formats.h"
#include "image/text_encoding.h"

namespace velatura::image {
namespace {

/// Scans of a progressive file: writers make about ten; each costs a pass over the picture, so
/// thousands of empty ones are an attack.
constexpr int kMaxScans = 200;

struct Reader {
  Reader() = default;
  ~Reader() {
    if (created) jpeg_destroy_decompress(&jpeg);
  }
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;

  jpeg_decompress_struct jpeg{};
  jpeg_error_mgr errors{};
  jpeg_progress_mgr progress{};
  std::jmp_buf jump;
  bool created = false;
  char message[JMSG_LENGTH_MAX] = "";
};

Reader& reader_of(j_common_ptr common) {
  return *static_cast<Reader*>(common->client_data);
}

void on_error(j_common_ptr common) {
  Reader& reader = reader_of(common);
  common->err->format_message(common, reader.message);
  std::longjmp(reader.jump, 1);
}

void on_message(j_common_ptr common, int level) {
  // A source that ran dry is filled with grey and a warning: for us it is a damaged file. Other
  // warnings pass.
  if (level < 0 && common->err->msg_code == JWRN_JPEG_EOF) {
    Reader& reader = reader_of(common);
    std::snprintf(reader.message, sizeof reader.message, "the file ends early");
    std::longjmp(reader.jump, 1);
  }
}

void on_output(j_common_ptr) {}

void on_progress(j_common_ptr common) {
  Reader& reader = reader_of(common);
  if (reader.jpeg.input_scan_number > kMaxScans) {
    std::snprintf(reader.message, sizeof reader.message, "it has more than %d scans", kMaxScans);
    std::longjmp(reader.jump, 1);
  }
}

bool read_header(Reader& reader, std::span<const std::byte> bytes) {
  if (setjmp(reader.jump) != 0) return false;
  jpeg_create_decompress(&reader.jpeg);
  reader.created = true;
  reader.jpeg.progress = &reader.progress;
  reader.progress.progress_monitor = on_progress;
  jpeg_mem_src(&reader.jpeg, reinterpret_cast<const unsigned char*>(bytes.data()),
               static_cast<unsigned long>(bytes.size()));
  jpeg_save_markers(&reader.jpeg, JPEG_APP0 + 1, 0xffff);
  jpeg_read_header(&reader.jpeg, TRUE);
  return true;
}

bool start(Reader& reader) {
  if (setjmp(reader.jump) != 0) return false;
  const bool is_cmyk =
      reader.jpeg.jpeg_color_space == JCS_CMYK || reader.jpeg.jpeg_color_space == JCS_YCCK;
  reader.jpeg.out_color_space = is_cmyk ? JCS_CMYK : JCS_RGB;
  jpeg_start_decompress(&reader.jpeg);
  return true;
}

bool read_rows(Reader& reader, std::uint8_t* pixels, std::size_t row_bytes) {
  if (setjmp(reader.jump) != 0) return false;
  while (reader.jpeg.output_scanline < reader.jpeg.output_height) {
    JSAMPROW row = pixels + reader.jpeg.output_scanline * row_bytes;
    jpeg_read_scanlines(&reader.jpeg, &row, 1);
  }
  jpeg_finish_decompress(&reader.jpeg);
  return true;
}

/// Adobe's files, the only CMYK ones in use, store inverted inks; so 255 is no ink and the product
/// is the light left.
Image cmyk_to_rgb(const Image& inks) {
  Image image = make_image(inks.width, inks.height, 3);
  const std::size_t count = inks.pixels.size() / 4;
  for (std::size_t i = 0; i < count; ++i) {
    const unsigned black = inks.pixels[4 * i + 3];
    for (std::size_t c = 0; c < 3; ++c) {
      image.pixels[3 * i + c] =
          static_cast<std::uint8_t>((inks.pixels[4 * i + c] * black + 127) / 255);
    }
  }
  return image;
}

int add_markers(const Reader& reader, std::vector<TextChunk>& texts) {
  constexpr std::string_view kXmp("http://ns.adobe.com/xap/1.0/\0", 29);
  int orientation = 1;
  bool has_exif = false;
  for (jpeg_saved_marker_ptr marker = reader.jpeg.marker_list; marker != nullptr;
       marker = marker->next) {
    const std::string_view bytes(reinterpret_cast<const char*>(marker->data), marker->data_length);
    if (bytes.starts_with(std::string_view("Exif\0\0", 6)) && !has_exif) {
      Exif exif = parse_exif(std::as_bytes(std::span(bytes)));
      for (TextChunk& text : exif.texts) texts.push_back(std::move(text));
      orientation = exif.orientation;
      has_exif = true;
    } else if (bytes.starts_with(kXmp)) {
      texts.push_back({"XML:com.adobe.xmp", guess_to_utf8(bytes.substr(kXmp.size()))});
    }
  }
  return orientation;
}

}  // namespace

Picture decode_jpeg(std::span<const std::byte> bytes, std::string_view name,
                    const ReadLimits& limits) {
  Reader reader;
  reader.jpeg.err = jpeg_std_error(&reader.errors);
  reader.jpeg.client_data = &reader;
  reader.errors.error_exit = on_error;
  reader.errors.emit_message = on_message;
  reader.errors.output_message = on_output;
  if (!read_header(reader, bytes)) refuse(name, reader.message);

  const std::int64_t width = reader.jpeg.image_width;
  const std::int64_t height = reader.jpeg.image_height;
  check_size(name, width, height, limits);
  // A Huffman-coded 8x8 block takes at least one bit, 512 pixels a byte, so a short file cannot
  // hold what it claims.
  if (reader.jpeg.arith_code == FALSE &&
      width * height / 512 > static_cast<std::int64_t>(bytes.size())) {
    refuse(name, "the file ends early");
  }
  if (!start(reader)) refuse(name, reader.message);
  const int components = reader.jpeg.output_components;
  if (components != 3 && components != 4) refuse(name, "its pixel layout is unknown");
  Picture picture{Format::jpeg, make_image(width, height, components), {}};
  const std::size_t row_bytes =
      static_cast<std::size_t>(width) * static_cast<std::size_t>(components);
  // Before the rows: the end of decompression lets the markers go.
  const int orientation = add_markers(reader, picture.texts);
  if (!read_rows(reader, picture.image.pixels.data(), row_bytes)) refuse(name, reader.message);
  if (components == 4) picture.image = cmyk_to_rgb(picture.image);
  picture.image = upright(std::move(picture.image), orientation);
  return picture;
}

}  // namespace velatura::image

#include "image/sample_pictures.h"

// After <cstdio>: jpeglib.h needs it and does not include it.
#include <gtest/gtest.h>
#include <cstdio>

#include <jpeglib.h>
#include <png.h>
#include <webp/encode.h>

#include <cstdlib>
#include <cstring>
#include <memory>

#include "image/formats.h"

namespace velatura::image::testing {
namespace {

void append(Bytes& bytes, std::string_view text) {
  const auto more = std::as_bytes(std::span(text.data(), text.size()));
  bytes.insert(bytes.end(), more.begin(), more.end());
}

std::string integer(std::uint32_t value, std::size_t size, bool big_endian) {
  std::string text(size, '\0');
  for (std::size_t i = 0; i < size; ++i) {
    text[big_endian ? size - 1 - i : i] = static_cast<char>((value >> (8 * i)) & 0xff);
  }
  return text;
}

}  // namespace

Image gradient(int width, int height, int channels) {
  Image image = make_image(width, height, channels);
  for (std::size_t i = 0; i < image.pixels.size(); ++i) {
    const int pixel = static_cast<int>(i) / channels;
    const int channel = static_cast<int>(i) % channels;
    image.pixels[i] =
        static_cast<std::uint8_t>(7 * (pixel % width) + 5 * (pixel / width) + 60 * channel);
  }
  return image;
}

Bytes make_png(int width, int height, const PngLayout& layout,
               std::span<const std::uint8_t> pixels) {
  png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, nullptr, nullptr, nullptr);
  png_infop info = png_create_info_struct(png);
  Bytes bytes;
  png_set_write_fn(
      png, &bytes,
      [](png_structp p, png_bytep data, png_size_t size) {
        append(*static_cast<Bytes*>(png_get_io_ptr(p)),
               {reinterpret_cast<const char*>(data), size});
      },
      nullptr);
  png_set_IHDR(png, info, static_cast<png_uint_32>(width), static_cast<png_uint_32>(height),
               layout.bit_depth, layout.color_type,
               layout.interlaced ? PNG_INTERLACE_ADAM7 : PNG_INTERLACE_NONE,
               PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
  const png_color palette[4] = {{1, 2, 3}, {100, 110, 120}, {200, 0, 50}, {255, 255, 255}};
  const png_byte alphas[2] = {255, 128};
  if (layout.color_type == PNG_COLOR_TYPE_PALETTE) {
    png_set_PLTE(png, info, palette, 4);
    png_set_tRNS(png, info, alphas, 2, nullptr);
  }
  png_write_info(png, info);
  const std::size_t row_bytes = png_get_rowbytes(png, info);
  std::vector<png_bytep> rows;
  for (std::size_t y = 0; y < static_cast<std::size_t>(height); ++y) {
    rows.push_back(const_cast<png_bytep>(pixels.data() + y * row_bytes));
  }
  png_write_image(png, rows.data());
  char key[] = "Comment";
  std::string value = layout.text;
  png_text text{};
  text.compression = PNG_TEXT_COMPRESSION_NONE;
  text.key = key;
  text.text = value.data();
  if (!value.empty()) png_set_text(png, info, &text, 1);
  png_write_end(png, info);
  png_destroy_write_struct(&png, &info);
  return bytes;
}

Bytes make_jpeg(int width, int height, int channels, std::span<const std::uint8_t> pixels,
                std::string_view exif, bool progressive) {
  jpeg_compress_struct jpeg{};
  jpeg_error_mgr errors{};
  jpeg.err = jpeg_std_error(&errors);
  jpeg_create_compress(&jpeg);
  unsigned char* memory = nullptr;
  unsigned long size = 0;
  jpeg_mem_dest(&jpeg, &memory, &size);
  jpeg.image_width = static_cast<JDIMENSION>(width);
  jpeg.image_height = static_cast<JDIMENSION>(height);
  jpeg.input_components = channels;
  jpeg.in_color_space = channels == 1 ? JCS_GRAYSCALE : channels == 3 ? JCS_RGB : JCS_CMYK;
  jpeg_set_defaults(&jpeg);
  jpeg_set_quality(&jpeg, 95, TRUE);
  if (progressive) jpeg_simple_progression(&jpeg);
  jpeg_start_compress(&jpeg, TRUE);
  if (!exif.empty()) {
    const std::string marker = std::string("Exif\0\0", 6) + std::string(exif);
    jpeg_write_marker(&jpeg, JPEG_APP0 + 1, reinterpret_cast<const JOCTET*>(marker.data()),
                      static_cast<unsigned>(marker.size()));
  }
  const std::size_t row_bytes =
      static_cast<std::size_t>(width) * static_cast<std::size_t>(channels);
  while (jpeg.next_scanline < jpeg.image_height) {
    auto* row = const_cast<JSAMPROW>(pixels.data() + jpeg.next_scanline * row_bytes);
    jpeg_write_scanlines(&jpeg, &row, 1);
  }
  jpeg_finish_compress(&jpeg);
  jpeg_destroy_compress(&jpeg);
  Bytes bytes;
  append(bytes, {reinterpret_cast<const char*>(memory), size});
  std::free(memory);
  return bytes;
}

Bytes make_webp(const Image& image, std::string_view exif) {
  std::uint8_t* memory = nullptr;
  const int stride = image.width * image.channels;
  const std::size_t size =
      image.channels == 4
          ? WebPEncodeLosslessRGBA(image.pixels.data(), image.width, image.height, stride, &memory)
          : WebPEncodeLosslessRGB(image.pixels.data(), image.width, image.height, stride, &memory);
  const std::string simple(reinterpret_cast<const char*>(memory), size);
  WebPFree(memory);
  Bytes bytes;
  if (exif.empty()) {
    append(bytes, simple);
    return bytes;
  }
  // The extended container: VP8X (flags: EXIF, alpha) before the picture's own chunk, EXIF behind
  // it.
  constexpr std::uint32_t kHasExif = 8, kHasAlpha = 16;
  std::string body = "WEBPVP8X" + integer(10, 4, false) +
                     integer(kHasExif | (image.channels == 4 ? kHasAlpha : 0), 4, false) +
                     integer(static_cast<std::uint32_t>(image.width - 1), 3, false) +
                     integer(static_cast<std::uint32_t>(image.height - 1), 3, false) +
                     simple.substr(12);
  body += "EXIF" + integer(static_cast<std::uint32_t>(exif.size()), 4, false) + std::string(exif);
  if (exif.size() % 2 != 0) body += '\0';
  append(bytes, "RIFF" + integer(static_cast<std::uint32_t>(body.size()), 4, false) + body);
  return bytes;
}

std::string make_exif(int orientation, std::string_view user_comment, bool big_endian) {
  const auto two = [&](std::uint32_t value) { return integer(value, 2, big_endian); };
  const auto four = [&](std::uint32_t value) { return integer(value, 4, big_endian); };
  constexpr std::uint32_t kFirst = 8, kSecond = kFirst + 2 + 2 * 12 + 4,
                          kText = kSecond + 2 + 12 + 4;
  std::string block = (big_endian ? "MM" : "II") + two(42) + four(kFirst);
  block += two(2) + two(0x0112) + two(3) + four(1) + two(static_cast<std::uint32_t>(orientation)) +
           two(0);
  block += two(0x8769) + two(4) + four(1) + four(kSecond) + four(0);
  block += two(1) + two(0x9286) + two(7) + four(static_cast<std::uint32_t>(user_comment.size())) +
           four(kText) + four(0);
  return block + std::string(user_comment);
}

TEST(SamplePictures, AreWhatTheySay) {
  const Image image = gradient(8, 4, 3);
  EXPECT_EQ(recognise(make_png(8, 4, {PNG_COLOR_TYPE_RGB, 8}, image.pixels)), Format::png);
  EXPECT_EQ(recognise(make_jpeg(8, 4, 3, image.pixels)), Format::jpeg);
  EXPECT_EQ(recognise(make_webp(image)), Format::webp);
}

}  // namespace velatura::image::testing

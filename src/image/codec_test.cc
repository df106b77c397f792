#include "image/codec.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <png.h>

#include <cstdlib>
#include <cstring>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>
#include <random>

#include "base/error.h"
#include "image/exif.h"
#include "image/formats.h"
#include "image/sample_pictures.h"

namespace velatura::image {
namespace {

using testing::Bytes;
using testing::gradient;
using testing::make_exif;
using testing::make_jpeg;
using testing::make_png;
using testing::make_webp;

/// The message when `run` throws an Error of that kind, else a failure.
std::string error_of(ErrorKind kind, const std::function<void()>& run) {
  try {
    run();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), kind) << error.what();
    return error.what();
  }
  ADD_FAILURE() << "nothing was thrown";
  return {};
}

double mean_difference(const Image& a, const Image& b) {
  EXPECT_EQ(a.pixels.size(), b.pixels.size());
  if (a.pixels.size() != b.pixels.size()) return 255;
  double sum = 0;
  for (std::size_t i = 0; i < a.pixels.size(); ++i) sum += std::abs(a.pixels[i] - b.pixels[i]);
  return sum / static_cast<double>(a.pixels.size());
}

TEST(Png, RoundTripsPixelsAndTexts) {
  const std::vector<TextChunk> texts = {
      {"parameters", "a cat\nNegative prompt: café\nSteps: 20"},
      {"other", "猫 テスト 🎨"},
      {"looks like UTF-8 in Latin-1", "Ã©"},  // bytes C3 A9, which guessing readers take for é
      {"empty", ""},
      {"clé", "x"},
  };
  for (const int channels : {3, 4}) {
    const Image image = gradient(19, 7, channels);
    const Bytes bytes = encode_png(image, texts);
    const Picture picture = decode(bytes, "x.png");
    EXPECT_EQ(picture.format, Format::png);
    EXPECT_EQ(picture.image, image);
    EXPECT_EQ(picture.texts, texts);
    EXPECT_EQ(encode_png(image, texts), bytes) << "the bytes must repeat";
  }
}

TEST(Png, ChoosesTheChunkByTheText) {
  const Image image = gradient(2, 2, 3);
  const auto holds = [](const Bytes& bytes, std::string_view tag) {
    return std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size()).find(tag) !=
           std::string_view::npos;
  };
  const std::vector<TextChunk> plain = {{"parameters", "café"}};
  EXPECT_TRUE(holds(encode_png(image, plain), "tEXtparameters"));
  EXPECT_TRUE(holds(encode_png(image, plain), "caf\xe9"));
  const std::vector<TextChunk> wide = {{"parameters", "猫"}};
  EXPECT_TRUE(holds(encode_png(image, wide), "iTXtparameters"));
}

TEST(Png, RefusesTextsItCannotHold) {
  const Image image = gradient(2, 2, 3);
  for (const TextChunk& text :
       {TextChunk{"", "x"}, TextChunk{std::string(80, 'k'), "x"}, TextChunk{"猫", "x"},
        TextChunk{"k", "\xff"}, TextChunk{"k", std::string("a\0b", 3)}}) {
    error_of(ErrorKind::invalid_argument, [&] { encode_png(image, {&text, 1}); });
  }
}

TEST(Png, ExpandsEveryLayout) {
  const std::vector<std::uint8_t> grey = {0, 50, 200, 255};
  EXPECT_EQ(decode(make_png(2, 2, {PNG_COLOR_TYPE_GRAY, 8}, grey), "").image.pixels,
            (std::vector<std::uint8_t>{0, 0, 0, 50, 50, 50, 200, 200, 200, 255, 255, 255}));
  const std::vector<std::uint8_t> wide = {0x12, 0x34, 0xff,
                                          0xff};  // 0x1234 / 257 = 18.13, 0xffff / 257 = 255
  EXPECT_EQ(decode(make_png(2, 1, {PNG_COLOR_TYPE_GRAY, 16}, wide), "").image.pixels,
            (std::vector<std::uint8_t>{18, 18, 18, 255, 255, 255}));
  const std::vector<std::uint8_t> bits = {0b01000000};
  EXPECT_EQ(decode(make_png(2, 1, {PNG_COLOR_TYPE_GRAY, 1}, bits), "").image.pixels,
            (std::vector<std::uint8_t>{0, 0, 0, 255, 255, 255}));
  const std::vector<std::uint8_t> indices = {0b00011011};
  const Image palette = decode(make_png(4, 1, {PNG_COLOR_TYPE_PALETTE, 2}, indices), "").image;
  EXPECT_EQ(palette.channels, 4);
  EXPECT_EQ(palette.pixels, (std::vector<std::uint8_t>{1, 2, 3, 255, 100, 110, 120, 128, 200, 0, 50,
                                                       255, 255, 255, 255, 255}));
  const std::vector<std::uint8_t> grey_alpha = {10, 20, 30, 40};
  EXPECT_EQ(decode(make_png(2, 1, {PNG_COLOR_TYPE_GRAY_ALPHA, 8}, grey_alpha), "").image.pixels,
            (std::vector<std::uint8_t>{10, 10, 10, 20, 30, 30, 30, 40}));
  const Image image = gradient(13, 11, 3);
  EXPECT_EQ(decode(make_png(13, 11, {PNG_COLOR_TYPE_RGB, 8, true}, image.pixels), "").image, image);
}

TEST(Png, ReadsUtf8InLatin1Chunks) {
  // Several programs put UTF-8 bytes into tEXt, where Latin-1 belongs.
  const Image image = gradient(2, 2, 3);
  const Bytes bytes = make_png(
      2, 2, {.color_type = PNG_COLOR_TYPE_RGB, .bit_depth = 8, .text = "猫 é"}, image.pixels);
  EXPECT_EQ(decode(bytes, "").texts, (std::vector<TextChunk>{{"Comment", "猫 é"}}));
  const Bytes latin = make_png(
      2, 2, {.color_type = PNG_COLOR_TYPE_RGB, .bit_depth = 8, .text = "caf\xe9"}, image.pixels);
  EXPECT_EQ(decode(latin, "").texts, (std::vector<TextChunk>{{"Comment", "café"}}));
}

TEST(Png, SurvivesEveryTruncationAndManyFlips) {
  const std::vector<TextChunk> texts = {{"parameters", "some text"}};
  const Bytes bytes = encode_png(gradient(9, 9, 4), texts);
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    error_of(ErrorKind::bad_file, [&] { decode(std::span(bytes).first(size), "cut"); });
  }
  std::mt19937 random(1);
  for (int i = 0; i < 3000; ++i) {
    Bytes damaged = bytes;
    for (int j = 0; j < 3; ++j)
      damaged[random() % damaged.size()] = static_cast<std::byte>(random());
    try {
      decode(damaged, "damaged");
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::bad_file);
    }
  }
}

TEST(Png, RefusesClaimsItsBytesCannotHold) {
  // Signature and IHDR of 60000 x 4000 RGBA with a right checksum would ask for 960 MB.
  Bytes bytes = encode_png(gradient(1, 1, 4));
  const std::uint32_t width = 60000, height = 4000;
  for (std::size_t i = 0; i < 4; ++i) {
    bytes[16 + i] = static_cast<std::byte>(width >> (24 - 8 * i));
    bytes[20 + i] = static_cast<std::byte>(height >> (24 - 8 * i));
  }
  std::uint32_t crc = ~0u;  // CRC-32 of the chunk's type and data, as PNG specifies
  for (std::size_t i = 12; i < 29; ++i) {
    crc ^= std::to_integer<std::uint32_t>(bytes[i]);
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ (0xedb88320u & (0u - (crc & 1u)));
  }
  for (std::size_t i = 0; i < 4; ++i) bytes[29 + i] = static_cast<std::byte>(~crc >> (24 - 8 * i));
  EXPECT_THAT(
      error_of(ErrorKind::bad_file, [&] { decode(bytes, "bomb.png"); }),
      ::testing::AllOf(::testing::HasSubstr("bomb.png"), ::testing::HasSubstr("ends early")));
}

TEST(Codec, RefusesWhatIsNoPictureAndWhatIsTooLarge) {
  const std::string text = "GIF89a is not ours";
  EXPECT_THAT(
      error_of(ErrorKind::bad_file, [&] { decode(std::as_bytes(std::span(text)), "a.gif"); }),
      ::testing::HasSubstr("a.gif"));
  const Image image = gradient(64, 32, 3);
  const ReadLimits sides{.max_side = 50};
  const ReadLimits area{.max_pixels = 2000};
  const Bytes files[] = {encode_png(image), make_jpeg(64, 32, 3, image.pixels), make_webp(image)};
  for (const Bytes& bytes : files) {
    error_of(ErrorKind::bad_file, [&] { decode(bytes, "", sides); });
    error_of(ErrorKind::bad_file, [&] { decode(bytes, "", area); });
    EXPECT_EQ(decode(bytes, "").image.width, 64);
  }
  error_of(ErrorKind::not_found, [] { read_file("/does/not/exist.png"); });
}

TEST(Jpeg, ReadsGreyColourAndCmyk) {
  const Image image = gradient(24, 16, 3);
  const Image read = decode(make_jpeg(24, 16, 3, image.pixels), "").image;
  // Chroma is stored at half resolution and the gradient wraps from 255 to 0, so the bound is
  // loose.
  EXPECT_LT(mean_difference(read, image), 30);
  EXPECT_EQ(decode(make_jpeg(24, 16, 3, image.pixels, {}, true), "").image.width, 24);

  const std::vector<std::uint8_t> grey(64, 100);
  const Image from_grey = decode(make_jpeg(8, 8, 1, grey), "").image;
  EXPECT_EQ(from_grey.channels, 3);
  for (const std::uint8_t value : from_grey.pixels) EXPECT_NEAR(value, 100, 2);

  std::vector<std::uint8_t> inks;
  for (int i = 0; i < 64; ++i) inks.insert(inks.end(), {255, 128, 0, 128});
  const Image from_inks = decode(make_jpeg(8, 8, 4, inks), "").image;
  ASSERT_EQ(from_inks.channels, 3);
  EXPECT_NEAR(from_inks.pixels[0], 128, 3);
  EXPECT_NEAR(from_inks.pixels[1], 64, 3);
  EXPECT_NEAR(from_inks.pixels[2], 0, 3);
}

TEST(Jpeg, SurvivesTruncationAndFlips) {
  const Image image = gradient(24, 16, 3);
  for (const bool progressive : {false, true}) {
    const Bytes bytes = make_jpeg(24, 16, 3, image.pixels, make_exif(1, "x", true), progressive);
    for (std::size_t size = 0; size + 2 < bytes.size(); ++size) {
      error_of(ErrorKind::bad_file, [&] { decode(std::span(bytes).first(size), "cut"); });
    }
    std::mt19937 random(2);
    for (int i = 0; i < 2000; ++i) {
      Bytes damaged = bytes;
      for (int j = 0; j < 3; ++j)
        damaged[random() % damaged.size()] = static_cast<std::byte>(random());
      try {
        decode(damaged, "damaged", {.max_side = 4096, .max_pixels = 1 << 20});
      } catch (const Error& error) {
        EXPECT_EQ(error.kind(), ErrorKind::bad_file);
      }
    }
  }
}

TEST(WebP, ReadsColourAlphaAndExif) {
  for (const int channels : {3, 4}) {
    Image image = gradient(20, 10, channels);
    if (channels == 4) {
      for (std::size_t i = 0; i < image.pixels.size(); i += 4)
        image.pixels[i + 3] |= 1;  // alpha 0 loses its colour
    }
    EXPECT_EQ(decode(make_webp(image), "").image, image);
    const std::string comment = std::string("ASCII\0\0\0", 8) + "Steps: 20";
    const Picture picture = decode(make_webp(image, make_exif(1, comment, false)), "");
    EXPECT_EQ(picture.image, image);
    EXPECT_EQ(picture.texts, (std::vector<TextChunk>{{"UserComment", "Steps: 20"}}));
  }
}

TEST(WebP, SurvivesTruncationAndFlips) {
  const Bytes bytes = make_webp(gradient(20, 10, 3), make_exif(1, "x", false));
  std::mt19937 random(3);
  for (int i = 0; i < 2000; ++i) {
    Bytes damaged = bytes;
    if (i % 2 == 0) damaged.resize(random() % bytes.size());
    for (int j = 0; j < 2 && !damaged.empty(); ++j)
      damaged[random() % damaged.size()] = static_cast<std::byte>(random());
    try {
      decode(damaged, "damaged", {.max_side = 4096, .max_pixels = 1 << 20});
    } catch (const Error& error) {
      EXPECT_TRUE(error.kind() == ErrorKind::bad_file || error.kind() == ErrorKind::unsupported)
          << error.what();
    }
  }
}

TEST(Exif, DecodesEveryUserCommentCharset) {
  const auto comment_of = [](std::string_view value, bool big_endian) {
    const std::string block = make_exif(1, value, big_endian);
    const Exif exif = parse_exif(std::as_bytes(std::span(block)));
    return exif.texts.empty() ? std::string("(none)") : exif.texts[0].value;
  };
  const std::string unicode("UNICODE\0", 8);
  const std::string big("\0a\0:\0 \x30\xc6", 8);
  const std::string little("a\0:\0 \0\xc6\x30", 8);
  for (const bool block_is_big : {false, true}) {
    EXPECT_EQ(comment_of(unicode + big, block_is_big), "a: テ");
    EXPECT_EQ(comment_of(unicode + little, block_is_big), "a: テ");
    EXPECT_EQ(comment_of(unicode + "\xfe\xff" + big, block_is_big), "a: テ");
    EXPECT_EQ(comment_of(unicode + "\xff\xfe" + little, block_is_big), "a: テ");
    EXPECT_EQ(comment_of(std::string("ASCII\0\0\0", 8) + "plain\0", block_is_big), "plain");
    EXPECT_EQ(comment_of(std::string(8, '\0') + "caf\xe9", block_is_big), "café");
  }
  EXPECT_EQ(comment_of(unicode + std::string("\x30\xc6", 2), true), "テ")
      << "no ASCII: the block's order counts";
}

TEST(Exif, SurvivesAnything) {
  std::mt19937 random(4);
  const std::string block = make_exif(6, std::string("UNICODE\0", 8) + "text", true);
  EXPECT_EQ(parse_exif(std::as_bytes(std::span(block))).orientation, 6);
  for (int i = 0; i < 20000; ++i) {
    std::string damaged = block.substr(0, random() % (block.size() + 1));
    for (int j = 0; j < 3 && !damaged.empty(); ++j)
      damaged[random() % damaged.size()] = static_cast<char>(random());
    parse_exif(std::as_bytes(std::span(damaged)));
  }
}

TEST(Exif, TurnsPicturesUpright) {
  // 1 2      each letter of the expectation is the upright picture, row by row (EXIF 2.3,
  // orientation tag) 3 4 5 6
  Image image = make_image(2, 3, 3);
  for (std::size_t i = 0; i < 6; ++i) image.pixels[3 * i] = static_cast<std::uint8_t>(i + 1);
  const auto rows = [&](int orientation) {
    const Image out = upright(image, orientation);
    std::string text;
    for (std::size_t i = 0; i < 6; ++i) {
      if (i > 0 && i % static_cast<std::size_t>(out.width) == 0) text += '/';
      text += static_cast<char>('0' + out.pixels[3 * i]);
    }
    return text;
  };
  const char* const expected[] = {"12/34/56", "21/43/65", "65/43/21", "56/34/12",
                                  "135/246",  "531/642",  "642/531",  "246/135"};
  for (int orientation = 1; orientation <= 8; ++orientation)
    EXPECT_EQ(rows(orientation), expected[orientation - 1]);
  const Image stored = gradient(16, 8, 3);
  EXPECT_EQ(decode(make_jpeg(16, 8, 3, stored.pixels, make_exif(6, "x", false)), "").image.width,
            8);
}

/// Pictures of other programs beside the repository, with what an independent reader took out of
/// them.
TEST(Codec, ReadsTheTextsOfOtherPrograms) {
  const char* source = std::getenv("VELATURA_SOURCE_DIR");
  const std::filesystem::path folder =
      std::filesystem::path(source != nullptr ? source : ".") / "../shared/data/pnginfo";
  std::ifstream list(folder / "metadata_extracted.json");
  if (!list) GTEST_SKIP() << "no pictures of other programs in " << folder;
  const nlohmann::json known = nlohmann::json::parse(list);
  int checked = 0;
  for (const auto& [name, entry] : known.items()) {
    const std::string stem = std::filesystem::path(name).filename();
    for (const std::string& file : {stem, "comfyui_" + stem}) {
      if (!std::filesystem::exists(folder / file)) continue;
      SCOPED_TRACE(file);
      const Picture picture = read_file(folder / file);
      if (entry.contains("size")) {
        EXPECT_EQ(picture.image.width, entry["size"][0].get<int>());
        EXPECT_EQ(picture.image.height, entry["size"][1].get<int>());
      }
      for (const char* kind : {"tEXt", "iTXt"}) {
        const nlohmann::json expected = entry.value(kind, nlohmann::json::object());
        for (const auto& [key, value] : expected.items()) {
          const std::string* found = find_text(picture.texts, key);
          ASSERT_NE(found, nullptr) << key;
          EXPECT_EQ(*found, value.get<std::string>());
        }
      }
      if (entry.contains("UserComment")) {
        const std::string* found = find_parameters(picture.texts);
        ASSERT_NE(found, nullptr);
        EXPECT_EQ(*found, entry["UserComment"]["text"].get<std::string>());
      }
      ++checked;
    }
  }
  EXPECT_GT(checked, 0);
}

}  // namespace
}  // namespace velatura::image

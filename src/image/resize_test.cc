#include "image/resize.h"

#include <gtest/gtest.h>
#include <zlib.h>

#include <cmath>
#include <limits>
#include <vector>

#include "image/formats.h"
#include "image/pixels.h"
#include "image/sample_pictures.h"

namespace velatura::image {
namespace {

using testing::gradient;

TEST(Resize, EqualsPillow) {
  // CRC-32 of Image.resize((w, h), Image.LANCZOS).tobytes() of the same gradient; Pillow 13.0.0.
  struct Case {
    int width, height, to_width, to_height;
    unsigned long crc;
  };
  constexpr Case kCases[] = {{19, 13, 7, 5, 0x755f4c24},
                             {5, 4, 16, 9, 0xc172a9c2},
                             {40, 40, 13, 40, 0x92ed9883},
                             {9, 30, 9, 11, 0x07b0c037},
                             {64, 48, 64, 48, 0xbc3047c0}};
  for (const Case& c : kCases) {
    const Image image = resize(gradient(c.width, c.height, 3), c.to_width, c.to_height);
    EXPECT_EQ(crc32(0, image.pixels.data(), static_cast<uInt>(image.pixels.size())), c.crc)
        << c.width << "x" << c.height << " to " << c.to_width << "x" << c.to_height;
  }
}

TEST(Cover, CutsTheLongSideEvenly) {
  // A wide picture whose middle third is white: covering a square keeps the middle.
  Image wide = make_image(90, 30, 3);
  for (std::size_t i = 0; i < wide.pixels.size(); ++i)
    wide.pixels[i] = (i / 3) % 90 / 30 == 1 ? 255 : 0;
  const Image square = cover(wide, 30, 30);
  EXPECT_EQ(square.pixels, std::vector<std::uint8_t>(square.pixels.size(), 255));

  for (const auto& [width, height] :
       {std::pair(7, 50), std::pair(50, 7), std::pair(1, 1), std::pair(64, 64)}) {
    const Image image = cover(gradient(33, 21, 3), width, height);
    EXPECT_EQ(image.width, width);
    EXPECT_EQ(image.height, height);
  }
  const Image same = gradient(16, 8, 3);
  EXPECT_EQ(cover(same, 16, 8), same);
}

TEST(ToRgb, LaysTransparencyOnWhite) {
  Image image = make_image(3, 1, 4);
  image.pixels = {10, 20, 30, 255, 10, 20, 30, 0, 0, 100, 200, 128};
  EXPECT_EQ(to_rgb(image).pixels,
            (std::vector<std::uint8_t>{10, 20, 30, 255, 255, 255, 127, 177, 227}));
}

TEST(Pixels, RoundTripEveryByteExactly) {
  Image image = make_image(256, 1, 3);
  for (std::size_t i = 0; i < image.pixels.size(); ++i)
    image.pixels[i] = static_cast<std::uint8_t>(i / 3 + 85 * (i % 3));
  std::vector<float> planes(image.pixels.size());
  to_signed_planes(image, planes);
  EXPECT_EQ(planes[0], -1.0f);
  EXPECT_EQ(planes[255], 1.0f);
  EXPECT_EQ(planes[256], 2.0f * (85.0f / 255.0f) - 1.0f) << "the second plane is green";
  EXPECT_EQ(from_signed_planes(planes, 256, 1), image);
  to_unit_planes(image, planes);
  EXPECT_EQ(from_unit_planes(planes, 256, 1), image);
}

TEST(Pixels, ClampRoundAndNan) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const std::vector<float> planes = {-5.0f, 0.5f / 255.0f, 1.5f / 255.0f, 2.0f, nan, 0.5f};
  // 0.5 and 1.5 go to the even neighbours 0 and 2; 127.5 to 128
  EXPECT_EQ(from_unit_planes(planes, 2, 1).pixels,
            (std::vector<std::uint8_t>{0, 2, 0, 0, 255, 128}));
}

}  // namespace
}  // namespace velatura::image

#include "engine/region_mask.h"

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>

#include "image/codec.h"
#include "velatura/error.h"

namespace velatura::engine {
namespace {

namespace fs = std::filesystem;

class RegionMask : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::temp_directory_path() /
              ("velatura-mask-" +
               std::string(::testing::UnitTest::GetInstance()->current_test_info()->name()));
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }

  fs::path write(const Image& image) {
    const std::vector<std::byte> bytes = image::encode_png(image);
    const fs::path path = folder_ / "mask.png";
    std::ofstream(path, std::ios::binary)
        .write(reinterpret_cast<const char*>(bytes.data()),
               static_cast<std::streamsize>(bytes.size()));
    return path;
  }

  /// Left half black, right half white.
  fs::path halves(int width, int height) {
    Image image{.width = width, .height = height, .channels = 3, .pixels = {}};
    for (int i = 0; i < width * height; ++i)
      image.pixels.insert(image.pixels.end(), 3, i % width < width / 2 ? 0 : 255);
    return write(image);
  }

  fs::path folder_;
};

TEST_F(RegionMask, BrightnessOfAnOpaquePicture) {
  const Tensor region = read_region(halves(8, 4), 8, 4, 0);
  EXPECT_EQ(region.shape(), (Shape{4, 8}));
  for (int i = 0; i < 32; ++i) EXPECT_EQ(region.data<float>()[i], i % 8 < 4 ? 0.0f : 1.0f) << i;
}

TEST_F(RegionMask, TransparencyWhereThereIsAny) {
  Image image{.width = 2, .height = 1, .channels = 4, .pixels = {255, 255, 255, 0, 0, 0, 0, 255}};
  const Tensor region = read_region(write(image), 2, 1, 0);
  EXPECT_EQ(region.data<float>()[0], 0.0f);
  EXPECT_EQ(region.data<float>()[1], 1.0f);
}

TEST_F(RegionMask, StretchedOverThePicture) {
  const Tensor region = read_region(halves(16, 16), 64, 32, 0);
  EXPECT_EQ(region.shape(), (Shape{32, 64}));
  EXPECT_EQ(region.data<float>()[0], 0.0f);
  EXPECT_EQ(region.data<float>()[63], 1.0f);
}

TEST_F(RegionMask, FeatheredByAGaussian) {
  const Tensor region = read_region(halves(64, 8), 64, 8, 4);
  const float* row = region.data<float>();
  // Between two halves the Gaussian's integral: Φ(x / 4), pixels' middles half a pixel off.
  for (int x = 0; x < 64; ++x) {
    const double expected = 0.5 * (1 + std::erf((x - 31.5) / 4 / std::sqrt(2.0)));
    EXPECT_NEAR(row[x], expected, 2e-3) << x;
  }
  EXPECT_NEAR(row[0], 0, 1e-6);
  EXPECT_NEAR(row[63], 1, 1e-6);
}

TEST_F(RegionMask, AllWhiteIsOneToTheBitWhateverTheFeather) {
  Image white{.width = 8, .height = 8, .channels = 3, .pixels = {}};
  white.pixels.assign(8 * 8 * 3, 255);
  for (const double feather : {0.0, 2.5, 8.0}) {
    const Tensor region = read_region(write(white), 24, 16, feather);
    for (const float value : region.floats()) ASSERT_EQ(value, 1.0f) << feather;
  }
}

TEST_F(RegionMask, RefusesWhatIsNoMask) {
  EXPECT_THROW(read_region(folder_ / "none.png", 8, 8, 0), Error);
  EXPECT_THROW(read_region(halves(8, 8), 8, 8, -1), Error);
  EXPECT_THROW(read_region(halves(8, 8), 8, 8, 9), Error);
  std::ofstream(folder_ / "text.png") << "no picture";
  EXPECT_THROW(read_region(folder_ / "text.png", 8, 8, 0), Error);
}

}  // namespace
}  // namespace velatura::engine

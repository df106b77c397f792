// Writes the seed corpora of all formats below the folder given: small honest files, made from code
// so that the repository holds no binaries for them.
#include <webp/encode.h>

#include <cstdio>  // before jpeglib.h, which needs it
#include <cstdlib>
#include <filesystem>
#include <fstream>

// After <cstdio>.
#include <jpeglib.h>

#include "image/codec.h"
#include "tests/support/torch_file.h"
#include "weights/formats/writer.h"

namespace {

namespace fs = std::filesystem;
using velatura::Tensor;
using velatura::testing::PickleText;

void write(const fs::path& file, const std::string& bytes) {
  fs::create_directories(file.parent_path());
  std::ofstream(file, std::ios::binary) << bytes;
}

std::string checkpoint_pickle() {
  const PickleText::View matrix{.count = 6, .shape = {2, 3}, .strides = {3, 1}};
  const PickleText::View transposed{.count = 6, .shape = {3, 2}, .strides = {1, 3}};
  PickleText pickle;
  pickle.proto().dict().mark().text("epoch").integer(3).text("state_dict").dict().mark();
  pickle.text("w").tensor(matrix).text("list").raw("](").tensor(transposed).tensor(matrix).raw("e");
  return pickle.set_items().set_items().stop().bytes();
}

constexpr int kSide = 9;

void write_pictures(const fs::path& folder) {
  using velatura::image::TextChunk;
  std::vector<std::uint8_t> pixels(kSide * kSide * 4);
  for (std::size_t i = 0; i < pixels.size(); ++i) pixels[i] = static_cast<std::uint8_t>(37 * i);

  const TextChunk texts[] = {
      {"parameters", "a cat\nNegative prompt: dog\nSteps: 20, Sampler: Euler a, Seed: 7"},
      {"note", "\u00e9 \u4e2d"}};
  for (const int channels : {3, 4}) {
    const auto count = static_cast<std::ptrdiff_t>(kSide * kSide * channels);
    const auto png = velatura::image::encode_png(
        {kSide, kSide, channels, {pixels.begin(), pixels.begin() + count}}, texts);
    write(folder / ("png" + std::to_string(channels)),
          std::string(reinterpret_cast<const char*>(png.data()), png.size()));
  }

  std::uint8_t* bytes = nullptr;
  const std::size_t size = WebPEncodeLosslessRGBA(pixels.data(), kSide, kSide, 4 * kSide, &bytes);
  write(folder / "webp", std::string(reinterpret_cast<const char*>(bytes), size));
  WebPFree(bytes);

  jpeg_compress_struct state{};
  jpeg_error_mgr errors{};
  state.err = jpeg_std_error(&errors);
  jpeg_create_compress(&state);
  std::uint8_t* file = nullptr;
  unsigned long length = 0;
  jpeg_mem_dest(&state, &file, &length);
  state.image_width = state.image_height = kSide;
  state.input_components = 3;
  state.in_color_space = JCS_RGB;
  jpeg_set_defaults(&state);
  jpeg_start_compress(&state, TRUE);
  for (int y = 0; y < kSide; ++y) {
    JSAMPROW row = pixels.data() + 3 * kSide * y;
    jpeg_write_scanlines(&state, &row, 1);
  }
  jpeg_finish_compress(&state);
  jpeg_destroy_compress(&state);
  write(folder / "jpeg", std::string(reinterpret_cast<const char*>(file), length));
  std::free(file);
}

}  // namespace

int main(int count, char** arguments) {
  if (count != 2) return 2;
  const fs::path folder = arguments[1];
  const std::string pickle = checkpoint_pickle(), storage(24, '\x01');
  for (const bool deflate : {false, true}) {
    write(folder / "torch_zip" / (deflate ? "deflated" : "stored"),
          velatura::testing::zip({{"archive/data.pkl", pickle, deflate},
                                  {"archive/byteorder", "little"},
                                  {"archive/data/0", storage, deflate}}));
  }
  write(folder / "torch_legacy/one",
        velatura::testing::legacy(pickle, {{"0", storage}}, sizeof(float)));
  const velatura::weights::NamedTensor tensors[] = {
      {"a", Tensor::zeros({2, 3}, velatura::DType::f32)},
      {"b", Tensor::zeros({}, velatura::DType::f16)}};
  fs::create_directories(folder / "safetensors");
  velatura::weights::write_safetensors(folder / "safetensors/two", tensors, {{"format", "pt"}});
  write_pictures(folder / "image");
  return 0;
}

// Writes the seed corpora of all formats below the folder given: small honest files, made from code
// so that the repository holds no binaries for them.
#include <webp/encode.h>

#include <cstdio>  // before jpeglib.h, which needs it
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>

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

/// A kohya pair behind the byte that says "a file"; and lists of modules (adapter_fuzz.cc) of every
/// family: pairs of several suffixes on modules all over the model.
void write_adapters(const fs::path& folder) {
  const velatura::weights::NamedTensor pair[] = {
      {"lora_unet_down_blocks_0_attentions_0_proj_in.lora_down.weight",
       Tensor::zeros({2, 5, 1, 1}, velatura::DType::f32)},
      {"lora_unet_down_blocks_0_attentions_0_proj_in.lora_up.weight",
       Tensor::zeros({5, 2, 1, 1}, velatura::DType::f32)}};
  fs::create_directories(folder);
  const fs::path plain = folder / "plain";
  velatura::weights::write_safetensors(plain, pair, {{"ss_network_dim", "2"}});
  std::ifstream file(plain, std::ios::binary);
  const std::string bytes((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  fs::remove(plain);
  write(folder / "file", '\x80' + bytes);
  for (char family = 0; family < 4; ++family) {
    for (int kind = 0; kind < 16; ++kind) {
      std::string list(1, family);
      for (int module = 0; module < 6; ++module) {
        const auto at = static_cast<char>(1 + (module * 41 + kind * 7) % 250);
        // suffix, type, rank, any, shape: a down and an up of rank 3, then an alpha.
        list += std::string({at, static_cast<char>(kind), 0, 0, 3, 2, 3});
        list += std::string({0, 1, 0, 3, 2, 4});
        list += std::string({0, 18, 0, 0, 0, 0});
        list +=
            std::string({0, static_cast<char>(24 + 2 * kind), 0, 2, 4, static_cast<char>(kind)});
      }
      write(folder / (std::to_string(family) + "-" + std::to_string(kind)), list);
    }
  }
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
  write_adapters(folder / "adapter");
  return 0;
}

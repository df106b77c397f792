// Writes the seed corpora of all formats below the folder given, one folder each, and <name>.dict
// beside them: small honest files, made from code so that the repository holds no binaries for
// them.
#include <webp/encode.h>

#include <cstdio>  // before jpeglib.h, which needs it
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <utility>

// After <cstdio>.
#include <jpeglib.h>

#include <fmt/format.h>

#include "image/codec.h"
#include "tests/fuzz/adapter_grammar.h"
#include "tests/fuzz/small_families.h"
#include "tests/support/torch_file.h"
#include "weights/formats/writer.h"

namespace {

namespace fs = std::filesystem;
namespace fuzz = velatura::fuzz;
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

/// Every algorithm in every dialect: on two modules of the families in turn, applied and converted.
/// One file of every dialect on every family, as a header and its data.
class AdapterSeeds {
 public:
  explicit AdapterSeeds(fs::path folder) : folder_(std::move(folder)) {}

  void write_all() {
    const auto& families = fuzz::small_families();
    const std::size_t dialects = families.front().spellings.size();
    for (std::size_t family = 0; family < families.size(); ++family) {
      for (std::size_t dialect = 0; dialect < dialects; ++dialect)
        write_file(family, dialect, families[family]);
    }
    std::size_t number = 0;
    for (std::size_t dialect = 0; dialect < dialects; ++dialect) {
      for (const std::vector<fuzz::Part>& parts : fuzz::algorithms_parts()) {
        std::size_t family = number++ % families.size();
        while (families[family].spellings[dialect].empty()) family = (family + 1) % families.size();
        write_list(family, dialect, parts, number);
      }
    }
    write_dictionary(families);
  }

 private:
  static char byte(std::size_t value) { return static_cast<char>(value & 0xff); }

  void write_list(std::size_t family, std::size_t dialect, const std::vector<fuzz::Part>& parts,
                  std::size_t number) const {
    std::string list = {byte(family), byte(dialect),
                        byte((number % 4) | fuzz::kIsApplied | (number / 4 % 8 * 8))};
    for (std::size_t module = 0; module < 2; ++module) {
      bool is_first = true;
      for (const fuzz::Part& part : parts) {
        const auto suffix = std::ranges::find(fuzz::kSuffixes, part.suffix);
        if (std::exchange(is_first, false))
          list += {byte(1 + number * 7 % 250), byte(module * 97 + number)};
        else
          list += '\0';
        list += {byte(static_cast<std::size_t>(suffix - std::begin(fuzz::kSuffixes))),
                 byte(number % 3), 2, 2, byte(static_cast<std::size_t>(part.shape))};
      }
    }
    write(folder_ / fmt::format("list-{}-{}", dialect, number), list);
  }

  void write_file(std::size_t family, std::size_t dialect, const fuzz::SmallFamily& names) const {
    const std::vector<std::string>& spellings = names.spellings[dialect];
    if (spellings.empty()) return;
    const std::string& spelling = spellings[spellings.size() / 2];
    const auto* entry = names.names->index->find(spelling);
    const velatura::Shape weight = entry == nullptr || entry->placement->weight.rank() < 2
                                       ? velatura::Shape{5, 3}
                                       : entry->placement->weight;
    const std::string module = spelling.substr(0, spelling.find(" of "));
    const bool is_list = module.size() < spelling.size();
    const Tensor down = Tensor::zeros(fuzz::shape_of(fuzz::ShapeKind::down, weight, 2, 2),
                                      velatura::DType::f32),
                 up = Tensor::zeros(fuzz::shape_of(fuzz::ShapeKind::up, weight, 2, 2),
                                    velatura::DType::f32);
    const velatura::weights::NamedTensor pair[] = {
        {module + (is_list ? ":down" : ".lora_down.weight"), down},
        {module + (is_list ? ":up" : ".lora_up.weight"), up}};
    fs::create_directories(folder_);
    const fs::path plain = folder_ / "plain";
    velatura::weights::write_safetensors(plain, pair, {{"ss_network_dim", "2"}});
    std::ifstream stream(plain, std::ios::binary);
    const std::string bytes((std::istreambuf_iterator<char>(stream)),
                            std::istreambuf_iterator<char>());
    fs::remove(plain);
    constexpr std::size_t kLength = 8;  // of the header: the fuzzer writes it
    write(folder_ / fmt::format("file-{}-{}", family, dialect),
          std::string({byte(family | fuzz::kIsFile), byte(dialect), byte(fuzz::kIsApplied)}) +
              bytes.substr(kLength));
  }

  /// What headers are made of, beside the corpus (libFuzzer's -dict).
  void write_dictionary(const std::vector<fuzz::SmallFamily>& families) const {
    std::string words = "\"[1]\"\n\"[]\"\n\"data_offsets\"\n\"__metadata__\"\n";
    for (const std::string_view suffix : fuzz::kSuffixes) {
      if (!suffix.empty()) words += fmt::format("\"{}\"\n", suffix);
    }
    for (const fuzz::SmallFamily& family : families) {
      for (const std::vector<std::string>& dialect : family.spellings) {
        if (!dialect.empty()) words += fmt::format("\"{}\"\n", dialect[dialect.size() / 3]);
      }
    }
    write(folder_.string() + ".dict", words);
  }

  fs::path folder_;
};

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
  AdapterSeeds(folder / "adapter").write_all();
  return 0;
}

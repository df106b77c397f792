// Writes the seed corpora of the weight formats below the folder given: small honest files, made
// from code so that the repository holds no binaries for them.
#include <filesystem>
#include <fstream>

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
  return 0;
}

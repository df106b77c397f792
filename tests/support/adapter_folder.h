// A folder of adapter files made for a test: real headers, tensors of holes.
#pragma once

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "tests/support/test_folder.h"
#include "weights/formats/writer.h"

namespace velatura::testing {

class AdapterFolder : public TestFolder {
 public:
  using Metadata = std::map<std::string, std::string>;

  /// A text file, its folders too.
  std::filesystem::path text(std::string_view name, std::string_view content) const {
    const std::filesystem::path file = prepared(name);
    std::ofstream(file, std::ios::binary) << content;
    return file;
  }

  /// A pipe that nobody writes into: opening it as a file waits for ever.
  std::filesystem::path pipe(std::string_view name) const {
    const std::filesystem::path file = prepared(name);
    EXPECT_EQ(::mkfifo(file.c_str(), S_IRUSR | S_IWUSR), 0) << file;
    return file;
  }

  /// Tensors of one element type under any names.
  std::filesystem::path tensors(std::string_view name, std::vector<weights::TensorInfo> infos,
                                const Metadata& metadata = {}) const {
    const std::filesystem::path file = prepared(name);
    const std::vector<std::byte> header = weights::safetensors_header(infos, metadata);
    std::uint64_t bytes = header.size();
    for (const weights::TensorInfo& info : infos)
      bytes += static_cast<std::uint64_t>(info.shape.count()) * size_of(info.dtype);
    {
      std::ofstream stream(file, std::ios::binary | std::ios::trunc);
      stream.write(reinterpret_cast<const char*>(header.data()),
                   static_cast<std::streamsize>(header.size()));
    }
    std::filesystem::resize_file(file, bytes);
    return file;
  }

  /// A kohya LoRA of SD1.5 on the first cross-attention: the text width decides the family.
  std::filesystem::path lora(std::string_view name, const Metadata& metadata = {},
                             std::int64_t rank = 8, std::int64_t text_width = 768) const {
    const std::string block = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_";
    std::vector<weights::TensorInfo> infos;
    for (const char* layer : {"attn2_to_k", "attn2_to_v"}) {
      infos.push_back({block + layer + ".alpha", Shape{}, DType::f16});
      infos.push_back({block + layer + ".lora_down.weight", Shape{rank, text_width}, DType::f16});
      infos.push_back({block + layer + ".lora_up.weight", Shape{320, rank}, DType::f16});
    }
    return tensors(name, std::move(infos), metadata);
  }

 private:
  std::filesystem::path prepared(std::string_view name) const {
    const std::filesystem::path file = path() / name;
    std::filesystem::create_directories(file.parent_path());
    return file;
  }
};

}  // namespace velatura::testing

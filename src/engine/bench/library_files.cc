#include "engine/bench/library_files.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>
#include <random>

#include "base/error.h"
#include "weights/formats/writer.h"

namespace velatura::engine::bench {

namespace {

constexpr std::size_t kPrefixBytes = 8;

using AddModule = std::function<void(const std::string& name, std::int64_t in, std::int64_t out)>;

/// Attention and feed-forward of one transformer block of a UNet.
void add_unet_block(const std::string& block, std::int64_t width, std::int64_t text,
                    const AddModule& add) {
  for (const auto& [attention, context] : {std::pair("attn1", width), std::pair("attn2", text)}) {
    add(fmt::format("{}_{}_to_q", block, attention), width, width);
    for (const char* part : {"to_k", "to_v"})
      add(fmt::format("{}_{}_{}", block, attention, part), context, width);
    add(fmt::format("{}_{}_to_out_0", block, attention), width, width);
  }
  add(block + "_ff_net_0_proj", width, 8 * width);
  add(block + "_ff_net_2", 4 * width, width);
}

void add_text_encoder(const std::string& prefix, int layers, std::int64_t width,
                      const AddModule& add) {
  for (int layer = 0; layer < layers; ++layer) {
    const std::string path = fmt::format("{}_text_model_encoder_layers_{}_", prefix, layer);
    for (const char* part : {"q_proj", "k_proj", "v_proj", "out_proj"})
      add(path + "self_attn_" + part, width, width);
    add(path + "mlp_fc1", width, 4 * width);
    add(path + "mlp_fc2", 4 * width, width);
  }
}

void add_transformer(const std::string& path, int blocks, std::int64_t width, std::int64_t text,
                     const AddModule& add) {
  add(path + "_proj_in", width, width);
  add(path + "_proj_out", width, width);
  for (int block = 0; block < blocks; ++block)
    add_unet_block(fmt::format("{}_transformer_blocks_{}", path, block), width, text, add);
}

void sd15(const AddModule& add) {
  constexpr std::array<std::int64_t, 3> kWidths = {320, 640, 1280};
  for (int level = 0; level < 3; ++level) {
    const std::int64_t width = kWidths[static_cast<std::size_t>(level)];
    for (int at = 0; at < 2; ++at)
      add_transformer(fmt::format("lora_unet_down_blocks_{}_attentions_{}", level, at), 1, width,
                      768, add);
    for (int at = 0; at < 3; ++at)
      add_transformer(fmt::format("lora_unet_up_blocks_{}_attentions_{}", 3 - level, at), 1, width,
                      768, add);
  }
  add_transformer("lora_unet_mid_block_attentions_0", 1, 1280, 768, add);
  add_text_encoder("lora_te", 12, 768, add);
}

void sdxl(const AddModule& add) {
  struct Row {
    const char* path;
    int blocks;
    std::int64_t width;
  };
  constexpr std::array<Row, 11> kRows = {{{"input_blocks_4_1", 2, 640},
                                          {"input_blocks_5_1", 2, 640},
                                          {"input_blocks_7_1", 10, 1280},
                                          {"input_blocks_8_1", 10, 1280},
                                          {"middle_block_1", 10, 1280},
                                          {"output_blocks_0_1", 10, 1280},
                                          {"output_blocks_1_1", 10, 1280},
                                          {"output_blocks_2_1", 10, 1280},
                                          {"output_blocks_3_1", 2, 640},
                                          {"output_blocks_4_1", 2, 640},
                                          {"output_blocks_5_1", 2, 640}}};
  for (const Row& row : kRows)
    add_transformer(std::string("lora_unet_") + row.path, row.blocks, row.width, 2048, add);
  add_text_encoder("lora_te1", 12, 768, add);
  add_text_encoder("lora_te2", 32, 1280, add);
}

void flux(const AddModule& add) {
  constexpr std::int64_t kWidth = 3072;
  for (int block = 0; block < 19; ++block) {
    for (const char* side : {"img", "txt"}) {
      const std::string path = fmt::format("lora_unet_double_blocks_{}_{}_", block, side);
      add(path + "attn_qkv", kWidth, 3 * kWidth);
      add(path + "attn_proj", kWidth, kWidth);
      add(path + "mlp_0", kWidth, 4 * kWidth);
      add(path + "mlp_2", 4 * kWidth, kWidth);
      add(path + "mod_lin", kWidth, 6 * kWidth);
    }
  }
  for (int block = 0; block < 38; ++block) {
    const std::string path = fmt::format("lora_unet_single_blocks_{}_", block);
    add(path + "linear1", kWidth, 7 * kWidth);
    add(path + "linear2", 5 * kWidth, kWidth);
    add(path + "modulation_lin", kWidth, 3 * kWidth);
  }
}

void z_image(const AddModule& add) {
  constexpr std::int64_t kWidth = 3840, kInner = 10240;
  for (int layer = 0; layer < 30; ++layer) {
    const std::string path = fmt::format("diffusion_model.layers.{}.", layer);
    for (const char* part : {"to_q", "to_k", "to_v", "to_out.0"})
      add(path + "attention." + part, kWidth, kWidth);
    add(path + "feed_forward.w1", kWidth, kInner);
    add(path + "feed_forward.w2", kInner, kWidth);
    add(path + "feed_forward.w3", kWidth, kInner);
  }
}

struct Kind {
  void (*modules)(const AddModule& add);
  bool kohya;  ///< lora_down, lora_up, alpha; else lora_A, lora_B
  std::int64_t rank;
  const char* base;
  int share;  ///< files of ten
};
constexpr std::array<Kind, 4> kKinds = {{{sd15, true, 32, "sd_v1", 4},
                                         {sdxl, true, 32, "sdxl_base_v1-0", 3},
                                         {flux, true, 16, "flux1", 2},
                                         {z_image, false, 16, "zimage", 1}}};

std::size_t kind_of(int number) {
  int at = number % 10;
  for (std::size_t kind = 0; kind < kKinds.size(); ++kind) {
    if (at < kKinds[kind].share) return kind;
    at -= kKinds[kind].share;
  }
  return 0;
}

/// What a trainer and an editor leave in a header: a tag table, a preview in every fourth file.
nlohmann::ordered_json metadata_of(const Kind& kind, int number) {
  std::mt19937 random(static_cast<unsigned>(number));
  const unsigned count = 40 + random() % 300;
  std::string table = "{\"10_style\": {";
  for (unsigned i = 0; i < count; ++i)
    table += fmt::format("{}\"caption tag {} of {}\": {}", i == 0 ? "" : ", ", i, random() % 5000,
                         1 + random() % 60);
  table += "}}";
  nlohmann::ordered_json json = {
      {"ss_output_name", fmt::format("collected_{}", number)},
      {"ss_base_model_version", kind.base},
      {"ss_network_module", "networks.lora"},
      {"ss_network_dim", fmt::format("{}", kind.rank)},
      {"ss_network_alpha", fmt::format("{}", kind.rank / 2)},
      {"ss_network_args", "{\"conv_dim\": \"8\", \"algo\": \"lora\"}"},
      {"ss_tag_frequency", table},
      {"ss_dataset_dirs", "{\"10_style\": {\"n_repeats\": 10, \"img_count\": 60}}"},
      {"ss_training_comment", "None"},
      {"ss_learning_rate", "0.0001"},
      {"ss_num_epochs", "12"},
      {"ss_resolution", "(768, 768)"},
      {"sshs_model_hash", fmt::format("{:016x}{:048x}", random(), number)},
      {"modelspec.title", fmt::format("Style number {}", number)},
      {"modelspec.architecture", "stable-diffusion-v1/lora"}};
  if (number % 4 == 0) {
    json["modelspec.thumbnail"] = "data:image/jpeg;base64,/9j/" + std::string(20'000, 'A');
    json["modelspec.trigger_phrase"] = fmt::format("style{}, drawing", number);
  }
  return json;
}

}  // namespace

/// The entries of a header without the braces, and the bytes of its tensors.
struct AdapterFiles::Layout {
  std::string entries;
  std::uint64_t tensor_bytes = 0;
};

AdapterFiles::AdapterFiles() {
  auto layouts = std::make_unique<Layout[]>(kKinds.size());
  for (std::size_t i = 0; i < kKinds.size(); ++i) {
    const Kind& kind = kKinds[i];
    std::vector<weights::TensorInfo> infos;
    kind.modules([&](const std::string& name, std::int64_t in, std::int64_t out) {
      const DType type = kind.kohya ? DType::f16 : DType::bf16;
      if (kind.kohya) infos.push_back({name + ".alpha", Shape{}, type});
      infos.push_back({name + (kind.kohya ? ".lora_down.weight" : ".lora_A.weight"),
                       Shape{kind.rank, in}, type});
      infos.push_back({name + (kind.kohya ? ".lora_up.weight" : ".lora_B.weight"),
                       Shape{out, kind.rank}, type});
    });
    // As the reference writer lays them out.
    std::ranges::sort(infos, {}, &weights::TensorInfo::name);
    const std::vector<std::byte> header = weights::safetensors_header(infos, {});
    std::string text(reinterpret_cast<const char*>(header.data()) + kPrefixBytes,
                     header.size() - kPrefixBytes);
    text.erase(text.rfind('}'));
    layouts[i].entries = text.substr(1);
    for (const weights::TensorInfo& info : infos)
      layouts[i].tensor_bytes +=
          static_cast<std::uint64_t>(info.shape.count()) * size_of(info.dtype);
  }
  layouts_ = std::move(layouts);
}

AdapterFiles::~AdapterFiles() = default;

std::uint64_t AdapterFiles::write(const std::filesystem::path& path, int number) const {
  const std::size_t kind = kind_of(number);
  const Layout& layout = layouts_[kind];
  std::string text = fmt::format("{{\"__metadata__\":{},{}}}",
                                 metadata_of(kKinds[kind], number).dump(), layout.entries);
  text.append((kPrefixBytes - text.size() % kPrefixBytes) % kPrefixBytes, ' ');
  std::string prefix(kPrefixBytes, '\0');
  for (std::size_t i = 0; i < kPrefixBytes; ++i)
    prefix[i] = static_cast<char>(text.size() >> (8 * i) & 0xff);
  {
    std::ofstream stream(path, std::ios::binary);
    stream << prefix << text;
    if (!stream.flush()) fail(ErrorKind::io, "cannot write \"{}\"", path.string());
  }
  std::filesystem::resize_file(path, kPrefixBytes + text.size() + layout.tensor_bytes);
  return kPrefixBytes + text.size();
}

}  // namespace velatura::engine::bench

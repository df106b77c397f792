#include "engine/bench/synthetic.h"

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/half.h"
#include "lora/dialects/dialect.h"
#include "models/manifest.h"

namespace velatura::engine::bench {

namespace {

/// splitmix64 (Steele, Lea, Flood 2014): a stream per tensor name, cheap enough for a billion
/// values.
class Stream {
 public:
  explicit Stream(std::string_view name, unsigned seed = 0)
      : state_(std::hash<std::string_view>{}(name) + seed) {}
  /// Uniform in [-1, 1).
  float next() {
    state_ += 0x9e3779b97f4a7c15u;
    std::uint64_t z = state_;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return static_cast<float>(static_cast<std::int64_t>(z ^ (z >> 31)) >> 40) * 0x1p-23f;
  }

 private:
  std::uint64_t state_;
};

Tensor make(const weights::TensorInfo& info, unsigned seed = 0) {
  Tensor tensor = Tensor::allocate(info.shape, DType::f16);
  std::uint16_t* values = tensor.mutable_data<std::uint16_t>();
  if (info.shape.rank() == 1) {
    const bool gain = info.name.ends_with("weight");
    std::fill_n(values, tensor.count(), float_to_f16(gain ? 1.0f : 0.0f));
    return tensor;
  }
  // Uniform on [-a, a) has variance a²/3: with a = √(3 / fan-in) a layer keeps its input's size.
  const auto fan_in =
      static_cast<float>(info.shape.count() / std::max<std::int64_t>(info.shape[0], 1));
  const float reach = std::sqrt(3.0f / fan_in);
  Stream stream(info.name, seed);
  for (std::int64_t i = 0; i < tensor.count(); ++i) values[i] = float_to_f16(reach * stream.next());
  return tensor;
}

using Tensors = std::vector<weights::TensorInfo>;

/// Streams a safetensors file, one tensor in memory at a time.
void write_file(const std::filesystem::path& path, const Tensors& tensors,
                const std::function<Tensor(const weights::TensorInfo&)>& values) {
  nlohmann::ordered_json header;
  std::size_t offset = 0;
  for (const weights::TensorInfo& info : tensors) {
    const std::size_t end =
        offset + static_cast<std::size_t>(info.shape.count()) * size_of(DType::f16);
    const auto extents = info.shape.extents();
    header[info.name] = {{"dtype", "F16"},
                         {"shape", std::vector<std::int64_t>(extents.begin(), extents.end())},
                         {"data_offsets", {offset, end}}};
    offset = end;
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');
  const std::uint64_t length = text.size();
  std::ofstream file(path, std::ios::binary);
  file.write(reinterpret_cast<const char*>(&length), sizeof length);
  file.write(text.data(), static_cast<std::streamsize>(text.size()));
  for (const weights::TensorInfo& info : tensors) {
    const Tensor tensor = values(info);
    file.write(reinterpret_cast<const char*>(tensor.bytes()),
               static_cast<std::streamsize>(tensor.byte_size()));
  }
  file.close();
  if (!file) fail(ErrorKind::io, "cannot write \"{}\": is the disk full?", path.string());
}

}  // namespace

Tensor SyntheticSource::load(std::string_view name) const {
  const weights::TensorInfo* info = find(name);
  if (info == nullptr) fail(ErrorKind::not_found, "synthetic weights have no tensor \"{}\"", name);
  return make(*info);
}

void write_sd15_checkpoint(const std::filesystem::path& path) {
  Tensors tensors = models::manifest("sd15.unet.native");
  for (const weights::TensorInfo& info : models::manifest("kl4.vae.native"))
    tensors.push_back(info);
  for (weights::TensorInfo info : models::manifest("clip_l")) {
    info.name = "cond_stage_model.transformer." + info.name;
    tensors.push_back(std::move(info));
  }
  write_file(path, tensors, [](const weights::TensorInfo& info) { return make(info); });
}

namespace {

std::string kohya_name(const lora::ModuleShape& module) {
  return "lora_unet_" + lora::flatten(module.path);
}

bool is_product(const lora::ModuleShape& module) {
  return module.kind == nn::LayerKind::linear || module.kind == nn::LayerKind::conv2d;
}

void add_pair(const lora::ModuleShape& module, std::int64_t rank, Tensors& tensors) {
  const Shape& weight = module.weight;
  const bool is_conv = weight.rank() == 4;
  tensors.push_back(
      {kohya_name(module) + ".lora_down.weight",
       is_conv ? Shape{rank, weight[1], weight[2], weight[3]} : Shape{rank, weight[1]},
       DType::f16});
  tensors.push_back({kohya_name(module) + ".lora_up.weight",
                     is_conv ? Shape{weight[0], rank, 1, 1} : Shape{weight[0], rank}, DType::f16});
}

void write_pairs(const std::filesystem::path& path, const Tensors& tensors, unsigned seed) {
  write_file(path, tensors, [seed](const weights::TensorInfo& info) { return make(info, seed); });
}

/// The divisors of `extent` nearest to its root, the smaller first.
std::pair<std::int64_t, std::int64_t> factors_of(std::int64_t extent) {
  auto small = static_cast<std::int64_t>(std::sqrt(static_cast<double>(extent)));
  while (extent % small != 0) --small;
  return {small, extent / small};
}

}  // namespace

void write_attention_lora(const std::filesystem::path& path, const lora::Component& unet, int rank,
                          unsigned seed) {
  Tensors tensors;
  for (const lora::ModuleShape& module : unet.modules) {
    const bool attention = module.path.find("attn1.to_") != std::string::npos ||
                           module.path.find("attn2.to_") != std::string::npos;
    if (attention && module.kind == nn::LayerKind::linear) add_pair(module, rank, tensors);
  }
  write_pairs(path, tensors, seed);
}

void write_lokr(const std::filesystem::path& path, const lora::Component& unet) {
  Tensors tensors;
  for (const lora::ModuleShape& module : unet.modules) {
    if (module.kind != nn::LayerKind::linear) continue;
    const auto [out_small, out_large] = factors_of(module.weight[0]);
    const auto [in_small, in_large] = factors_of(module.weight[1]);
    tensors.push_back({kohya_name(module) + ".lokr_w1", Shape{out_small, in_small}, DType::f16});
    tensors.push_back({kohya_name(module) + ".lokr_w2", Shape{out_large, in_large}, DType::f16});
  }
  write_pairs(path, tensors, 1);
}

void write_locon(const std::filesystem::path& path, const lora::Component& unet, int rank) {
  Tensors tensors;
  for (const lora::ModuleShape& module : unet.modules) {
    if (is_product(module)) add_pair(module, rank, tensors);
  }
  write_pairs(path, tensors, 1);
}

void write_transformer_lora(const std::filesystem::path& path, const lora::Component& unet,
                            std::int64_t bytes) {
  const auto is_inside = [](const lora::ModuleShape& module) {
    return module.kind == nn::LayerKind::linear &&
           module.path.find("transformer_blocks") != std::string::npos;
  };
  std::int64_t bytes_a_rank = 0;
  for (const lora::ModuleShape& module : unet.modules) {
    if (is_inside(module))
      bytes_a_rank +=
          (module.weight[0] + module.weight[1]) * static_cast<std::int64_t>(size_of(DType::f16));
  }
  Tensors tensors;
  for (const lora::ModuleShape& module : unet.modules) {
    if (is_inside(module))
      add_pair(module, std::max<std::int64_t>(bytes / bytes_a_rank, 1), tensors);
  }
  write_pairs(path, tensors, 1);
}

}  // namespace velatura::engine::bench

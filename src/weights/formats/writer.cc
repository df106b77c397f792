#include "weights/formats/writer.h"

#include <nlohmann/json.hpp>
#include <set>

#include "base/error.h"
#include "base/platform/new_file.h"

namespace velatura::weights {

namespace {

constexpr std::string_view kMetadata = "__metadata__";

std::string_view spelling_of(DType type) {
  switch (type) {
    case DType::f64:
      return "F64";
    case DType::f32:
      return "F32";
    case DType::f16:
      return "F16";
    case DType::bf16:
      return "BF16";
    case DType::f8_e4m3:
      return "F8_E4M3";
    case DType::f8_e5m2:
      return "F8_E5M2";
    case DType::i64:
      return "I64";
    case DType::i32:
      return "I32";
    case DType::i16:
      return "I16";
    case DType::i8:
      return "I8";
    case DType::u8:
      return "U8";
    case DType::boolean:
      break;
  }
  return "BOOL";
}

}  // namespace

std::vector<std::byte> safetensors_header(std::span<const NamedTensor> tensors,
                                          const std::map<std::string, std::string>& metadata) {
  std::vector<TensorInfo> infos;
  for (const NamedTensor& entry : tensors)
    infos.push_back({entry.name, entry.tensor.shape(), entry.tensor.dtype()});
  return safetensors_header(infos, metadata);
}

std::vector<std::byte> safetensors_header(std::span<const TensorInfo> tensors,
                                          const std::map<std::string, std::string>& metadata) {
  constexpr std::size_t kAlignment = 8;
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  if (!metadata.empty()) header[std::string(kMetadata)] = metadata;
  std::set<std::string_view> names;
  std::uint64_t offset = 0;
  for (const TensorInfo& entry : tensors) {
    if (entry.name.empty() || entry.name == kMetadata || !names.insert(entry.name).second) {
      fail(ErrorKind::invalid_argument, "the tensor name \"{}\" is empty, reserved or given twice",
           entry.name);
    }
    const std::uint64_t end =
        offset + static_cast<std::uint64_t>(entry.shape.count()) * size_of(entry.dtype);
    const auto extents = entry.shape.extents();
    header[entry.name] = {{"dtype", spelling_of(entry.dtype)},
                          {"shape", std::vector<std::int64_t>(extents.begin(), extents.end())},
                          {"data_offsets", {offset, end}}};
    offset = end;
  }
  std::string text = header.dump();
  text.append((kAlignment - text.size() % kAlignment) % kAlignment, ' ');
  std::vector<std::byte> bytes;
  for (std::size_t i = 0; i < sizeof(std::uint64_t); ++i) {
    bytes.push_back(
        static_cast<std::byte>(static_cast<std::uint64_t>(text.size()) >> (8 * i) & 0xff));
  }
  const auto* begin = reinterpret_cast<const std::byte*>(text.data());
  bytes.insert(bytes.end(), begin, begin + text.size());
  return bytes;
}

void write_safetensors(const std::filesystem::path& path, std::span<const NamedTensor> tensors,
                       const std::map<std::string, std::string>& metadata) {
  const std::vector<std::byte> header = safetensors_header(tensors, metadata);
  platform::NewFile file(path);
  file.write(header);
  for (const NamedTensor& entry : tensors)
    file.write({entry.tensor.bytes(), entry.tensor.byte_size()});
  file.replace_target();
}

}  // namespace velatura::weights

#include "tests/lora_keys/key_list.h"

#include <zlib.h>

#include <algorithm>
#include <array>
#include <mutex>
#include <nlohmann/json.hpp>
#include <sstream>

#include "base/error.h"
#include "lora/suffix.h"

namespace velatura::testing {

namespace {

using json = nlohmann::ordered_json;
constexpr std::int64_t kRank = 4;

std::string read_whole(const std::filesystem::path& path) {
  const gzFile file = gzopen(path.c_str(), "rb");  // reads plain files, too
  if (file == nullptr) fail(ErrorKind::not_found, "{} cannot be read", path.string());
  std::string text;
  std::array<char, 65536> block{};
  for (int got = 0; (got = gzread(file, block.data(), block.size())) > 0;)
    text.append(block.data(), static_cast<std::size_t>(got));
  gzclose(file);
  return text;
}

/// [320, 4], [[320, 4], "BF16"] or {"shape": [320, 4], …}.
std::optional<std::vector<std::int64_t>> shape_of(const json& value) {
  const json& shape = value.is_object() && value.contains("shape") ? value.at("shape")
                      : value.is_array() && !value.empty() && value.front().is_array()
                          ? value.front()
                          : value;
  if (!shape.is_array()) return std::nullopt;
  return shape.get<std::vector<std::int64_t>>();
}

/// The dictionary itself, or the one that stands in it under a name like "state_dict_keys".
const json& tensors_in(const json& document) {
  for (const auto& [key, value] : document.items()) {
    const bool is_inner = key.find("state_dict") != key.npos || key.find("sd_shapes") != key.npos ||
                          key.starts_with("params");
    if (is_inner && (value.is_object() || value.is_array())) return value;
  }
  return document;
}

KeyList from_json(const json& document) {
  KeyList list;
  for (const auto& [key, value] : tensors_in(document).items()) {
    if (value.is_string()) {
      list.keys.push_back({value.get<std::string>(), std::nullopt});
    } else if (key == "__metadata__") {
      list.metadata = value.get<std::map<std::string, std::string>>();
    } else if (!key.starts_with("metadata_key_for")) {
      list.keys.push_back({key, shape_of(value)});
    }
  }
  return list;
}

/// "name" or "name [320,4]" a line; "#" begins a comment.
KeyList from_text(const std::string& text) {
  KeyList list;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    if (line.empty() || line.starts_with('#')) continue;
    std::istringstream words(line);
    KeyList::Key key;
    std::string shape;
    words >> key.name >> shape;
    if (!shape.empty()) key.shape = json::parse(shape).get<std::vector<std::int64_t>>();
    list.keys.push_back(std::move(key));
  }
  return list;
}

class OnesSource : public weights::Source {
 public:
  OnesSource(std::vector<weights::TensorInfo> tensors, std::map<std::string, std::string> metadata)
      : tensors_(std::move(tensors)), metadata_(std::move(metadata)) {}
  const std::vector<weights::TensorInfo>& tensors() const override { return tensors_; }
  Tensor load(std::string_view name) const override {
    const weights::TensorInfo* info = find(name);
    if (info == nullptr) fail(ErrorKind::not_found, "no tensor {}", name);
    return {ones(), info->shape, info->dtype};
  }
  const std::map<std::string, std::string>& metadata() const override { return metadata_; }
  std::string description() const override { return "a key list"; }
  void release(std::string_view) const override {}

 private:
  const Storage& ones() const {
    std::call_once(filled_, [this] {
      std::int64_t most = 1;
      for (const weights::TensorInfo& info : tensors_) most = std::max(most, info.shape.count());
      const Tensor values = Tensor::allocate({most}, DType::f16);
      constexpr std::uint16_t kOne = 0x3c00;
      auto* data = static_cast<std::uint16_t*>(
          std::malloc(static_cast<std::size_t>(most) * sizeof(std::uint16_t)));
      std::fill_n(data, most, kOne);
      ones_ = {std::shared_ptr<void>(data, std::free), reinterpret_cast<std::byte*>(data),
               static_cast<std::size_t>(most) * sizeof(std::uint16_t)};
    });
    return ones_;
  }

  std::vector<weights::TensorInfo> tensors_;
  std::map<std::string, std::string> metadata_;
  mutable std::once_flag filled_;
  mutable Storage ones_;
};

/// As the model's own module would have it, with a rank of our own.
Shape made_up(const std::string& name, const FullSize* model) {
  const std::optional<lora::SplitName> split = lora::split_name(name);
  if (model == nullptr || !split || split->role == lora::Role::alpha) return {};
  const lora::NameIndex::Entry* entry = model->names().find(split->module);
  if (entry == nullptr || entry->placement->weight.rank() < 2) return {};
  const Shape& weight = entry->placement->weight;
  return split->role == lora::Role::down ? Shape{kRank, weight[1]} : Shape{weight[0], kRank};
}

}  // namespace

KeyList read_key_list(const std::filesystem::path& path) {
  const std::string text = read_whole(path);
  const json document = json::parse(text, nullptr, false);
  return document.is_discarded() ? from_text(text) : from_json(document);
}

std::shared_ptr<const weights::Source> source_of(const KeyList& list, const FullSize* model) {
  std::vector<weights::TensorInfo> tensors;
  for (const KeyList::Key& key : list.keys) {
    std::vector<std::int64_t> extents = key.shape.value_or(std::vector<std::int64_t>{});
    std::ranges::replace(extents, std::int64_t{-1}, kRank);
    tensors.push_back(
        {key.name, key.shape ? Shape(extents) : made_up(key.name, model), DType::f16});
  }
  return std::make_shared<OnesSource>(std::move(tensors), list.metadata);
}

}  // namespace velatura::testing

#include "weights/formats/sharded.h"

#include <fstream>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "weights/blob.h"

namespace velatura::weights {

namespace {

constexpr std::uint64_t kMaxIndexBytes = 100'000'000;

class ShardedSource : public Source {
 public:
  ShardedSource(std::string description, std::map<std::string, std::string> metadata)
      : description_(std::move(description)), metadata_(std::move(metadata)) {}

  void add(const std::shared_ptr<const Source>& shard) {
    for (const TensorInfo& info : shard->tensors()) {
      if (!owners_.emplace(info.name, shard).second) {
        fail(ErrorKind::bad_file, "\"{}\": tensor \"{}\" is in more than one shard", description_,
             info.name);
      }
      tensors_.push_back(info);
    }
  }
  bool has(std::string_view name) const { return owners_.find(name) != owners_.end(); }

  const std::vector<TensorInfo>& tensors() const override { return tensors_; }
  Tensor load(std::string_view name) const override {
    const auto owner = owners_.find(name);
    if (owner == owners_.end())
      fail(ErrorKind::not_found, "tensor \"{}\" is not in \"{}\"", name, description_);
    return owner->second->load(name);
  }
  const std::map<std::string, std::string>& metadata() const override { return metadata_; }
  std::string description() const override { return description_; }
  void release(std::string_view name) const override {
    if (const auto owner = owners_.find(name); owner != owners_.end()) owner->second->release(name);
  }

 private:
  std::string description_;
  std::map<std::string, std::string> metadata_;
  std::vector<TensorInfo> tensors_;
  std::map<std::string, std::shared_ptr<const Source>, std::less<>> owners_;
};

nlohmann::json read_index(const std::filesystem::path& path) {
  const Blob blob = Blob::map(path);
  if (blob.size() > kMaxIndexBytes)
    fail(ErrorKind::bad_file, "\"{}\" is too large for an index of shards", path.string());
  const char* text = reinterpret_cast<const char*>(blob.bytes().data());
  // An index nests two levels deep; the parser's callback discards whatever is deeper before it is
  // built.
  const auto shallow = [](int depth, nlohmann::json::parse_event_t, nlohmann::json&) {
    return depth <= 3;
  };
  nlohmann::json index = nlohmann::json::parse(text, text + blob.size(), shallow, false);
  if (!index.is_object() || !index.contains("weight_map") || !index["weight_map"].is_object()) {
    fail(ErrorKind::bad_file,
         "\"{}\" is not an index of shards: expected JSON with an object \"weight_map\"",
         path.string());
  }
  return index;
}

}  // namespace

bool is_shard_index(const std::filesystem::path& path) {
  return path.filename().string().ends_with(".index.json");
}

std::shared_ptr<const Source> open_sharded(const std::filesystem::path& path) {
  const nlohmann::json index = read_index(path);
  std::map<std::string, std::string> metadata;
  if (index.contains("metadata") && index["metadata"].is_object()) {
    for (const auto& [key, value] : index["metadata"].items()) {
      metadata.emplace(key, value.is_string() ? value.get<std::string>() : value.dump());
    }
  }
  std::map<std::string, std::vector<std::string>> names_of_shard;
  for (const auto& [tensor, file] : index["weight_map"].items()) {
    const std::string shard = file.is_string() ? file.get<std::string>() : "";
    if (shard.empty() || std::filesystem::path(shard).filename() != shard || shard == ".." ||
        is_shard_index(shard)) {
      fail(ErrorKind::bad_file,
           "\"{}\": tensor \"{}\" is said to be in \"{}\"; a shard is a file beside its index",
           path.string(), tensor, shard);
    }
    names_of_shard[shard].push_back(tensor);
  }
  auto source = std::make_shared<ShardedSource>(path.string(), std::move(metadata));
  for (const auto& [shard, names] : names_of_shard)
    source->add(open_source(path.parent_path() / shard));
  for (const auto& [shard, names] : names_of_shard) {
    for (const std::string& name : names) {
      if (!source->has(name)) {
        fail(ErrorKind::bad_file, "\"{}\": shard \"{}\" lacks tensor \"{}\"", path.string(), shard,
             name);
      }
    }
  }
  return source;
}

}  // namespace velatura::weights

#include "lora/adapter_file.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <xxhash.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <unordered_map>

#include "base/error.h"
#include "base/mapped_file.h"

namespace velatura::lora {

namespace fs = std::filesystem;

namespace {

/// What PEFT and diffusers call the weights in a folder of their own.
constexpr auto kFolderNames = std::to_array<std::string_view>(
    {"adapter_model.safetensors", "adapter_model.bin", "pytorch_lora_weights.safetensors",
     "pytorch_lora_weights.bin"});
constexpr std::string_view kBundle = "bundle_emb.";
/// What a header says of a tensor that is an embedding.
constexpr std::string_view kEmbeddingMark = "<embed>";
/// Where the name of a bundled embedding ends.
constexpr auto kInnerKeys = std::to_array<std::string_view>(
    {".string_to_param.", ".string_to_token.", ".clip_l", ".clip_g", ".t5", ".emb_params"});
constexpr int kMostPlaces = 1'000'000;
constexpr auto kLists = std::to_array<std::string_view>({"unet", "text_encoder"});
constexpr const char* kPeftConfig = "adapter_config.json";

fs::path weights_in(const fs::path& folder) {
  for (const std::string_view name : kFolderNames) {
    std::error_code ignored;
    if (fs::is_regular_file(folder / name, ignored)) return folder / name;
  }
  fail(ErrorKind::not_found, "\"{}\" holds no adapter: {} are looked for", folder.string(),
       fmt::join(kFolderNames, ", "));
}

}  // namespace

std::shared_ptr<const AdapterFile> AdapterFile::open(const fs::path& path) {
  std::error_code ignored;
  if (!fs::is_directory(path, ignored)) return from_source(weights::open_source(path), path);
  const fs::path inside = weights_in(path);
  const auto file = from_source(weights::open_source(inside), inside);
  auto named = std::shared_ptr<AdapterFile>(new AdapterFile(*file));
  named->stem_ = fs::weakly_canonical(path, ignored).filename().string();
  return named;
}

std::shared_ptr<const AdapterFile> AdapterFile::from_source(
    std::shared_ptr<const weights::Source> source, const fs::path& path) {
  std::shared_ptr<AdapterFile> file(new AdapterFile);
  file->path_ = path;
  file->stem_ = path.stem().string();
  file->source_ = std::move(source);
  file->group();
  file->read_peft_scaling();
  return file;
}

void AdapterFile::group() {
  if (group_list()) return;
  std::unordered_map<std::string, std::size_t> index;
  const bool marks_embeddings = std::ranges::any_of(
      source_->metadata(), [](const auto& entry) { return entry.second == kEmbeddingMark; });
  std::size_t last = 0;
  std::map<std::string, BundledEmbedding> embeddings;
  for (const weights::TensorInfo& info : source_->tensors()) {
    if ((marks_embeddings || info.name.starts_with(kBundle)) &&
        take_embedding(info.name, embeddings))
      continue;
    std::optional<SplitName> split = split_name(info.name);
    if (!split) {
      unexplained_.push_back(info.name);
      continue;
    }
    // The tensors of a module mostly stand side by side.
    if (modules_.empty() || modules_[last].name != split->module) {
      const auto [at, fresh] = index.emplace(split->module, modules_.size());
      if (fresh) modules_.push_back({.name = std::move(split->module), .tensors = {}});
      last = at->second;
    }
    FileModule& module = modules_[last];
    const auto [role, first] = module.tensors.emplace(split->role, info.name);
    if (split->role == Role::oft_list) {
      const auto [number, fresh_number] = module.numbered.emplace(split->number, info.name);
      if (!fresh_number)
        repeated_.push_back({.tensor = info.name, .first = &source_->find(number->second)->name});
    } else if (!first) {
      repeated_.push_back({.tensor = info.name, .first = &source_->find(role->second)->name});
    }
  }
  for (auto& [name, embedding] : embeddings) embeddings_.push_back(std::move(embedding));
  find_ia3_vectors(index);
  count_ordered();
}

/// "bundle_emb.<name>.<inner key>", whose name may have dots, and "<word>" that the header marks as
/// an embedding.
bool AdapterFile::take_embedding(const std::string& tensor,
                                 std::map<std::string, BundledEmbedding>& embeddings) const {
  std::string name = tensor, inner;
  if (tensor.starts_with(kBundle)) {
    const std::string rest = tensor.substr(kBundle.size());
    std::size_t dot = rest.find('.');
    for (const std::string_view key : kInnerKeys) {
      const std::size_t at = rest.rfind(key);
      if (at != std::string::npos && at > 0) dot = at;
    }
    if (dot == std::string::npos) dot = rest.size();
    name = rest.substr(0, dot);
    inner = rest.substr(std::min(dot + 1, rest.size()));
  } else {
    const auto mark = source_->metadata().find(tensor);
    if (mark == source_->metadata().end() || mark->second != kEmbeddingMark) return false;
  }
  const auto at = embeddings.try_emplace(name, BundledEmbedding{.name = name, .tensors = {}}).first;
  at->second.tensors.emplace(std::move(inner), tensor);
  return true;
}

/// A pickled list, up and down in turn, has no names at all: its shapes say what it is for. In a
/// text encoder's all are alike; a UNet's read text and widths of its own.
bool AdapterFile::group_list() {
  const std::vector<weights::TensorInfo>& tensors = source_->tensors();
  if (tensors.empty() || tensors.size() % 2 != 0) return false;
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    if (tensors[i].name != std::to_string(i) || tensors[i].shape.rank() < 2) return false;
  }
  const Shape &up = tensors[0].shape, &down = tensors[1].shape;
  bool alike = up[0] == down[1];
  for (std::size_t i = 0; i < tensors.size() && alike; ++i)
    alike = tensors[i].shape == (i % 2 == 0 ? up : down);
  const std::string list = alike ? "text_encoder" : "unet";
  for (std::size_t i = 0; i < tensors.size(); i += 2) {
    modules_.push_back({.name = fmt::format("{}:{}", list, i / 2),
                        .tensors = {{Role::up, tensors[i].name}, {Role::down, tensors[i + 1].name}},
                        .numbered = {}});
  }
  ordered_.emplace(list, static_cast<int>(tensors.size() / 2));
  return true;
}

void AdapterFile::count_ordered() {
  for (const FileModule& module : modules_) {
    for (const std::string_view list : kLists) {
      if (!module.name.starts_with(list) || module.name.size() <= list.size() + 1 ||
          module.name[list.size()] != ':')
        continue;
      int place = -1;
      const char* end = module.name.data() + module.name.size();
      const auto [stop, error] = std::from_chars(module.name.data() + list.size() + 1, end, place);
      if (error != std::errc() || stop != end || place < 0 || place >= kMostPlaces) continue;
      int& count = ordered_[std::string(list)];
      count = std::max(count, place + 1);
    }
  }
}

std::string AdapterFile::lookup_name(const FileModule& module) const {
  const auto list = ordered_.find(std::string_view(module.name).substr(0, module.name.find(':')));
  return list == ordered_.end() ? module.name : fmt::format("{} of {}", module.name, list->second);
}

/// LyCORIS calls the vector "<module>.weight"; only the axis beside it says that it is no weight.
void AdapterFile::find_ia3_vectors(const std::unordered_map<std::string, std::size_t>& index) {
  std::erase_if(unexplained_, [&](const std::string& tensor) {
    constexpr std::string_view kEnd = ".weight";
    if (!tensor.ends_with(kEnd)) return false;
    const auto found = index.find(tensor.substr(0, tensor.size() - kEnd.size()));
    if (found == index.end()) return false;
    auto& tensors = modules_[found->second].tensors;
    return tensors.contains(Role::ia3_on_input) && tensors.emplace(Role::ia3, tensor).second;
  });
}

void AdapterFile::read_peft_scaling() {
  const auto& metadata = source_->metadata();
  if (const auto found = metadata.find("lora_adapter_metadata"); found != metadata.end()) {
    peft_ = parse_peft_metadata(found->second, path_.string() + ", lora_adapter_metadata");
    return;
  }
  const auto has_peft_name = [](const FileModule& module) {
    return module.name.find("base_model.model.") != std::string::npos;
  };
  const fs::path config = path_.parent_path() / kPeftConfig;
  std::error_code ignored;
  if ((stem_ == "adapter_model" || std::ranges::any_of(modules_, has_peft_name)) &&
      fs::is_regular_file(config, ignored)) {
    const auto file = MappedFile::open(config);
    const std::string_view text(reinterpret_cast<const char*>(file->bytes().data()),
                                file->bytes().size());
    peft_.emplace("", parse_peft_config(text, config.string()));
    return;
  }
  const auto has_alpha = [](const FileModule& module) {
    return module.tensors.contains(Role::alpha);
  };
  const auto alpha = metadata.find("alpha");
  if (alpha == metadata.end() || std::ranges::any_of(modules_, has_alpha)) return;
  if (auto scaling = parse_header_alpha(alpha->second)) peft_.emplace("", std::move(*scaling));
}

std::string AdapterFile::hash() const {
  std::vector<const weights::TensorInfo*> sorted;
  for (const weights::TensorInfo& info : source_->tensors()) sorted.push_back(&info);
  std::ranges::sort(sorted, {}, &weights::TensorInfo::name);
  const std::unique_ptr<XXH3_state_t, XXH_errorcode (*)(XXH3_state_t*)> state(XXH3_createState(),
                                                                              XXH3_freeState);
  XXH3_128bits_reset(state.get());
  const auto add = [&](std::string_view text) {
    XXH3_128bits_update(state.get(), text.data(), text.size());
  };
  for (const weights::TensorInfo* info : sorted) {
    add(fmt::format("{}\n{}\n{}\n", info->name, velatura::to_string(info->dtype),
                    info->shape.to_string()));
    const Tensor tensor = source_->load(info->name);
    if (tensor.byte_size() > 0)
      add({reinterpret_cast<const char*>(tensor.bytes()), tensor.byte_size()});
  }
  for (const auto& [component, scaling] : peft_) add(component + "\n" + scaling.text + "\n");
  const XXH128_hash_t digest = XXH3_128bits_digest(state.get());
  return fmt::format("{:016x}{:016x}", digest.high64, digest.low64);
}

const std::string& AdapterFile::content_hash() const {
  std::call_once(content_hash_->once, [this] { content_hash_->text = hash(); });
  return content_hash_->text;
}

const PeftScaling* AdapterFile::peft_scaling(std::string_view component) const {
  auto found = peft_.find(component);
  if (found == peft_.end()) found = peft_.find("");
  return found == peft_.end() ? nullptr : &found->second;
}

bool same_bytes(const AdapterFile& file, const std::string& a, const std::string& b) {
  const Tensor left = file.source().load(a), right = file.source().load(b);
  return left.dtype() == right.dtype() && left.shape() == right.shape() &&
         (left.byte_size() == 0 || std::memcmp(left.bytes(), right.bytes(), left.byte_size()) == 0);
}

}  // namespace velatura::lora

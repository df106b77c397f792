#include "lora/adapter_file.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <xxhash.h>

#include <algorithm>
#include <array>
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
  std::unordered_map<std::string, std::size_t> index;
  for (const weights::TensorInfo& info : source_->tensors()) {
    std::optional<SplitName> split = split_name(info.name);
    if (!split) {
      unexplained_.push_back(info.name);
      continue;
    }
    const auto [at, fresh] = index.emplace(split->module, modules_.size());
    if (fresh) modules_.push_back({.name = split->module, .tensors = {}});
    FileModule& module = modules_[at->second];
    const auto [role, first] = module.tensors.emplace(split->role, info.name);
    if (split->role == Role::oft_list) {
      const auto [number, fresh_number] = module.numbered.emplace(split->number, info.name);
      if (!fresh_number) repeated_.push_back({.tensor = info.name, .first = number->second});
    } else if (!first) {
      repeated_.push_back({.tensor = info.name, .first = role->second});
    }
  }
  find_ia3_vectors(index);
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

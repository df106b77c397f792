#include "lora/adapter_file.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <unordered_map>

#include "base/error.h"
#include "base/mapped_file.h"

namespace velatura::lora {

namespace {

struct Suffix {
  std::string_view text;
  Role role;
};

// Longest first within an ending, so that the first hit is the longest. "{}" stands for an adapter
// name that PEFT left in the key (lora_A.default.weight).
constexpr auto kSuffixes = std::to_array<Suffix>({
    {".lora_linear_layer.down.weight", Role::down},
    {".lora_linear_layer.up.weight", Role::up},
    {".lora_magnitude_vector.{}.weight", Role::dora_scale},
    {".lora_magnitude_vector.weight", Role::dora_scale},
    {".lora_magnitude_vector", Role::dora_scale},
    {".dora_scale", Role::dora_scale},
    {".magnitude", Role::dora_scale},
    {".lora_down.weight", Role::down},
    {".lora_up.weight", Role::up},
    {".lora_mid.weight", Role::mid},
    {"_lora_down.weight", Role::down},
    {"_lora_up.weight", Role::up},
    {"_lora.down.weight", Role::down},
    {"_lora.up.weight", Role::up},
    {".lora.down.weight", Role::down},
    {".lora.up.weight", Role::up},
    {".lora_A.weight", Role::down},
    {".lora_B.weight", Role::up},
    {".lora_A.{}.weight", Role::down},
    {".lora_B.{}.weight", Role::up},
    {".lora_A.bias", Role::down_bias},
    {".lora_B.bias", Role::up_bias},
    {".lora_down.bias", Role::down_bias},
    {".lora_up.bias", Role::up_bias},
    {".lora_A", Role::down},
    {".lora_B", Role::up},
    {".alpha", Role::alpha},
    {".scale", Role::scale},
    {".scalar", Role::scalar},
    {".hada_w1_a", Role::hada_w1_a},
    {".hada_w1_b", Role::hada_w1_b},
    {".hada_w2_a", Role::hada_w2_a},
    {".hada_w2_b", Role::hada_w2_b},
    {".hada_t1", Role::hada_t1},
    {".hada_t2", Role::hada_t2},
    {".lokr_w1", Role::lokr_w1},
    {".lokr_w1_a", Role::lokr_w1_a},
    {".lokr_w1_b", Role::lokr_w1_b},
    {".lokr_w2", Role::lokr_w2},
    {".lokr_w2_a", Role::lokr_w2_a},
    {".lokr_w2_b", Role::lokr_w2_b},
    {".lokr_t2", Role::lokr_t2},
    {".a1.weight", Role::glora_a1},
    {".a2.weight", Role::glora_a2},
    {".b1.weight", Role::glora_b1},
    {".b2.weight", Role::glora_b2},
    {".ia3_l", Role::ia3},
    {".on_input", Role::ia3_on_input},
    {".oft_blocks", Role::oft},
    {".oft_R.weight", Role::oft},
    {".oft_diag", Role::oft},
    {".rescale", Role::rescale},
    {".diff", Role::diff},
    {".diff_b", Role::diff_b},
    {".w_norm", Role::norm_w},
    {".b_norm", Role::norm_b},
    {".set_weight", Role::set_weight},
    {".reshape_weight", Role::reshape_weight},
    {".bias_indices", Role::sparse},
    {".bias_values", Role::sparse},
    {".bias_size", Role::sparse},
});

/// Length of `suffix` at the end of `name`, 0 where it is not there. "{}" matches one word without
/// dots.
std::size_t match_suffix(std::string_view name, std::string_view suffix) {
  const std::size_t hole = suffix.find("{}");
  if (hole == std::string_view::npos) return name.ends_with(suffix) ? suffix.size() : 0;
  const std::string_view tail = suffix.substr(hole + 2), head = suffix.substr(0, hole);
  if (!name.ends_with(tail)) return 0;
  name.remove_suffix(tail.size());
  const std::size_t dot = name.rfind('.');
  if (dot == std::string_view::npos || dot + 1 == name.size()) return 0;
  const std::size_t word = name.size() - dot - 1;
  name.remove_suffix(word);
  return name.ends_with(head) ? head.size() + word + tail.size() : 0;
}

}  // namespace

std::string_view to_string(Role role) {
  static constexpr std::array<std::string_view, 37> kNames = {"down",
                                                              "up",
                                                              "mid",
                                                              "alpha",
                                                              "scale",
                                                              "scalar",
                                                              "down bias",
                                                              "up bias",
                                                              "DoRA magnitude",
                                                              "LoHa w1_a",
                                                              "LoHa w1_b",
                                                              "LoHa w2_a",
                                                              "LoHa w2_b",
                                                              "LoHa t1",
                                                              "LoHa t2",
                                                              "LoKr w1",
                                                              "LoKr w1_a",
                                                              "LoKr w1_b",
                                                              "LoKr w2",
                                                              "LoKr w2_a",
                                                              "LoKr w2_b",
                                                              "LoKr t2",
                                                              "GLoRA a1",
                                                              "GLoRA a2",
                                                              "GLoRA b1",
                                                              "GLoRA b2",
                                                              "(IA)³ vector",
                                                              "(IA)³ axis",
                                                              "OFT blocks",
                                                              "OFT rescale",
                                                              "full difference",
                                                              "bias difference",
                                                              "norm difference",
                                                              "norm bias difference",
                                                              "set-weight",
                                                              "reshape-weight",
                                                              "sparse residual"};
  return kNames.at(static_cast<std::size_t>(role));
}

std::optional<SplitName> split_name(std::string_view tensor) {
  std::size_t best = 0;
  Role role = Role::down;
  for (const Suffix& suffix : kSuffixes) {
    const std::size_t length = match_suffix(tensor, suffix.text);
    if (length > best && length < tensor.size()) best = length, role = suffix.role;
  }
  if (best == 0) return std::nullopt;
  return SplitName{std::string(tensor.substr(0, tensor.size() - best)), role};
}

std::shared_ptr<const AdapterFile> AdapterFile::open(const std::filesystem::path& path) {
  std::shared_ptr<AdapterFile> file(new AdapterFile);
  file->path_ = path;
  file->stem_ = path.stem().string();
  file->source_ = weights::open_source(path);
  file->group();
  file->read_peft_scaling();
  file->hash();
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
    if (!modules_[at->second].tensors.emplace(split->role, info.name).second)
      duplicated_.push_back(info.name);
  }
}

void AdapterFile::hash() {
  std::vector<const weights::TensorInfo*> sorted;
  for (const weights::TensorInfo& info : source_->tensors()) sorted.push_back(&info);
  std::ranges::sort(sorted, {}, &weights::TensorInfo::name);
  const std::unique_ptr<XXH3_state_t, XXH_errorcode (*)(XXH3_state_t*)> state(XXH3_createState(),
                                                                              XXH3_freeState);
  XXH3_128bits_reset(state.get());
  for (const weights::TensorInfo* info : sorted) {
    const std::string head = fmt::format("{}\n{}\n{}\n", info->name,
                                         velatura::to_string(info->dtype), info->shape.to_string());
    XXH3_128bits_update(state.get(), head.data(), head.size());
    const Tensor tensor = source_->load(info->name);
    if (tensor.byte_size() > 0)
      XXH3_128bits_update(state.get(), tensor.bytes(), tensor.byte_size());
  }
  const XXH128_hash_t digest = XXH3_128bits_digest(state.get());
  content_hash_ = fmt::format("{:016x}{:016x}", digest.high64, digest.low64);
}

namespace {

std::optional<double> number(const nlohmann::json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_number() ? std::optional(found->get<double>())
                                                     : std::nullopt;
}

PeftScaling parse_scaling(const nlohmann::json& config) {
  // LoraConfig's own defaults: an adapter_config.json without lora_alpha means 8.
  PeftScaling scaling{.alpha = number(config, "lora_alpha").value_or(8.0),
                      .rank_stabilised = false,
                      .alpha_pattern = {}};
  if (const auto found = config.find("use_rslora"); found != config.end() && found->is_boolean()) {
    scaling.rank_stabilised = found->get<bool>();
  }
  if (const auto found = config.find("alpha_pattern");
      found != config.end() && found->is_object()) {
    for (const auto& [pattern, value] : found->items()) {
      if (value.is_number()) scaling.alpha_pattern[pattern] = value.get<double>();
    }
  }
  return scaling;
}

}  // namespace

void AdapterFile::read_peft_scaling() {
  const auto& metadata = source_->metadata();
  if (const auto found = metadata.find("lora_adapter_metadata"); found != metadata.end()) {
    const auto json = nlohmann::json::parse(found->second, nullptr, false);
    if (!json.is_object()) {
      fail(ErrorKind::bad_file, "{}: the header's \"lora_adapter_metadata\" is not a JSON object",
           path_.string());
    }
    std::map<std::string, nlohmann::json>
        by_component;  // keys are "<component>.<LoraConfig field>"
    for (const auto& [key, value] : json.items()) {
      const std::size_t dot = key.find('.');
      if (dot != std::string::npos) by_component[key.substr(0, dot)][key.substr(dot + 1)] = value;
    }
    for (const auto& [component, config] : by_component)
      peft_.emplace(component, parse_scaling(config));
    return;
  }
  const std::filesystem::path config = path_.parent_path() / "adapter_config.json";
  const bool saved_by_peft =
      stem_ == "adapter_model" || std::ranges::any_of(modules_, [](const FileModule& m) {
        return m.name.starts_with("base_model.");
      });
  if (saved_by_peft && std::filesystem::exists(config)) {
    const auto bytes = MappedFile::open(config)->bytes();
    const auto json = nlohmann::json::parse(
        reinterpret_cast<const char*>(bytes.data()),
        reinterpret_cast<const char*>(bytes.data()) + bytes.size(), nullptr, false);
    if (!json.is_object()) fail(ErrorKind::bad_file, "{}: not a JSON object", config.string());
    peft_.emplace("", parse_scaling(json));
    return;
  }
  const bool has_alpha = std::ranges::any_of(
      modules_, [](const FileModule& m) { return m.tensors.contains(Role::alpha); });
  if (const auto found = metadata.find("alpha"); !has_alpha && found != metadata.end()) {
    const auto json = nlohmann::json::parse(found->second, nullptr, false);
    if (json.is_number())
      peft_.emplace(
          "",
          PeftScaling{.alpha = json.get<double>(), .rank_stabilised = false, .alpha_pattern = {}});
  }
}

const PeftScaling* AdapterFile::peft_scaling(std::string_view component) const {
  auto found = peft_.find(component);
  if (found == peft_.end()) found = peft_.find("");
  return found == peft_.end() ? nullptr : &found->second;
}

}  // namespace velatura::lora

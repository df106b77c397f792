#include "lora/library/summary.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <fstream>
#include <map>
#include <set>
#include <unordered_map>

#include "base/error.h"
#include "lora/algorithms/algorithm.h"
#include "lora/bind/family.h"
#include "lora/bind/traits.h"
#include "lora/library/clean_text.h"
#include "lora/stored_algorithm.h"
#include "lora/stored_rank.h"
#include "weights/formats/safetensors.h"

namespace velatura::lora::library {

namespace {

constexpr std::uint64_t kPrefixBytes = 8;
constexpr std::size_t kLongestEvidence = 300;

/// `flat` has '_' as the only separator, here and below.
bool is_text_encoder(std::string_view flat) {
  static constexpr auto kBeginnings = std::to_array<std::string_view>(
      {"lora_te", "lycoris_te", "text_encoder", "text_encoders", "te_", "te1_", "te2_", "clip_l",
       "clip_g", "t5xxl", "cond_stage_model", "conditioner", "text_model"});
  return std::ranges::any_of(kBeginnings,
                             [&](std::string_view begin) { return flat.starts_with(begin); }) ||
         flat.find("_text_model_encoder_") != flat.npos;
}

struct TargetRow {
  std::string_view part;
  std::string_view target;
};
/// First match wins. Modulations before what their names contain (norm1.linear), projections into
/// attention before those out of it.
constexpr auto kTargets = std::to_array<TargetRow>({
    {"mod_lin", "adaLN"},
    {"modulation", "adaLN"},
    {"adaln", "adaLN"},
    {"norm1_linear", "adaLN"},
    {"norm1_context_linear", "adaLN"},
    {"norm_linear", "adaLN"},
    {"norm_out_linear", "adaLN"},
    {"img_mod_", "adaLN"},
    {"txt_mod_", "adaLN"},
    {"qkv", "attention_qkv"},
    {"to_q", "attention_qkv"},
    {"to_k", "attention_qkv"},
    {"to_v", "attention_qkv"},
    {"_q_proj", "attention_qkv"},
    {"_k_proj", "attention_qkv"},
    {"_v_proj", "attention_qkv"},
    {"_linear1", "attention_qkv"},
    {"to_out", "attention_out"},
    {"to_add_out", "attention_out"},
    {"attn_proj", "attention_out"},
    {"attention_out", "attention_out"},
    {"out_proj", "attention_out"},
    {"_ff_", "feed_forward"},
    {"_mlp_", "feed_forward"},
    {"_proj_mlp", "feed_forward"},
    {"feed_forward", "feed_forward"},
    {"_linear2", "feed_forward"},
    {"resnets", "conv"},
    {"in_layers", "conv"},
    {"out_layers", "conv"},
    {"emb_layers", "conv"},
    {"skip_connection", "conv"},
    {"samplers", "conv"},
    {"conv", "conv"},
    {"_op", "conv"},
});

/// Numbered parts of models, the outermost first: a UNet's block holds transformer blocks.
constexpr auto kBlockKinds = std::to_array<std::string_view>(
    {"input_blocks", "output_blocks", "down_blocks", "up_blocks", "double_blocks", "single_blocks",
     "single_transformer_blocks", "noise_refiner", "context_refiner", "transformer_blocks",
     "layers", "block"});
constexpr auto kSingleBlocks = std::to_array<std::string_view>({"middle_block", "mid_block"});

/// The number behind "<kind>_" in `flat`; −1 where there is none.
int block_number(std::string_view flat, std::string_view kind) {
  for (std::size_t at = flat.find(kind); at != flat.npos; at = flat.find(kind, at + 1)) {
    const bool whole_word = at == 0 || flat[at - 1] == '_';
    const std::string_view rest = flat.substr(std::min(at + kind.size() + 1, flat.size()));
    int number = 0;
    const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), number);
    constexpr int kMost = 100'000;
    if (whole_word && error == std::errc() && number >= 0 && number < kMost) return number;
  }
  return -1;
}

/// The tensors of a file by name. Source::find compares names, which begin alike in one file.
class TensorTable {
 public:
  explicit TensorTable(const std::vector<weights::TensorInfo>& tensors) : tensors_(tensors) {
    std::size_t slots = 16;
    while (slots < 2 * tensors.size()) slots *= 2;
    slots_.resize(slots);
    for (std::uint32_t i = 0; i < tensors.size(); ++i) slot_of(tensors[i].name) = i + 1;
  }
  const weights::TensorInfo* find(const std::string& name) {
    const std::uint32_t position = slot_of(name);
    return position == 0 ? nullptr : &tensors_[position - 1];
  }

 private:
  std::uint32_t& slot_of(const std::string& name) {
    std::size_t at = XXH3_64bits(name.data(), name.size());
    for (;; ++at) {
      std::uint32_t& slot = slots_[at & (slots_.size() - 1)];
      if (slot == 0 || tensors_[slot - 1].name == name) return slot;
    }
  }
  const std::vector<weights::TensorInfo>& tensors_;
  std::vector<std::uint32_t> slots_;  ///< position + 1; 0: free
};

/// The extent of a tensor of the module; 0 where it is not there.
std::int64_t extent(TensorTable& tensors, const FileModule& module, Role role, int axis) {
  const auto found = module.tensors.find(role);
  if (found == module.tensors.end()) return 0;
  const weights::TensorInfo* info = tensors.find(found->second);
  return info != nullptr && axis < info->shape.rank() ? info->shape[axis] : 0;
}

template <typename Key>
std::vector<Key> by_frequency(const std::map<Key, std::int64_t>& counts) {
  std::vector<std::pair<std::int64_t, Key>> order;
  for (const auto& [key, count] : counts) order.emplace_back(-count, key);
  std::ranges::sort(order);
  std::vector<Key> keys;
  for (auto& [count, key] : order) keys.push_back(std::move(key));
  return keys;
}

class Summary {
 public:
  Summary(const AdapterFile& file, LibraryEntry& entry)
      : file_(file), tensors_(file.source().tensors()), entry_(entry) {}

  void run() {
    count_tensors();
    for (const FileModule& module : file_.modules()) add(module);
    std::erase_if(algorithms_, [](const auto& counted) { return counted.first.empty(); });
    entry_.algorithms = by_frequency(algorithms_);
    if (!ranks_.empty()) {
      entry_.min_rank = ranks_.begin()->first;
      entry_.max_rank = ranks_.rbegin()->first;
      entry_.common_rank = by_frequency(ranks_).front();
    }
    for (const TargetRow& row : kTargets) add_target(row.target);
    for (const std::string_view target : {"text_encoder", "other"}) add_target(target);
    for (auto& [kind, numbers] : blocks_)
      entry_.blocks.push_back({kind, {numbers.begin(), numbers.end()}});
    add_family();
  }

 private:
  void add_family() {
    const FamilyVerdict verdict = detect_family(file_);
    entry_.family = verdict.id.empty() ? verdict.name : verdict.id;
    entry_.family_evidence =
        clean_line(verdict.remark.empty() ? verdict.evidence
                                          : fmt::format("{}; {}", verdict.evidence, verdict.remark),
                   kLongestEvidence);
    if (!verdict.is_adapter) {
      entry_.problem = clean_line(
          fmt::format("this is no adapter but a {} ({})", verdict.name, verdict.evidence),
          kLongestEvidence);
    } else if (verdict.id.empty() && !verdict.name.empty()) {
      entry_.problem =
          clean_line(fmt::format("this is an adapter of {}, which is not drawn with", verdict.name),
                     kLongestEvidence);
    } else if (entry_.algorithms.empty() && verdict.name.empty()) {
      entry_.problem = no_adapter();
    }
  }

  void count_tensors() {
    std::map<DType, std::int64_t> counts;
    for (const weights::TensorInfo& info : file_.source().tensors()) {
      ++counts[info.dtype];
      entry_.parameters += static_cast<std::uint64_t>(info.shape.count());
    }
    entry_.tensors = static_cast<int>(file_.source().tensors().size());
    std::map<std::string, std::int64_t> types;
    for (const auto& [type, count] : counts) types.emplace(velatura::to_string(type), count);
    entry_.types = by_frequency(types);
  }

  /// What follows from a module's name without its numbers: a file has hundreds of modules and
  /// some dozen patterns.
  struct NamePattern {
    bool is_text_encoder = false;
    std::string_view target;
    std::string_view block_kind;             ///< empty: in no numbered block
    std::set<int>* block_numbers = nullptr;  ///< of the kind, in blocks_, after its first number
  };

  void add(const FileModule& module) {
    std::int64_t& count = count_of_algorithm(module);
    ++count;
    if (&count == no_algorithm_) return;
    ++entry_.modules;
    const std::int64_t rank =
        stored_rank([&](Role role, int axis) { return extent(tensors_, module, role, axis); });
    if (rank > 0) ++ranks_[rank];
    pattern_of(module.name, pattern_);
    const auto [known, fresh] = name_patterns_.try_emplace(pattern_);
    if (fresh) known->second = look_at(pattern_);
    targets_.insert(target_of(module, known->second));
    if (!known->second.block_kind.empty()) add_block(module, known->second);
  }

  /// In algorithms_, under "" for modules of none.
  std::int64_t& count_of_algorithm(const FileModule& module) {
    std::uint64_t roles = 0;
    for (const auto& [role, tensor] : module.tensors)
      roles |= std::uint64_t{1} << static_cast<unsigned>(role);
    const auto [known, fresh] = counts_by_roles_.try_emplace(roles, nullptr);
    if (fresh) known->second = &algorithms_[plain_algorithm_of(module)];
    return *known->second;
  }

  NamePattern look_at(std::string_view pattern) {
    NamePattern found{.is_text_encoder = is_text_encoder(pattern)};
    found.target = found.is_text_encoder ? "text_encoder" : target_by_name(pattern);
    for (const std::string_view kind : kSingleBlocks) {
      if (pattern.find(kind) == pattern.npos) continue;
      blocks_[std::string(kind)];
      return found;
    }
    // With a number that every block's range has in the place of all.
    std::string numbered(pattern);
    std::ranges::replace(numbered, '#', '0');
    const auto* kind = std::ranges::find_if(
        kBlockKinds, [&](std::string_view kind) { return block_number(numbered, kind) >= 0; });
    if (kind != kBlockKinds.end()) found.block_kind = *kind;
    return found;
  }

  std::string_view target_of(const FileModule& module, const NamePattern& name) {
    if (name.is_text_encoder) return name.target;
    const bool is_convolution =
        extent(tensors_, module, Role::down, 3) > 1 || module.tensors.contains(Role::mid);
    return is_convolution ? "conv" : name.target;
  }

  static std::string_view target_by_name(std::string_view flat) {
    const auto* row = std::ranges::find_if(kTargets, [&](const TargetRow& candidate) {
      return flat.find(candidate.part) != flat.npos;
    });
    return row == kTargets.end() ? "other" : row->target;
  }

  void add_target(std::string_view target) {
    if (targets_.contains(target) &&
        std::ranges::find(entry_.targets, target) == entry_.targets.end())
      entry_.targets.emplace_back(target);
  }

  void add_block(const FileModule& module, NamePattern& name) {
    flat_ = module.name;
    std::ranges::replace(flat_, '.', '_');
    if (const int number = block_number(flat_, name.block_kind); number >= 0) {
      if (name.block_numbers == nullptr) name.block_numbers = &numbers_of(name, name.block_kind);
      name.block_numbers->insert(number);
      return;
    }
    // A number beyond all bounds: another kind's may stand behind it.
    for (const std::string_view kind : kBlockKinds) {
      if (const int number = block_number(flat_, kind); number >= 0) {
        numbers_of(name, kind).insert(number);
        return;
      }
    }
  }
  std::set<int>& numbers_of(const NamePattern& name, std::string_view kind) {
    return blocks_[(name.is_text_encoder ? "text_encoder." : "") + std::string(kind)];
  }

  std::string no_adapter() const {
    if (file_.source().tensors().empty()) return "the file holds no tensors";
    return fmt::format("no tensor is named as an adapter's ({}, the first \"{}\")",
                       entry_.tensors == 1 ? "1 tensor" : fmt::format("{} tensors", entry_.tensors),
                       clean_line(file_.source().tensors().front().name, 120));
  }

  /// Without what stands beside it: "LoRA" of "LoRA + bias difference".
  std::string plain_algorithm_of(const FileModule& module) const {
    const std::string name = stored_algorithm(file_.source(), [&](Role role) {
      const auto tensor = module.tensors.find(role);
      return tensor == module.tensors.end() ? nullptr : &tensor->second;
    });
    return name.substr(0, name.find(" + "));
  }

  const AdapterFile& file_;
  TensorTable tensors_;
  LibraryEntry& entry_;
  std::map<std::string, std::int64_t> algorithms_;
  std::int64_t* const no_algorithm_ = &algorithms_[{}];
  std::unordered_map<std::uint64_t, std::int64_t*> counts_by_roles_;  ///< bits of roles
  std::map<std::int64_t, std::int64_t> ranks_;
  std::set<std::string_view> targets_;
  std::unordered_map<std::string, NamePattern> name_patterns_;
  std::map<std::string, std::set<int>> blocks_;
  std::string pattern_, flat_;  ///< of one module
};

}  // namespace

std::shared_ptr<const AdapterFile> open_header(const std::filesystem::path& path) {
  const auto refuse = [&](const char* what) {
    fail(ErrorKind::io, "cannot read \"{}\": {}", path.string(), what);
  };
  std::ifstream stream(path, std::ios::binary);
  if (!stream) refuse(std::strerror(errno));
  stream.seekg(0, std::ios::end);
  const auto bytes = static_cast<std::uint64_t>(std::max<std::streamoff>(stream.tellg(), 0));
  const auto read = [&](std::uint64_t length) {
    std::vector<std::byte> head(std::min(length, bytes));
    stream.clear();
    stream.seekg(0);
    stream.read(reinterpret_cast<char*>(head.data()), static_cast<std::streamsize>(head.size()));
    if (stream.bad()) refuse("the system reports an error");
    head.resize(static_cast<std::size_t>(std::max<std::streamsize>(stream.gcount(), 0)));
    return weights::Blob::of(std::move(head), path.string());
  };
  const weights::Blob start = read(kPrefixBytes + 1);
  if (!weights::looks_like_safetensors(start))
    return AdapterFile::from_source(weights::open_source(path), path);
  const auto header = start.read<std::uint64_t>(0, "the header length");
  return AdapterFile::from_source(
      weights::open_safetensors_header(read(kPrefixBytes + header), bytes), path);
}

void summarise(const AdapterFile& file, LibraryEntry& entry) {
  Summary(file, entry).run();
}

}  // namespace velatura::lora::library

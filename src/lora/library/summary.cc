#include "lora/library/summary.h"

#include <fmt/format.h>

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
#include "lora/library/clean_text.h"
#include "weights/formats/safetensors.h"

namespace velatura::lora::library {

namespace {

constexpr std::uint64_t kPrefixBytes = 8;
constexpr std::size_t kLongestEvidence = 300;

/// A module's name in the one spelling that all tables here are in.
std::string flat_name(std::string_view name) {
  std::string flat(name);
  std::ranges::replace(flat, '.', '_');
  return flat;
}

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

/// The extent of a tensor of the module; 0 where it is not there.
std::int64_t extent(const AdapterFile& file, const FileModule& module, Role role, int axis) {
  const auto found = module.tensors.find(role);
  if (found == module.tensors.end()) return 0;
  const weights::TensorInfo* info = file.source().find(found->second);
  return info != nullptr && axis < info->shape.rank() ? info->shape[axis] : 0;
}

/// lora-formats §3.4; 0 for kinds without a rank.
std::int64_t rank_of(const AdapterFile& file, const FileModule& module) {
  struct Row {
    Role role;
    int axis;
  };
  static constexpr auto kRows = std::to_array<Row>({{Role::down, 0},
                                                    {Role::hada_w1_b, 0},
                                                    {Role::lokr_w2_b, 0},
                                                    {Role::lokr_t2, 0},
                                                    {Role::lokr_w1_b, 0},
                                                    {Role::glora_b1, 1}});
  for (const Row& row : kRows) {
    if (const std::int64_t rank = extent(file, module, row.role, row.axis); rank > 0) return rank;
  }
  return 0;
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
  Summary(const AdapterFile& file, LibraryEntry& entry) : file_(file), entry_(entry) {}

  void run() {
    count_tensors();
    for (const FileModule& module : file_.modules()) add(module);
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
    } else if (entry_.algorithms.empty() && verdict.name.empty()) {
      entry_.problem = no_adapter();
    }
  }

  void count_tensors() {
    std::map<std::string, std::int64_t> types;
    for (const weights::TensorInfo& info : file_.source().tensors()) {
      ++types[std::string(velatura::to_string(info.dtype))];
      entry_.parameters += static_cast<std::uint64_t>(info.shape.count());
    }
    entry_.tensors = static_cast<int>(file_.source().tensors().size());
    entry_.types = by_frequency(types);
  }

  void add(const FileModule& module) {
    const std::string algorithm = algorithm_of(module);
    if (algorithm.empty()) return;
    ++algorithms_[algorithm];
    ++entry_.modules;
    if (const std::int64_t rank = rank_of(file_, module); rank > 0) ++ranks_[rank];
    const std::string flat = flat_name(module.name);
    targets_.insert(target_of(module, flat));
    add_block(flat);
  }

  std::string_view target_of(const FileModule& module, std::string_view flat) {
    if (is_text_encoder(flat)) return "text_encoder";
    if (extent(file_, module, Role::down, 3) > 1 || module.tensors.contains(Role::mid))
      return "conv";
    // A file has hundreds of modules and some dozen kinds of names.
    const auto [known, fresh] = target_by_pattern_.emplace(without_digits(flat), "");
    if (fresh) known->second = target_by_name(known->first);
    return known->second;
  }

  static std::string without_digits(std::string_view flat) {
    std::string pattern;
    pattern.reserve(flat.size());
    for (const char letter : flat) {
      // Of the digits only those that tables ask for: "linear1" and "linear2" differ.
      if (letter < '0' || letter > '9' || pattern.ends_with("linear") || pattern.ends_with("norm"))
        pattern += letter;
    }
    return pattern;
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

  void add_block(std::string_view flat) {
    const std::string prefix = is_text_encoder(flat) ? "text_encoder." : "";
    for (const std::string_view kind : kSingleBlocks) {
      if (flat.find(kind) != flat.npos) {
        blocks_[std::string(kind)];
        return;
      }
    }
    for (const std::string_view kind : kBlockKinds) {
      if (const int number = block_number(flat, kind); number >= 0) {
        blocks_[prefix + std::string(kind)].insert(number);
        return;
      }
    }
  }

  std::string no_adapter() const {
    if (file_.source().tensors().empty()) return "the file holds no tensors";
    return fmt::format("no tensor is named as an adapter's ({}, the first \"{}\")",
                       entry_.tensors == 1 ? "1 tensor" : fmt::format("{} tensors", entry_.tensors),
                       clean_line(file_.source().tensors().front().name, 120));
  }

  /// As make_delta() names it, without making anything.
  static std::string algorithm_of(const FileModule& module) {
    const auto has = [&](Role role) { return module.tensors.contains(role); };
    const bool is_dora = has(Role::dora_scale) || has(Role::magnitude_vector);
    for (const Algorithm& algorithm : algorithms()) {
      if (std::ranges::all_of(algorithm.needs, has))
        return (is_dora ? "DoRA " : "") + std::string(algorithm.name);
    }
    return {};
  }

  const AdapterFile& file_;
  LibraryEntry& entry_;
  std::map<std::string, std::int64_t> algorithms_;
  std::map<std::int64_t, std::int64_t> ranks_;
  std::set<std::string_view> targets_;
  std::unordered_map<std::string, std::string_view> target_by_pattern_;
  std::map<std::string, std::set<int>> blocks_;
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

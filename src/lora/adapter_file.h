// An adapter file as it is: modules under the names the file uses, each with its tensors by role.
// Not here: what the names mean on a model (dialects/, bind/) and what the tensors compute
// (algorithms/).
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "weights/source.h"

namespace velatura::lora {

/// What a tensor does in its module. The spellings stand in the suffix table of adapter_file.cc
/// (lora-formats §0).
enum class Role {
  down,
  up,
  mid,
  alpha,
  scale,
  scalar,
  down_bias,
  up_bias,
  dora_scale,
  hada_w1_a,
  hada_w1_b,
  hada_w2_a,
  hada_w2_b,
  hada_t1,
  hada_t2,
  lokr_w1,
  lokr_w1_a,
  lokr_w1_b,
  lokr_w2,
  lokr_w2_a,
  lokr_w2_b,
  lokr_t2,
  glora_a1,
  glora_a2,
  glora_b1,
  glora_b2,
  ia3,
  ia3_on_input,
  oft,
  rescale,
  diff,
  diff_b,
  norm_w,
  norm_b,
  set_weight,
  reshape_weight,
  sparse,
};
std::string_view to_string(Role role);

/// A tensor name split: "lora_unet_…_to_q" and down, say.
struct SplitName {
  std::string module;
  Role role;
};
/// The longest suffix that the grammar knows; nullopt for a name that is no adapter tensor.
std::optional<SplitName> split_name(std::string_view tensor);

/// The tensors of one module of the file, by role. Values are names in the source.
struct FileModule {
  std::string name;
  std::map<Role, std::string> tensors;
};

/// LoraConfig fields that live outside the tensors: adapter_config.json beside a PEFT file,
/// `lora_adapter_metadata` or a single `alpha` in the header (lora-formats §4.6).
struct PeftScaling {
  std::optional<double> alpha;
  bool rank_stabilised = false;  ///< scale α/√r instead of α/r (Kalajdzievski 2023)
  std::map<std::string, double> alpha_pattern;  ///< pattern of module names → α
};

/// Opened, grouped, checked for its structure. Immutable.
class AdapterFile {
 public:
  /// Reads the header, groups the tensors, hashes the content. Throws bad_file / not_found /
  /// unsupported.
  static std::shared_ptr<const AdapterFile> open(const std::filesystem::path& path);

  const std::filesystem::path& path() const { return path_; }
  const std::string& stem() const {
    return stem_;
  }  ///< file name without extension: what tags call it
  const weights::Source& source() const { return *source_; }
  const std::vector<FileModule>& modules() const {
    return modules_;
  }  ///< in file order of their first tensor
  /// Tensors whose name no suffix explains.
  const std::vector<std::string>& unexplained() const { return unexplained_; }
  /// A module whose role was given twice, by two spellings: the later tensor's name.
  const std::vector<std::string>& duplicated() const { return duplicated_; }
  /// 128-bit XXH3 over sorted names, types, shapes and bytes: the identity of the adapter, whatever
  /// the file is called.
  const std::string& content_hash() const { return content_hash_; }
  /// Scaling for `component` ("unet", "text_encoder" …) from outside the tensors, or nullopt.
  const PeftScaling* peft_scaling(std::string_view component) const;

 private:
  AdapterFile() = default;
  void group();
  void hash();
  void read_peft_scaling();
  std::filesystem::path path_;
  std::string stem_;
  std::shared_ptr<const weights::Source> source_;
  std::vector<FileModule> modules_;
  std::vector<std::string> unexplained_, duplicated_;
  std::string content_hash_;
  std::map<std::string, PeftScaling, std::less<>> peft_;  ///< "" applies to every component
};

}  // namespace velatura::lora

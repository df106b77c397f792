// An adapter file as it is: modules under the names the file uses, each with its tensors by role.
// Not here: what the names mean on a model (dialects/, bind/) and what the tensors compute
// (algorithms/).
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "lora/peft_scaling.h"
#include "lora/suffix.h"
#include "weights/source.h"

namespace velatura::lora {

/// The tensors of one module of the file, by role. Values are names in the source.
struct FileModule {
  std::string name;
  std::map<Role, std::string> tensors;
  std::map<int, std::string> numbered;  ///< of Role::oft_list, whose first stands in `tensors` too
};

/// Vectors for a new word that a file brings along (lora-formats §1.16, §1.18).
struct BundledEmbedding {
  std::string
      name;  ///< what prompts call it: "<s1>", or the name between "bundle_emb." and the rest
  /// Inner key ("clip_l", "string_to_param.*"; empty for a lone vector) and the tensor's name.
  std::map<std::string, std::string> tensors;
};

/// A tensor whose role its module already has, through another spelling.
struct Repeated {
  std::string tensor;
  /// The tensor that has the role: a name of the file's source, of which thousands may speak.
  const std::string* first = nullptr;
};

/// Opened and grouped. Immutable, thread-safe.
class AdapterFile {
 public:
  /// Reads the header and groups the tensors. A folder stands for the weights that
  /// PEFT and diffusers save into it. Throws bad_file, not_found, unsupported.
  static std::shared_ptr<const AdapterFile> open(const std::filesystem::path& path);
  /// The same for tensors from elsewhere; `path` names them, and adapter_config.json is looked for
  /// beside it.
  static std::shared_ptr<const AdapterFile> from_source(
      std::shared_ptr<const weights::Source> source, const std::filesystem::path& path);

  const std::filesystem::path& path() const { return path_; }
  /// File name without extension, or the folder's name: what tags call it.
  const std::string& stem() const { return stem_; }
  const weights::Source& source() const { return *source_; }
  /// In the order of their first tensors.
  const std::vector<FileModule>& modules() const { return modules_; }
  /// Tensors whose name no suffix explains.
  const std::vector<std::string>& unexplained() const { return unexplained_; }
  const std::vector<Repeated>& repeated() const { return repeated_; }
  /// Sorted by name. Their tensors are in no module.
  const std::vector<BundledEmbedding>& embeddings() const { return embeddings_; }
  /// Whether modules are told by their place in a list alone: the first trainer's layout
  /// (lora-formats §1.18). They are called "unet:0", "text_encoder:0" then.
  bool is_ordered() const { return !ordered_.empty(); }
  /// What a NameIndex knows the module by: its name, or with the length of its list behind it, on
  /// which an ordered module's place depends ("unet:0 of 144").
  std::string lookup_name(const FileModule& module) const;
  /// 128-bit XXH3 over sorted names, types, shapes and bytes, and over the scaling that stands
  /// outside the tensors: the identity of the adapter, whatever the file is called. The first call
  /// reads the file.
  const std::string& content_hash() const;
  /// Scaling for `component` ("unet", "text_encoder") from outside the tensors, or null.
  const PeftScaling* peft_scaling(std::string_view component) const;

 private:
  AdapterFile() = default;
  void group();
  bool take_embedding(const std::string& tensor,
                      std::map<std::string, BundledEmbedding>& embeddings) const;
  bool group_list();
  void count_ordered();
  void find_ia3_vectors(const std::unordered_map<std::string, std::size_t>& index);
  void read_peft_scaling();
  std::string hash() const;
  std::filesystem::path path_;
  std::string stem_;
  std::shared_ptr<const weights::Source> source_;
  std::vector<FileModule> modules_;
  std::vector<std::string> unexplained_;
  std::vector<Repeated> repeated_;
  std::vector<BundledEmbedding> embeddings_;
  std::map<std::string, int, std::less<>> ordered_;  ///< "unet" → modules in its list
  struct LazyHash {
    std::once_flag once;
    std::string text;
  };
  std::shared_ptr<LazyHash> content_hash_ = std::make_shared<LazyHash>();
  std::map<std::string, PeftScaling, std::less<>> peft_;  ///< "" applies to every component
};

/// Whether two tensors of the file have the same type, shape and bytes.
bool same_bytes(const AdapterFile& file, const std::string& a, const std::string& b);

}  // namespace velatura::lora

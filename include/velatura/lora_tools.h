// Tools over adapter files: what a file is and does, without running a model. One function a tool.
// Not here: applying adapters (engine.h), finding them in folders (library.h).
#pragma once

#include <cstddef>
#include <filesystem>
#include <functional>
#include <span>
#include <stop_token>
#include <string>
#include <vector>

namespace velatura {

/// The model that a tool looks at a file with.
struct LoraModel {
  /// A checkpoint, a diffusers folder, or a name found in the model folders. Empty: the published
  /// model of the family that the file shows, of which only names and shapes are known.
  std::string name;
  std::vector<std::filesystem::path> model_dirs;  ///< as EngineOptions::model_dirs
};

struct LoraCheckOptions {
  LoraModel model;
  /// Look at every value: NaN, zeros, subnormal numbers. Without, zeros count as any number; what
  /// is not finite still cannot be used.
  bool values = true;
  bool verbose = false;  ///< the text has every module and every tensor
  /// What of the result to fill: of a file with a million tensors either may take long.
  bool text = true, json = true;
};

struct LoraCheck {
  /// From the best to the worst. Missing: there is no such file, and `text` is that alone.
  enum class Verdict { all_bound, with_notes, refused, missing };
  Verdict verdict = Verdict::refused;
  std::string text;  ///< for people
  /// One object: family, dialect, modules, tensors [{name, target, fate, reason}], then findings,
  /// algorithms, ranks, programs.
  std::string json;
};

/// What becomes of every tensor of a file, what is strange about it, and what other programs would
/// do with it. What is wrong with the file is in the result; throws not_found, bad_file,
/// unsupported for what is wrong with the model, cancelled after a stop was asked for.
LoraCheck check_lora(const std::filesystem::path& file, const LoraCheckOptions& options = {},
                     std::stop_token stop = {});
/// Several, in their order; what is known of models is read once.
std::vector<LoraCheck> check_loras(std::span<const std::filesystem::path> files,
                                   const LoraCheckOptions& options = {}, std::stop_token stop = {});

/// How strongly an adapter changes one block of the model.
struct LoraBlock {
  std::string component;  ///< "unet", "te"
  std::string name;       ///< as in lists of block weights: "BASE", "IN04", "D07", "L12"
  int modules = 0;
  double norm = 0;      ///< Frobenius norm of ΔW over the block's layers, at strength 1
  double relative = 0;  ///< to the norm of these layers' weights; 0 where no weights are known
};

struct LoraPage {
  std::string text;               ///< all but the blocks
  std::vector<LoraBlock> blocks;  ///< in the order of lists of block weights
  bool is_relative = false;       ///< whether LoraBlock::relative is known
  std::string remark;             ///< what the blocks leave out; mostly empty
  std::string json;               ///< one object with all of it
};

/// The friendly page of a file. Throws not_found, bad_file, unsupported; cancelled.
LoraPage describe_lora(const std::filesystem::path& file, const LoraModel& model = {},
                       std::stop_token stop = {});

struct LoraCompareOptions {
  LoraModel model;
  bool verbose = false;  ///< the text has every layer
};

struct LoraComparison {
  std::string text;  ///< for people
  /// One object: model, files, then for all layers, for `blocks` and for every layer (`modules`)
  /// norms, shares of the energy, cosines of pairs, and the energy of the sum to that of each
  /// alone.
  std::string json;
};

/// What two files or more do to the layers they share, at strength 1. Throws not_found, bad_file,
/// unsupported; invalid_argument for fewer than two; mismatch for files of different families;
/// cancelled.
LoraComparison compare_loras(std::span<const std::filesystem::path> files,
                             const LoraCompareOptions& options = {}, std::stop_token stop = {});

struct LoraConvertOptions {
  LoraModel model;
  std::string to = "kohya";   ///< kohya, diffusers (peft), comfy
  std::string type;           ///< f32, f16, bf16 for all floating tensors; empty: as they are
  bool fold_alpha = false;    ///< multiply α/r into the factors, write no alpha
  bool dense = false;         ///< what the form cannot hold becomes a full difference
  int rank = 0;               ///< … or the nearest LoRA of this rank; 0: neither, it is refused
  bool drop_unknown = false;  ///< leave out what nothing explains instead of refusing the file
  /// Modules computed anew so far, of how many: for `dense` and `rank`, from the calling thread.
  std::function<void(std::size_t done, std::size_t total)> on_progress{};
};

struct LoraConversion {
  int modules = 0, tensors = 0;    ///< written
  std::vector<std::string> notes;  ///< what is not as it was
  std::string json;                ///< one object with all of it, and the form
};

/// Writes `file` to `output` in another form, whole or not at all; metadata is kept. Factors are
/// moved, cut and joined, not computed anew: there and back gives the same bits. Throws not_found,
/// bad_file, io; unsupported naming the modules that the form cannot hold; mismatch where tensors
/// would be lost or the file is no adapter of ours; cancelled, and nothing is written.
LoraConversion convert_lora(const std::filesystem::path& file, const std::filesystem::path& output,
                            const LoraConvertOptions& options = {}, std::stop_token stop = {});

}  // namespace velatura

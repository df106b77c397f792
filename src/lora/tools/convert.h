// One adapter file in another form: the same changes under other names, fused or split as the form
// has its projections (lora-formats §2.8, §6.7). Not here: the forms' names (forms.h), reading and
// writing files.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lora/tools/check.h"
#include "lora/tools/forms.h"
#include "lora/tools/watch.h"
#include "weights/formats/writer.h"

namespace velatura::lora::tools {

struct ConvertOptions {
  Form form = Form::kohya;
  std::optional<DType> type;  ///< f32, f16, bf16: of all floating tensors; absent: as they are
  /// No alpha in the result: α/r goes into the factors, split between them by powers of two
  /// (lora-formats §2.8).
  bool fold_alpha = false;
  /// What the form cannot hold becomes a full difference …
  bool dense = false;
  /// … or a LoRA of this rank, the nearest in the Frobenius norm. 0: neither, it is refused.
  std::int64_t rank = 0;
  /// Tensors that nothing explains are left out instead of refusing the file.
  bool drop_unknown = false;
};

struct Conversion {
  std::vector<weights::NamedTensor> tensors;  ///< in the order that safetensors files have
  std::map<std::string, std::string> metadata;
  int modules = 0;                 ///< written
  int substituted = 0;             ///< modules of the file that `dense` or `rank` computed anew
  std::vector<std::string> notes;  ///< what is not as it was
};

/// `account` is of a file that is used, on a model that has its modules. Factors are moved, cut and
/// joined, never computed anew, but for `type`, `fold_alpha`, `dense` and `rank`: a LoRA that goes
/// to another form and back has the same bits. Throws unsupported naming the modules that the form
/// cannot hold, or whose change depends on weights that the model has not; mismatch where tensors
/// would be lost; cancelled. `watch` hears of the modules computed anew.
Conversion convert(const Account& account, const ConvertOptions& options, const Watch& watch = {});

}  // namespace velatura::lora::tools

// An adapter file on a loaded model: which layer gets what, and a full account of every tensor.
#pragma once

#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "lora/algorithms/algorithm.h"
#include "lora/bind/names.h"

namespace velatura::lora {

enum class Fate {
  bound,    ///< used
  note,     ///< used or harmless, but worth saying
  ignored,  ///< has no effect by nature (an alpha without matrices, a second copy)
  refused,  ///< not used, with the reason
};
std::string_view to_string(Fate fate);

struct TensorFate {
  std::string name;
  std::vector<std::string> targets;  ///< "<component>.<canonical parameter>"; none where unknown
  Fate fate = Fate::bound;
  std::string reason;  ///< empty when bound plainly
};

/// Every tensor of the file appears exactly once in `tensors`, in file order.
struct BindReport {
  std::string file;                         ///< file name without folders
  std::string remark;                       ///< what detection could not tell; mostly empty
  std::vector<std::string> dialects;        ///< those that explained at least one bound module
  std::map<std::string, int> modules;       ///< bound modules of the file per component
  std::map<std::string, int> algorithms;    ///< bound modules per algorithm
  std::int64_t min_rank = 0, max_rank = 0;  ///< of the bound modules
  std::vector<TensorFate> tensors;

  int bound_modules() const;
  int count(Fate fate) const;
  /// "ink.safetensors: 150 modules of unet, LoRA, rank 8 (kohya); all 450 tensors bound"
  std::string summary() const;
};

/// One layer's share of one module of the file.
struct BoundModule {
  Target target;
  std::shared_ptr<const ModuleDelta> delta;  ///< of the layer's own rows
  /// The whole that the file speaks of: whose pristine weight the delta asks for.
  std::shared_ptr<const Placement> placement;
  std::string tensor;  ///< the first of the file's that it is made of
};

/// The result: immutable, shared by every set that uses the adapter on this model.
struct BoundAdapter {
  std::shared_ptr<const AdapterFile> file;
  /// At most one a layer, and one for its bias alone; in file order.
  std::vector<BoundModule> modules;
  BindReport report;
};

/// Binds all that fits and reports the rest. Throws mismatch when the file was made for another
/// family or is a file of another kind, naming it and the tensor that shows it, even where single
/// layers would fit by chance; mismatch when not one module fits, naming the nearest known name. A
/// component whose text is of another width than the file's is refused whole. The components' trees
/// outlive the result.
std::shared_ptr<const BoundAdapter> bind(std::shared_ptr<const AdapterFile> file,
                                         std::span<const Component> components,
                                         const NameIndex& names);

/// The same without the last error: where not one module fits, the report alone says why. The
/// caller's own: who needs the report alone takes it out, instead of a copy of its million lines.
std::shared_ptr<BoundAdapter> bind_or_account(std::shared_ptr<const AdapterFile> file,
                                              std::span<const Component> components,
                                              const NameIndex& names);

}  // namespace velatura::lora

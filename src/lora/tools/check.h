// What becomes of an adapter file on a model, and what is to be known of it: the whole account
// behind `velatura lora check`. Not here: which model (the caller hands over its names), how the
// account is written (check_text.h).
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/stop_token.h"
#include "lora/bind/bind.h"
#include "lora/bind/family.h"
#include "lora/tools/findings.h"
#include "lora/tools/modules.h"
#include "lora/tools/programs.h"

namespace velatura::lora::tools {

/// A model to look at a file with. Movable; the index lives behind a pointer of its own.
struct ModelNames {
  std::string family;  ///< "sd15"
  std::string title;   ///< "the published SD1.5", "models/toy"
  std::vector<Component> components;
  std::shared_ptr<const NameIndex> index;
};

struct Account {
  std::string file;      ///< file name without folders
  std::string family;    ///< "sd15", "sdxl", "flux", "zimage"; empty where it is none of them
  std::string foreign;   ///< the family or kind of file that it is instead, by name
  std::string evidence;  ///< the deciding tensor
  std::string model;     ///< ModelNames::title; empty where it came to none
  std::string refusal;   ///< why nothing of it is used; empty where something is
  BindReport report;     ///< of a refused file: every tensor refused
  std::vector<ModuleView> modules;
  std::vector<Finding> findings;
  std::vector<ProgramVerdict> programs;

  bool is_clean() const;  ///< every tensor bound, and nothing to warn of

  // What `modules` points into.
  std::shared_ptr<const AdapterFile> source;  ///< null where the file could not be read
  std::shared_ptr<const BoundAdapter> bound;  ///< null where refused; its report stands above
  std::shared_ptr<const ModelNames> names;
};

/// The account of `file` on `model`. Throws cancelled.
Account account_for(std::shared_ptr<const AdapterFile> file,
                    std::shared_ptr<const ModelNames> model, bool look_at_values,
                    const StopToken& stop = {});

/// How many modules of `file` bind to the model; 0 where it is refused.
int fitting_modules(std::shared_ptr<const AdapterFile> file, const ModelNames& model);

/// Takes back what binding noted of matrices that are all zero: the account is then of names,
/// shapes and alphas, as far as the file can be used at all.
void forget_zeros(Account& account);

/// Of a file that no model is asked for: it cannot be read (`source` null), or is none of our
/// families'.
Account account_of_refused(std::shared_ptr<const AdapterFile> source, std::string file_name,
                           std::string reason);

}  // namespace velatura::lora::tools

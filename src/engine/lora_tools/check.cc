// Which model a file is checked on, and the account of it.
#include <fmt/format.h>

#include <array>
#include <map>

#include "base/error.h"
#include "engine/lora_tools/model_names.h"
#include "lora/tools/check_text.h"
#include "models/families.h"

namespace velatura {

namespace fs = std::filesystem;

namespace {

using lora::tools::Account;
using lora::tools::ModelNames;

class Checker {
 public:
  explicit Checker(const LoraCheckOptions& options) : options_(options) {
    if (!options.model.name.empty()) given_ = engine::names_of(options.model);
  }

  LoraCheck check(const fs::path& file) {
    const Account account = account_of(file);
    return {.verdict = !account.refusal.empty() ? LoraCheck::Verdict::refused
                       : account.is_clean()     ? LoraCheck::Verdict::all_bound
                                                : LoraCheck::Verdict::with_notes,
            .text = to_text(account, options_.verbose),
            .json = to_json(account)};
  }

 private:
  Account account_of(const fs::path& file) {
    std::shared_ptr<const lora::AdapterFile> adapter;
    try {
      adapter = lora::AdapterFile::open(engine::find_adapter(file, options_.model));
    } catch (const Error& error) {
      if (error.kind() == ErrorKind::internal || error.kind() == ErrorKind::cancelled) throw;
      return lora::tools::account_of_refused(nullptr, file.filename().string(), error.what());
    }
    if (given_) return lora::tools::account_for(adapter, given_, options_.values);
    const lora::FamilyVerdict verdict = lora::detect_family(*adapter);
    if (!verdict.id.empty() && verdict.is_adapter) {
      Account account = lora::tools::account_for(adapter, published(verdict.id), options_.values);
      if (!account.refusal.empty())
        account.refusal += "; this is " + account.model + ": --model MODEL checks against another";
      return account;
    }
    const std::string name = adapter->path().filename().string();
    if (!verdict.name.empty()) {
      return lora::tools::account_of_refused(
          adapter, name,
          fmt::format("it is {}{} ({}); adapters of SD1.5, SDXL, FLUX.1 and Z-Image can be used",
                      verdict.is_adapter ? "an adapter of " : "no adapter: ", verdict.name,
                      verdict.evidence));
    }
    return best_of_all(adapter);
  }

  /// Nothing in the header decides: the family on which most of it binds.
  Account best_of_all(const std::shared_ptr<const lora::AdapterFile>& adapter) {
    Account best;
    for (const models::FamilyRow& family : models::families()) {
      Account account =
          lora::tools::account_for(adapter, published(std::string(family.id)), options_.values);
      const bool is_first = &family == models::families().data();
      if (is_first || account.report.bound_modules() > best.report.bound_modules())
        best = std::move(account);
    }
    if (best.refusal.empty()) return best;
    return lora::tools::account_of_refused(
        adapter, best.file,
        "nothing in it shows which model it is for, and no family "
        "has its names: " +
            best.refusal);
  }

  std::shared_ptr<const ModelNames> published(const std::string& family) {
    auto& names = published_[family];
    if (!names) names = engine::published_names(family);
    return names;
  }

  const LoraCheckOptions& options_;
  std::shared_ptr<const ModelNames> given_;
  std::map<std::string, std::shared_ptr<const ModelNames>> published_;
};

}  // namespace

LoraCheck check_lora(const fs::path& file, const LoraCheckOptions& options) {
  return Checker(options).check(file);
}

std::vector<LoraCheck> check_loras(std::span<const fs::path> files,
                                   const LoraCheckOptions& options) {
  Checker checker(options);
  std::vector<LoraCheck> checks;
  for (const fs::path& file : files) checks.push_back(checker.check(file));
  return checks;
}

}  // namespace velatura

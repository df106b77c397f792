// Which model a file is checked on, and the account of it.
#include <fmt/format.h>

#include <array>
#include <map>

#include "base/error.h"
#include "base/stop_token.h"
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
  Checker(const LoraCheckOptions& options, std::stop_token stop)
      : options_(options), stop_(std::move(stop)) {
    if (!options.model.name.empty()) given_ = engine::names_of(options.model);
  }

  LoraCheck check(const fs::path& file) {
    throw_if_stopped(stop_);
    fs::path path;
    try {
      path = engine::find_adapter(file, options_.model);
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::not_found) throw;
      return {
          .verdict = LoraCheck::Verdict::missing,
          .text = error.what(),
          .json = to_json(lora::tools::account_of_refused(nullptr, file.string(), error.what()))};
    }
    Account account = account_of(path, file);
    if (!options_.values) lora::tools::forget_zeros(account);
    return {.verdict = !account.refusal.empty() ? LoraCheck::Verdict::refused
                       : account.is_clean()     ? LoraCheck::Verdict::all_bound
                                                : LoraCheck::Verdict::with_notes,
            .text = options_.text ? to_text(account, options_.verbose) : std::string(),
            .json = options_.json ? to_json(account) : std::string()};
  }

 private:
  Account account_on(const std::shared_ptr<const lora::AdapterFile>& adapter,
                     const std::shared_ptr<const ModelNames>& names) {
    return lora::tools::account_for(adapter, names, options_.values, stop_);
  }

  /// `typed` is what the user called `file`.
  Account account_of(const fs::path& file, const fs::path& typed) {
    std::shared_ptr<const lora::AdapterFile> adapter;
    try {
      adapter = lora::AdapterFile::open(file);
    } catch (const Error& error) {
      if (error.kind() == ErrorKind::internal || error.kind() == ErrorKind::cancelled) throw;
      return lora::tools::account_of_refused(nullptr, file.filename().string(), error.what());
    }
    if (given_) return account_on(adapter, given_);
    const lora::FamilyVerdict verdict = lora::detect_family(*adapter);
    if (!verdict.id.empty() && verdict.is_adapter) {
      Account account = account_on(adapter, published(verdict.id));
      if (account.refusal.empty()) return account;
      const std::string hint = engine::hint_at_model(
          *adapter, options_.model, std::array<std::string, 2>{"check", typed.string()});
      account.refusal += fmt::format("; this is {}; {}", account.model,
                                     hint.empty() ? "--model MODEL checks against another" : hint);
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
    std::shared_ptr<const ModelNames> best;
    int most = -1;
    for (const models::FamilyRow& family : models::families()) {
      throw_if_stopped(stop_);
      const auto names = published(std::string(family.id));
      const int fitting = lora::tools::fitting_modules(adapter, *names);
      if (fitting <= most) continue;
      most = fitting;
      best = names;
    }
    std::string refusal;
    {
      Account account = account_on(adapter, best);
      if (account.refusal.empty()) return account;
      refusal = std::move(account.refusal);
    }  // a million tensors' account, which another takes the place of
    return lora::tools::account_of_refused(
        adapter, adapter->path().filename().string(),
        "nothing in it shows which model it is for, and no family has its names: " + refusal);
  }

  std::shared_ptr<const ModelNames> published(const std::string& family) {
    auto& names = published_[family];
    if (!names) names = engine::published_names(family);
    return names;
  }

  const LoraCheckOptions& options_;
  std::stop_token stop_;
  std::shared_ptr<const ModelNames> given_;
  std::map<std::string, std::shared_ptr<const ModelNames>> published_;
};

}  // namespace

LoraCheck check_lora(const fs::path& file, const LoraCheckOptions& options, std::stop_token stop) {
  return Checker(options, std::move(stop)).check(file);
}

std::vector<LoraCheck> check_loras(std::span<const fs::path> files, const LoraCheckOptions& options,
                                   std::stop_token stop) {
  Checker checker(options, std::move(stop));
  std::vector<LoraCheck> checks;
  for (const fs::path& file : files) checks.push_back(checker.check(file));
  return checks;
}

}  // namespace velatura

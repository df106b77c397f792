#include "lora/tools/programs.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>
#include <set>
#include <tuple>

#include "lora/tools/program_tables.h"

namespace velatura::lora::tools {

namespace {

/// "DoRA LoKr + bias difference" → "LoKr".
std::string_view plain_kind(std::string_view algorithm) {
  constexpr std::string_view kDora = "DoRA ";
  if (algorithm.starts_with(kDora)) algorithm.remove_prefix(kDora.size());
  return algorithm.substr(0, algorithm.find(" + "));
}

unsigned family_bit(std::string_view family) {
  constexpr auto kIds = std::to_array<std::string_view>({"sd15", "sdxl", "flux", "zimage"});
  const auto found = std::ranges::find(kIds, family);
  return found == kIds.end() ? 0u : 1u << (found - kIds.begin());
}

struct Seen {
  const ModuleView* module;
  Spelling spelling;
  bool is_text;
};

FileFacts facts_of(const AdapterFile& file, std::span<const Seen> seen) {
  FileFacts facts;
  std::set<std::int64_t> ranks;
  bool has_alpha = false;
  facts.is_kohya_alone = !seen.empty();
  for (const auto& [module, spelling, is_text] : seen) {
    const std::string_view name = module->name;
    facts.is_kohya_alone =
        facts.is_kohya_alone && (name.starts_with("lora_unet_") || name.starts_with("lora_te_") ||
                                 name.starts_with("lora_te1_") || name.starts_with("lora_te2_"));
    if (spelling.prefix == "lora_unet_") {
      facts.has_flat_canonical |= spelling.is_canonical && !spelling.is_native;
      facts.has_flat_native |= spelling.is_native && !spelling.is_canonical;
    }
    if (module->scaled_rank() > 0) ranks.insert(module->rank);
    has_alpha |= module->alpha.has_value();
    facts.has_outer_scale |= !module->alpha && module->component != nullptr &&
                             file.peft_scaling(peft_component(*module->component)) != nullptr;
  }
  facts.is_mixed_without_alpha = ranks.size() > 1 && !has_alpha && !facts.has_outer_scale;
  return facts;
}

bool knows(const Program& program, unsigned family, const Seen& seen) {
  return std::ranges::any_of(program.spellings, [&](const SpellingRow& row) {
    if ((row.families & family) == 0 || row.is_text != seen.is_text ||
        row.prefix != seen.spelling.prefix)
      return false;
    return (row.namings & kAnyForm) == kAnyForm ||
           ((row.namings & kCanonical) != 0 && seen.spelling.is_canonical) ||
           ((row.namings & kNative) != 0 && seen.spelling.is_native);
  });
}

class Judge {
 public:
  Judge(const Program& program, unsigned family, const FileFacts& facts)
      : program_(program), family_(family), facts_(facts) {
    verdict_.program = std::string(program.name);
  }

  ProgramVerdict judge(std::span<const Seen> seen) {
    if ((program_.families & family_) == 0) {
      add(Effect::refused, "it does not run this family's models", program_.source);
      verdict_.is_refused = true;
    } else {
      for (const Seen& one : seen) judge_module(one);
    }
    const auto refused = std::ranges::find(
        counts_, Effect::refused, [](const auto& entry) { return std::get<0>(entry.first); });
    verdict_.is_refused = refused != counts_.end();
    if (program_.most_unknown_keys > 0 && unknown_keys_ > program_.most_unknown_keys) {
      add(Effect::refused,
          fmt::format("more than {} of its keys are unknown there", program_.most_unknown_keys),
          "Forge; lora-formats 3.5");
      verdict_.is_refused = true;
    }
    if (verdict_.is_refused || (verdict_.loaded == 0 && verdict_.lost > 0)) {
      verdict_.is_refused = true;
      verdict_.lost += verdict_.loaded;
      verdict_.loaded = 0;
    }
    for (const auto& [key, count] : counts_) {
      const auto& [effect, reason, source] = key;
      verdict_.remarks.push_back(
          {.effect = effect, .modules = count, .reason = reason, .source = source});
    }
    return std::move(verdict_);
  }

 private:
  void add(Effect effect, std::string reason, std::string_view source) {
    ++counts_[{effect, std::move(reason), std::string(source)}];
  }

  void judge_module(const Seen& seen) {
    const ModuleView& module = *seen.module;
    if (!knows(program_, family_, seen)) return lose_name(seen);
    bool is_lost = false;
    const std::string_view kind = plain_kind(module.algorithm);
    for (const KindRow& row : program_.kinds) {
      if (row.kind != kind) continue;
      add(row.effect, fmt::format("{}: {}", kind, row.reason), row.source);
      is_lost |= row.effect != Effect::differs;
    }
    for (const RuleRow& row : program_.rules) {
      if ((row.families & family_) == 0 || is_lost) continue;
      if (!row.applies({module, seen.spelling, facts_})) continue;
      add(row.effect, std::string(row.reason), row.source);
      is_lost |= row.effect != Effect::differs;
    }
    ++(is_lost ? verdict_.lost : verdict_.loaded);
  }

  void lose_name(const Seen& seen) {
    ++verdict_.lost;
    unknown_keys_ += static_cast<int>(seen.module->tensors.size());
    if (seen.spelling.prefix.ends_with(':')) {
      return add(Effect::lost, "modules are told by their place in a list, without names",
                 "cloneofsimo/lora; lora-formats 1.18");
    }
    for (const LossRow& row : known_losses()) {
      const bool fits =
          row.map == program_.source && (row.families & family_) != 0 &&
          row.prefix == seen.spelling.prefix &&
          (!row.split_only || (seen.spelling.is_canonical && !seen.spelling.is_native));
      if (fits) return add(Effect::lost, std::string(row.reason), row.source);
    }
    add(Effect::lost,
        seen.spelling.prefix.empty()
            ? "its map of names has no such bare names"
            : fmt::format("its map of names has no such names behind \"{}\"", seen.spelling.prefix),
        program_.source);
  }

  const Program& program_;
  unsigned family_;
  const FileFacts& facts_;
  ProgramVerdict verdict_;
  int unknown_keys_ = 0;
  std::map<std::tuple<Effect, std::string, std::string>, int> counts_;
};

}  // namespace

std::string_view to_string(Effect effect) {
  switch (effect) {
    case Effect::differs:
      return "differs";
    case Effect::lost:
      return "lost";
    case Effect::refused:
      return "refused";
  }
  return "?";
}

std::string ProgramVerdict::summary() const {
  if (is_refused) return "loads nothing of it";
  if (lost > 0) return fmt::format("loses {} of {} modules", lost, lost + loaded);
  return remarks.empty() ? "loads all" : "loads all, not alike";
}

std::vector<ProgramVerdict> judge_programs(const AdapterFile& file, std::string_view family,
                                           std::span<const ModuleView> modules) {
  std::vector<Seen> seen;
  for (const ModuleView& module : modules) {
    if (!module.is_used()) continue;
    seen.push_back({.module = &module,
                    .spelling = spelling_of(module),
                    .is_text = weights::is_text_encoder(module.component->part)});
  }
  if (seen.empty()) return {};
  const FileFacts facts = facts_of(file, seen);
  std::vector<ProgramVerdict> verdicts;
  for (const Program& program : programs())
    verdicts.push_back(Judge(program, family_bit(family), facts).judge(seen));
  return verdicts;
}

}  // namespace velatura::lora::tools

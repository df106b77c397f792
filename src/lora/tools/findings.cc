// Findings that tensors give; those of the header are in header_findings.cc.
#include "lora/tools/findings.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <optional>

#include "base/text.h"
#include "lora/header_numbers.h"
#include "lora/tools/header_findings.h"

namespace velatura::lora::tools {

namespace {

using Findings = std::vector<Finding>;

std::string counted(std::size_t count, std::string_view noun) {
  return fmt::format("{} {}{}", count, noun, count == 1 ? "" : "s");
}

/// `names` is moved from after `text`, which quotes the first of them, was made.
void add(Findings& findings, std::string code, bool is_warning, std::string text,
         std::vector<std::string>&& names = {}) {
  findings.push_back({std::move(code), is_warning, std::move(text), std::move(names)});
}

/// "3 modules, the first \"lora_…\""
std::string with_first(std::span<const std::string> names, std::string_view noun) {
  if (names.size() == 1) return fmt::format("{} \"{}\"", noun, shortened(names.front()));
  return fmt::format("{}, the first \"{}\"", counted(names.size(), noun), shortened(names.front()));
}

/// What was counted in the module's tensor; null where it has none, or one of whole numbers.
const TensorValues* values_of(const FindingsInput& input, const ModuleView& module, Role role) {
  const std::string* tensor = module.tensor(role);
  if (tensor == nullptr || input.values == nullptr) return nullptr;
  const weights::Source& source = input.file.source();
  const std::size_t position = source.position_of(*tensor);
  return is_floating(source.tensors()[position].dtype) ? &(*input.values)[position] : nullptr;
}

/// What binding ignores by design under a name of no model's: no part of the adapter.
bool is_leftover(const ModuleView& module) {
  return module.fate == Fate::ignored && module.placement == nullptr;
}

void find_broken_values(const FindingsInput& input, Findings& findings) {
  std::vector<std::string> broken;
  std::int64_t elements = 0;
  for (std::size_t i = 0; i < input.values->size(); ++i) {
    const std::int64_t not_finite = (*input.values)[i].not_finite;
    if (not_finite == 0) continue;
    broken.push_back(input.file.source().tensors()[i].name);
    elements += not_finite;
  }
  if (broken.empty()) return;
  add(findings, "not-finite", true,
      fmt::format("NaN or infinity in {} ({} of its values): training diverged, or a number went "
                  "past the type's largest; the module is left out",
                  with_first(broken, "tensor"), elements),
      std::move(broken));
}

/// The last factors of each kind: all zero means no change.
constexpr auto kLastFactors = std::to_array<Role>(
    {Role::up, Role::up_transposed, Role::hada_w1_a, Role::hada_w1_b, Role::hada_w2_a,
     Role::hada_w2_b, Role::lokr_w1, Role::lokr_w1_a, Role::lokr_w1_b, Role::lokr_w2,
     Role::lokr_w2_a, Role::lokr_w2_b, Role::diff, Role::oft_r, Role::norm_w});

bool is_dead(const FindingsInput& input, const ModuleView& module) {
  if (!module.layers.empty()) {
    return std::ranges::all_of(module.layers,
                               [](const BoundModule* layer) { return layer->delta->is_zero(); });
  }
  return std::ranges::any_of(kLastFactors, [&](Role role) {
    const TensorValues* values = values_of(input, module, role);
    return values != nullptr && values->zeros == values->count;
  });
}

void find_dead(const FindingsInput& input, Findings& findings) {
  std::vector<std::string> dead;
  std::size_t computing = 0;
  for (const ModuleView& module : input.modules) {
    if (module.algorithm.empty() || is_leftover(module)) continue;
    ++computing;
    // A stored alpha of 0 has its own finding.
    if (is_dead(input, module) && module.alpha != 0.0) dead.push_back(module.name);
  }
  if (dead.empty()) return;
  if (dead.size() == computing) {
    add(findings, "no-effect", true,
        "every module's last matrix is zero: the file has no effect (training did not start)",
        std::move(dead));
  } else {
    add(findings, "dead-modules", true,
        fmt::format("no effect: the last matrix of {} is all zero", with_first(dead, "module")),
        std::move(dead));
  }
}

void find_doubled(const FindingsInput& input, Findings& findings) {
  std::vector<std::string> doubled;
  for (const ModuleView& module : input.modules) {
    const bool is_second = module.is_second || module.reason.starts_with("module defined twice") ||
                           module.reason.starts_with("an exact copy of");
    if (is_second) doubled.push_back(module.name);
  }
  for (const Repeated& repeated : input.file.repeated()) doubled.push_back(repeated.tensor);
  if (doubled.empty()) return;
  add(findings, "doubled", true,
      fmt::format("the same layer twice under two spellings: {}; the first is used, ComfyUI would "
                  "use the last",
                  with_first(doubled, "module")),
      std::move(doubled));
}

void find_halves(const FindingsInput& input, Findings& findings) {
  std::vector<std::string> halves, alphas;
  for (const ModuleView& module : input.modules) {
    if (!module.algorithm.empty() || is_leftover(module)) continue;
    (module.tensors.size() == 1 && module.has(Role::alpha) ? alphas : halves)
        .push_back(module.name);
  }
  if (!halves.empty()) {
    add(findings, "half-pairs", true,
        fmt::format("a matrix without its partner: {}", with_first(halves, "module")),
        std::move(halves));
  }
  if (!alphas.empty()) {
    add(findings, "lone-alphas", false,
        fmt::format("an alpha without matrices: {}", with_first(alphas, "module")),
        std::move(alphas));
  }
}

void find_ranks(const FindingsInput& input, Findings& findings) {
  std::map<std::int64_t, std::size_t> ranks;
  bool has_alpha = false;
  for (const ModuleView& module : input.modules) {
    if (is_leftover(module)) continue;
    if (module.scaled_rank() > 0) ++ranks[module.rank];
    has_alpha = has_alpha || module.alpha.has_value();
  }
  if (ranks.size() < 2) return;
  std::vector<std::string> parts;
  for (const auto& [rank, count] : ranks)
    parts.push_back(fmt::format("{} of rank {}", count, rank));
  constexpr std::size_t kMost = 6;
  const std::size_t kinds = parts.size();
  if (kinds > kMost) parts.resize(kMost);
  add(findings, "mixed-ranks", false,
      fmt::format("modules of {} ranks: {}{}{}", kinds, fmt::join(parts, ", "),
                  kinds > kMost ? ", …" : "",
                  has_alpha ? ""
                            : "; without alpha each has factor 1 here, where loaders with one "
                              "alpha for the file scale some of them"));
}

bool is_full_kronecker(const ModuleView& module) {
  return module.has(Role::lokr_w1) && module.has(Role::lokr_w2);
}

/// LyCORIS' rs_lora stores α·√r, 11 times the rank's own scale at rank 128: beyond twice that
/// nothing known to us means it.
constexpr double kFarAboveRank = 22;
/// Beyond any rank: what configurations with "dim 10000" or 1e10 write for full matrices.
constexpr double kDummyAlpha = 9999;

void find_alphas(const FindingsInput& input, Findings& findings) {
  std::vector<std::string> zero, huge, dummy;
  double largest = 0;
  for (const ModuleView& module : input.modules) {
    if (!module.alpha || module.algorithm.empty() || is_leftover(module)) continue;
    const double alpha = *module.alpha;
    if (is_full_kronecker(module)) {
      if (alpha >= kDummyAlpha) dummy.push_back(module.name);
    } else if (alpha == 0 && !module.has(Role::scale) && !module.has(Role::oft_blocks)) {
      zero.push_back(module.name);
    } else if (module.scaled_rank() > 0 &&
               alpha / static_cast<double>(module.rank) > kFarAboveRank) {
      largest = std::max(largest, alpha / static_cast<double>(module.rank));
      huge.push_back(module.name);
    }
  }
  if (!zero.empty()) {
    add(findings, "alpha-zero", true,
        fmt::format(
            "an alpha of 0: {} has no effect here, in ComfyUI and in A1111; kohya would take "
            "it for the rank",
            with_first(zero, "module")),
        std::move(zero));
  }
  if (!huge.empty()) {
    add(findings, "alpha-large", true,
        fmt::format("alpha is up to {:.4g} times the rank: {} would be very strong; strength "
                    "{:.2g} brings it to a factor of 1",
                    largest, with_first(huge, "module"), 1 / largest),
        std::move(huge));
  }
  if (!dummy.empty()) {
    add(findings, "alpha-dummy", false,
        fmt::format("LoKr of two full matrices with a placeholder alpha ({}): not used, the scale "
                    "is 1, as its trainer meant it",
                    with_first(dummy, "module")),
        std::move(dummy));
  }
}

/// Whether the pair's up matrix is non-zero in diagonal blocks alone, one for each of `slices` of
/// its rows and columns.
bool is_block_diagonal(const Tensor& up, std::int64_t slices) {
  const std::int64_t rows = up.size(0), rank = up.count() / rows;
  const Tensor values = to_f32(up);
  for (std::int64_t row = 0; row < rows; ++row) {
    const std::int64_t slice = row * slices / rows;
    const float* entry = values.data<float>() + row * rank;
    for (std::int64_t column = 0; column < rank; ++column) {
      if (column * slices / rank != slice && entry[column] != 0) return false;
    }
  }
  return true;
}

/// A fused query, key and value made by stacking three files' ranks, whose alpha was kept: a third
/// of the strength that was trained (lora-formats §5.1, sd-scripts issue 2204).
void find_thirds(const FindingsInput& input, Findings& findings) {
  constexpr std::int64_t kParts = 3;
  std::vector<std::string> weak;
  for (const ModuleView& module : input.modules) {
    const bool is_fused = module.placement != nullptr && module.placement->pieces.size() == kParts;
    if (!is_fused || !module.is_used() || !module.alpha || !module.has(Role::up)) continue;
    const bool is_third = std::abs(*module.alpha * kParts - static_cast<double>(module.rank)) <
                          0.01 * static_cast<double>(module.rank);
    if (module.rank % kParts != 0 || !is_third) continue;
    const Tensor up = input.file.source().load(*module.tensor(Role::up));
    if (up.rank() >= 1 && up.size(0) % kParts == 0 && is_block_diagonal(up, kParts))
      weak.push_back(module.name);
  }
  if (weak.empty()) return;
  add(findings, "fused-third", true,
      fmt::format("q, k and v stacked to three times the rank while alpha stayed: {} probably "
                  "applies at a third of what was trained; strength 3 on these repairs it",
                  with_first(weak, "module")),
      std::move(weak));
}

/// A file whose full matrices want their alpha after all (lora-formats §1.5, ComfyUI issue 15114).
void find_full_kronecker_alpha(const FindingsInput& input, Findings& findings) {
  std::optional<StatedScale> stated;
  std::vector<std::string> names;
  for (const ModuleView& module : input.modules) {
    if (!is_full_kronecker(module) || !module.alpha) continue;
    const auto scale = stated_scale(input.file, *module.alpha);
    if (!scale) continue;
    stated = scale;
    names.push_back(module.name);
  }
  if (names.empty()) return;
  add(findings, "lokr-scale", true,
      fmt::format(
          "LoKr of two full matrices is applied at scale 1, but the header's dim {} and "
          "alpha {} suggest that its trainer meant {:.4g}: if {} is too strong, use that as "
          "strength",
          stated->dim, stated->alpha, stated->strength(), with_first(names, "module")),
      std::move(names));
}

void find_subnormal(const FindingsInput& input, Findings& findings) {
  constexpr double kShare = 0.1;  // of the non-zero values, whose precision is then cut or gone
  std::vector<std::string> small;
  for (const ModuleView& module : input.modules) {
    for (const Role role : {Role::up, Role::up_transposed}) {
      const TensorValues* values = values_of(input, module, role);
      if (values == nullptr) continue;
      const auto used = static_cast<double>(values->count - values->zeros);
      if (used > 0 && static_cast<double>(values->subnormal) > kShare * used)
        small.push_back(*module.tensor(role));
    }
  }
  if (small.empty()) return;
  add(findings, "subnormal", true,
      fmt::format("up matrices with values below f16's normal range, {}: small updates were "
                  "rounded away when the "
                  "file was saved (sd-scripts issue 93)",
                  with_first(small, "tensor")),
      std::move(small));
}

/// Z-Image reads the second to last hidden state (lora-formats §2.3).
void find_unread_layers(const FindingsInput& input, Findings& findings) {
  std::vector<std::string> unread;
  for (const ModuleView& module : input.modules) {
    if (module.component == nullptr || module.component->part != weights::Part::qwen3) continue;
    int last = -1;
    for (const ModuleShape& layer : module.component->modules) {
      int number = -1;
      if (std::sscanf(layer.path.c_str(), "model.layers.%d.", &number) == 1)
        last = std::max(last, number);
    }
    const std::string& path = module.placement->path;
    if (path == "model.norm" || path.starts_with(fmt::format("model.layers.{}.", last)))
      unread.push_back(module.name);
  }
  if (unread.empty()) return;
  add(findings, "unread-layers", false,
      fmt::format("the text encoder's last layer is not read by Z-Image: {} has no effect",
                  with_first(unread, "module")),
      std::move(unread));
}

}  // namespace

std::vector<Finding> find_oddities(const FindingsInput& input) {
  Findings findings;
  if (input.values != nullptr) find_broken_values(input, findings);
  find_dead(input, findings);
  find_doubled(input, findings);
  find_halves(input, findings);
  find_ranks(input, findings);
  find_alphas(input, findings);
  find_thirds(input, findings);
  find_full_kronecker_alpha(input, findings);
  if (input.values != nullptr) find_subnormal(input, findings);
  find_unread_layers(input, findings);
  find_header_oddities(input, findings);
  return findings;
}

}  // namespace velatura::lora::tools

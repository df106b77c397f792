#include "lora/strength/block_weights.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

#include "base/error.h"
#include "base/text.h"
#include "lora/strength/weight_text.h"

namespace velatura::lora {

std::vector<std::string_view> split(std::string_view text, std::string_view separators) {
  std::vector<std::string_view> parts;
  while (true) {
    const std::size_t end = std::min(text.find_first_of(separators), text.size());
    parts.push_back(text.substr(0, end));
    if (end == text.size()) return parts;
    text.remove_prefix(end + 1);
  }
}

std::optional<double> number_in(std::string_view text) {
  text = trimmed(text);
  if (text.starts_with('+')) text.remove_prefix(1);
  double value = 0;
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  const bool good = !text.empty() && error == std::errc() && stop == text.data() + text.size() &&
                    std::isfinite(value);
  return good ? std::optional(value) : std::nullopt;
}

std::span<const BuiltInPreset> built_in_presets() {
  static constexpr auto kPresets = std::to_array<BuiltInPreset>({
      {"NONE", "0"},
      {"ALL", "1"},
      {"ALL0.5", "0.5"},
      {"INS", "1,1,1,1,0,0,0,0,0,0,0,0,0,0,0,0,0"},
      {"IND", "1,0,0,0,1,1,1,0,0,0,0,0,0,0,0,0,0"},
      {"INALL", "1,1,1,1,1,1,1,0,0,0,0,0,0,0,0,0,0"},
      {"MIDD", "1,0,0,0,1,1,1,1,1,1,1,1,0,0,0,0,0"},
      {"OUTD", "1,0,0,0,0,0,0,0,1,1,1,1,0,0,0,0,0"},
      {"OUTS", "1,0,0,0,0,0,0,0,0,0,0,0,1,1,1,1,1"},
      {"OUTALL", "1,0,0,0,0,0,0,0,1,1,1,1,1,1,1,1,1"},
      {"FLUXALL",
       "1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,"
       "1,"
       "1,1,1,1,1,1,1,1,1,1,1,1,1,1,1"},
  });
  return kPresets;
}

const BuiltInPreset* find_built_in(std::string_view name) {
  const auto upper = [](char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c; };
  const auto found = std::ranges::find_if(built_in_presets(), [&](const BuiltInPreset& preset) {
    return std::ranges::equal(preset.name, name, {}, {}, upper);
  });
  return found == built_in_presets().end() ? nullptr : &*found;
}

namespace {

/// SD1.5's list of 17, which built-in presets are written for: its IN and OUT blocks.
constexpr std::size_t kIn = 6, kOut = 9, kMiddle = 1 + kIn;

/// '*' any run of bytes, '?' one.
bool glob_matches(std::string_view pattern, std::string_view text) {
  std::size_t p = 0, t = 0, star = pattern.npos, star_text = 0;
  while (t < text.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      star_text = t;
    } else if (p < pattern.size() && (pattern[p] == '?' || pattern[p] == text[t])) {
      ++p;
      ++t;
    } else if (star != pattern.npos) {
      p = star + 1;
      t = ++star_text;
    } else {
      return false;
    }
  }
  return pattern.find_first_not_of('*', p) == pattern.npos;
}

bool pattern_matches(std::string_view pattern, const ModelBlocks::Module& module) {
  if (glob_matches(pattern, module.block) || glob_matches(pattern, module.path)) return true;
  if (!module.native.empty() && glob_matches(pattern, module.native)) return true;
  return glob_matches(pattern, fmt::format("{}.{}", module.component, module.path));
}

std::string with_underscores(std::string_view path) {
  std::string text(path);
  std::ranges::replace(text, '.', '_');
  return text;
}

/// Blank-separated parts, NOT first inverting.
struct Choice {
  bool inverted = false;
  std::vector<std::string_view> parts;

  explicit Choice(std::string_view text) {
    for (const std::string_view part : split(text, " \t")) {
      if (part.empty()) continue;
      if (parts.empty() && !inverted && part == "NOT") {
        inverted = true;
      } else {
        parts.push_back(part);
      }
    }
  }
  template <typename Matches>
  bool takes(const Matches& matches) const {
    return parts.empty() || std::ranges::any_of(parts, matches) != inverted;
  }
};

class Factors {
 public:
  explicit Factors(const ModelBlocks& model) : model_(model) {
    for (std::size_t i = 0; i < model.components(); ++i)
      factors_.emplace_back(model.modules(i).size(), 1.0f);
  }

  void set_blocks(std::string_view text) {
    if (trimmed(text).empty()) return;
    std::vector<double> list;
    for (const std::string_view written : split(text, ",")) {
      const std::string_view item = trimmed(written);
      const std::size_t equals = item.rfind('=');
      if (equals != item.npos) {
        if (!list.empty()) set_list(std::exchange(list, {}), text);
        set_pattern(trimmed(item.substr(0, equals)), trimmed(item.substr(equals + 1)), text);
        is_list_done_ = true;
      } else if (is_list_done_) {
        fail(ErrorKind::invalid_argument,
             "block weights \"{}\": a list or preset stands before the patterns, once", text);
      } else if (const auto value = number_in(item)) {
        list.push_back(*value);
      } else {
        set_preset(item, text);
        is_list_done_ = true;
      }
    }
    if (!list.empty()) set_list(list, text);
  }

  void set_elements(std::string_view text) {
    for (const std::string_view written : split(text, ",\n")) {
      const std::string_view rule = trimmed(written);
      if (rule.empty()) continue;
      const std::vector<std::string_view> fields = split(rule, "|");
      const auto weight = fields.size() == 3 ? number_in(fields[2]) : std::nullopt;
      if (!weight) {
        fail(ErrorKind::invalid_argument,
             "elemental block weights: '{}' is not blocks|elements|weight, as in "
             "IN05-OUT05|attn1|0.5",
             rule);
      }
      set_rule(Choice(fields[0]), Choice(fields[1]), static_cast<float>(*weight));
    }
  }

  ModelFactors take() {
    for (std::vector<float>& component : factors_) {
      if (std::ranges::all_of(component, [](float f) { return f == 1; })) component.clear();
    }
    return std::move(factors_);
  }

 private:
  template <typename Change>
  void for_each_module(const Change& change) {
    for (std::size_t i = 0; i < factors_.size(); ++i) {
      for (std::size_t layer = 0; layer < factors_[i].size(); ++layer)
        change(model_.modules(i)[layer], factors_[i][layer]);
    }
  }

  void set_everywhere(float weight) {
    for_each_module([&](const ModelBlocks::Module&, float& factor) { factor = weight; });
  }

  void set_by_block(const std::vector<std::string>& blocks, std::span<const double> values) {
    for_each_module([&](const ModelBlocks::Module& module, float& factor) {
      const auto found = std::ranges::find(blocks, module.block);
      factor = found == blocks.end()
                   ? 0.0f
                   : static_cast<float>(values[static_cast<std::size_t>(found - blocks.begin())]);
    });
  }

  void set_list(const std::vector<double>& values, std::string_view text) {
    const auto list =
        std::ranges::find(model_.lists(), values.size(), &std::vector<std::string>::size);
    if (list != model_.lists().end()) return set_by_block(*list, values);
    std::vector<std::string> lengths;
    for (const auto& blocks : model_.lists())
      lengths.push_back(fmt::format("{} ({})", blocks.size(), fmt::join(blocks, " ")));
    fail(ErrorKind::invalid_argument,
         "block weights \"{}\": {} values; this model takes lists of {}", text, values.size(),
         fmt::join(lengths, "; of "));
  }

  void set_preset(std::string_view name, std::string_view text) {
    const BuiltInPreset* preset = find_built_in(name);
    if (preset == nullptr) {
      fail(ErrorKind::invalid_argument, "block weights \"{}\": '{}' is no preset", text, name);
    }
    std::vector<double> values;
    for (const std::string_view value : split(preset->values, ","))
      values.push_back(number_in(value).value());
    if (values.size() == 1) return set_everywhere(static_cast<float>(values[0]));
    if (values.size() != kMiddle + 1 + kOut) return set_list(values, text);
    if (!model_.is_unet()) {
      fail(ErrorKind::invalid_argument,
           "block weights \"{}\": the preset {} is made for UNets; NONE, ALL, ALL0.5, lists and "
           "patterns serve this model",
           text, preset->name);
    }
    set_by_block(model_.lists().front(), spread(values));
  }

  /// A preset's values for this UNet's list of blocks with attention.
  std::vector<double> spread(const std::vector<double>& values) const {
    const std::vector<std::string>& blocks = model_.lists().front();
    const auto count = [&](std::string_view kind) {
      return static_cast<std::size_t>(std::ranges::count_if(
          blocks, [&](const std::string& block) { return block.starts_with(kind); }));
    };
    const std::size_t in = count("IN"), out = count("OUT");
    std::vector<double> result = {values[0]};
    for (std::size_t i = 0; i < in; ++i) result.push_back(values[1 + kIn * i / in]);
    result.push_back(values[kMiddle]);
    for (std::size_t i = 0; i < out; ++i) result.push_back(values[kMiddle + 1 + kOut * i / out]);
    return result;
  }

  void set_pattern(std::string_view pattern, std::string_view weight, std::string_view text) {
    const auto value = number_in(weight);
    if (!value || pattern.empty()) {
      fail(ErrorKind::invalid_argument,
           "block weights \"{}\": '{}={}' is not pattern=number, as in *attn1*=0.5", text, pattern,
           weight);
    }
    bool matched = false;
    for_each_module([&](const ModelBlocks::Module& module, float& factor) {
      if (!pattern_matches(pattern, module)) return;
      matched = true;
      factor = static_cast<float>(*value);
    });
    if (!matched) {
      fail(ErrorKind::invalid_argument,
           "block weights \"{}\": the pattern '{}' matches no block and no module; blocks are {}",
           text, pattern, fmt::join(model_.names(), " "));
    }
  }

  /// Where a block stands among the model's kinds of blocks, so that ranges need no block at their
  /// ends.
  std::pair<std::size_t, int> place_of(std::string_view block) const {
    const auto kind_of = [](std::string_view name) {
      return name.substr(0, std::min(name.find_last_not_of("0123456789") + 1, name.size()));
    };
    const std::string_view kind = kind_of(block);
    std::size_t place = 0;
    for (std::size_t i = 0; i < model_.names().size(); ++i) {
      if (i > 0 && kind_of(model_.names()[i]) != kind_of(model_.names()[i - 1])) ++place;
      if (kind_of(model_.names()[i]) != kind) continue;
      int number = 0;
      std::from_chars(block.data() + kind.size(), block.data() + block.size(), number);
      return {place, number};
    }
    fail(ErrorKind::invalid_argument,
         "elemental block weights: there is no block '{}'; blocks are {}", block,
         fmt::join(model_.names(), " "));
  }

  void set_rule(const Choice& blocks, const Choice& elements, float weight) {
    for_each_module([&](const ModelBlocks::Module& module, float& factor) {
      const bool in_block = blocks.takes([&](std::string_view part) {
        const std::size_t dash = part.find('-');
        if (dash == part.npos) return module.block.find(part) != std::string::npos;
        const auto from = place_of(part.substr(0, dash)), to = place_of(part.substr(dash + 1));
        if (module.block.empty()) return false;
        const auto here = place_of(module.block);
        return from <= here && here <= to;
      });
      const bool is_element = elements.takes([&](std::string_view part) {
        return module.path.find(part) != module.path.npos ||
               module.native.find(part) != std::string::npos ||
               with_underscores(module.path).find(part) != std::string::npos;
      });
      if (in_block && is_element) factor = weight;
    });
  }

  const ModelBlocks& model_;
  ModelFactors factors_;
  bool is_list_done_ = false;
};

}  // namespace

ModelFactors block_factors(const ModelBlocks& model, std::string_view blocks,
                           std::string_view elements) {
  Factors factors(model);
  factors.set_blocks(blocks);
  factors.set_elements(elements);
  return factors.take();
}

}  // namespace velatura::lora

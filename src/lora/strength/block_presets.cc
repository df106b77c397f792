// Presets, built in and from files, and the letters of lists.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <set>

#include "base/error.h"
#include "base/text.h"
#include "lora/strength/block_weights.h"
#include "lora/strength/weight_text.h"

namespace velatura::lora {

namespace {

using Table = std::map<std::string, std::string, std::less<>>;

const std::string* find(const Table& table, std::string_view name) {
  if (const auto exact = table.find(name); exact != table.end()) return &exact->second;
  const std::string folded = lowered(name);
  for (const auto& [known, value] : table) {
    if (lowered(known) == folded) return &value;
  }
  return nullptr;
}

std::vector<std::string> keys(const Table& table) {
  std::vector<std::string> names;
  for (const auto& [name, value] : table) names.push_back(name);
  return names;
}

/// Numbers in [0, 1) from a seed and a salt: FNV-1a of the salt, then SplitMix64 (Steele, Lea and
/// Flood 2014). The same on every machine.
class Draw {
 public:
  explicit Draw(const BlockVariables& variables) : state_(variables.seed) {
    std::uint64_t hash = 0xcbf29ce484222325u;
    for (const char c : variables.salt) {
      hash ^= static_cast<unsigned char>(c);
      hash *= 0x100000001b3u;
    }
    state_ ^= hash;
  }

  double next() {
    state_ += 0x9e3779b97f4a7c15u;
    std::uint64_t z = state_;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    z ^= z >> 31;
    return static_cast<double>(z >> 11) * 0x1p-53;
  }

 private:
  std::uint64_t state_;
};

double rounded(double value) {
  return std::round(value * 1000) / 1000;
}

/// "R", "U+0.5", "X-1".
bool is_letter(std::string_view item) {
  return !item.empty() && std::string_view("RUXrux").find(item.front()) != std::string_view::npos &&
         (item.size() == 1 || item[1] == '+' || item[1] == '-') &&
         (item.size() == 1 || number_in(item.substr(1)));
}

std::string settle_letter(std::string_view item, const BlockVariables& variables, Draw& draw) {
  double value = 0;
  switch (item.front()) {
    case 'R':
    case 'r':
      value = rounded(draw.next());
      break;
    case 'U':
    case 'u':
      value = rounded(draw.next() * 2 - 0.5);
      break;
    default:
      if (!variables.x)
        fail(ErrorKind::invalid_argument,
             "block weights have an X, but no x= says what it stands for");
      value = *variables.x;
  }
  if (item.size() > 1) value += *number_in(item.substr(1));
  return fmt::format("{}", value);
}

void check_line(std::size_t fields, std::string_view source, std::size_t number) {
  if (fields == 2 || fields == 4) return;
  fail(ErrorKind::bad_file,
       "{}, line {}: NAME:value,value,… or NAME:blocks:elements:weight is expected", source,
       number);
}

}  // namespace

void BlockPresets::read(std::string_view text, std::string_view source) {
  std::set<std::string> seen;  // a file's rules replace those of the file before
  std::size_t number = 0;
  for (std::string_view line : split(text, "\n")) {
    ++number;
    line = trimmed(line.substr(0, line.find('#')));
    if (line.empty()) continue;
    const std::vector<std::string_view> fields = split(line, ":");
    check_line(fields.size(), source, number);
    const std::string name(trimmed(fields[0]));
    if (name.empty() || name.find(',') != name.npos || number_in(name))
      fail(ErrorKind::bad_file, "{}, line {}: '{}' cannot be a preset's name", source, number,
           name);
    if (fields.size() == 2) {
      lists_.insert_or_assign(name, std::string(trimmed(fields[1])));
      continue;
    }
    const std::string rule =
        fmt::format("{}|{}|{}", trimmed(fields[1]), trimmed(fields[2]), trimmed(fields[3]));
    std::string& rules = elements_[name];
    rules = seen.insert(name).second ? rule : rules + "," + rule;
  }
}

const std::string* BlockPresets::list(std::string_view name) const {
  return find(lists_, name);
}
const std::string* BlockPresets::elements(std::string_view name) const {
  return find(elements_, name);
}

std::vector<std::string> BlockPresets::list_names() const {
  std::vector<std::string> names = keys(lists_);
  for (const BuiltInPreset& preset : built_in_presets()) {
    if (!find(lists_, preset.name)) names.emplace_back(preset.name);
  }
  return names;
}

std::vector<std::string> BlockPresets::element_names() const {
  return keys(elements_);
}

std::string settle_blocks(std::string_view blocks, const BlockPresets& presets,
                          const BlockVariables& variables) {
  Draw draw(variables);
  std::string result;
  for (const std::string_view written : split(blocks, ",")) {
    const std::string_view item = trimmed(written);
    const auto add = [&](std::string_view text) {
      if (!result.empty()) result += ",";
      result += text;
    };
    const std::size_t equals = item.rfind('=');
    const std::string_view value = equals == item.npos ? item : trimmed(item.substr(equals + 1));
    if (equals != item.npos && is_letter(value)) {
      add(fmt::format("{}={}", trimmed(item.substr(0, equals)),
                      settle_letter(value, variables, draw)));
    } else if (equals != item.npos || number_in(item)) {
      add(item);
    } else if (const std::string* list = presets.list(item)) {
      add(settle_blocks(*list, BlockPresets(), variables));
    } else if (const BuiltInPreset* preset = find_built_in(item)) {
      add(preset->name);
    } else if (is_letter(item)) {
      add(settle_letter(item, variables, draw));
    } else {
      fail(ErrorKind::invalid_argument,
           "block weights \"{}\": '{}' is neither a number, R, U, X nor a preset; nearest: {}",
           blocks, item, fmt::join(nearest_names(item, presets.list_names(), 3), ", "));
    }
  }
  return result;
}

std::string settle_elements(std::string_view elements, const BlockPresets& presets) {
  std::string result;
  for (const std::string_view written : split(elements, ",\n")) {
    const std::string_view item = trimmed(written);
    if (item.empty()) continue;
    if (!result.empty()) result += ",";
    if (item.find('|') != item.npos) {
      result += item;
    } else if (const std::string* rules = presets.elements(item)) {
      result += *rules;
    } else {
      const auto near = nearest_names(item, presets.element_names(), 3);
      fail(ErrorKind::invalid_argument,
           "elemental block weights \"{}\": '{}' is neither a rule blocks|elements|weight nor a "
           "preset; {}",
           elements, item,
           near.empty()
               ? std::string("there are no presets: a file elempresets.txt in a LoRA folder "
                             "holds lines NAME:blocks:elements:weight")
               : fmt::format("nearest: {}", fmt::join(near, ", ")));
    }
  }
  return result;
}

}  // namespace velatura::lora

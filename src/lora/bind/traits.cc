#include "lora/bind/traits.h"

#include <xxhash.h>

#include <algorithm>
#include <cstring>
#include <functional>
#include <unordered_set>
#include <utility>

namespace velatura::lora {

namespace {

bool is_separator(char c) {
  return c == '.' || c == '_';
}

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

/// Roles that alone can change a weight; the others only modify them.
bool is_matrix(Role role) {
  switch (role) {
    case Role::alpha:
    case Role::scale:
    case Role::scalar:
    case Role::dora_scale:
    case Role::magnitude_vector:
    case Role::rescale:
    case Role::reshape_weight:
    case Role::ia3_on_input:
    case Role::oft_scaled:
    case Role::down_bias:
    case Role::up_bias:
      return false;
    default:
      return true;
  }
}

const weights::TensorInfo* tensor_of(const AdapterFile& file, const FileModule& module, Role role) {
  const auto found = module.tensors.find(role);
  return found == module.tensors.end() ? nullptr : file.source().find(found->second);
}

/// One axis of a matrix, or of the product of two Kronecker factors.
std::optional<InputSide> side(const AdapterFile& file, const FileModule& module, std::size_t axis) {
  const auto extent = [&](Role role, std::size_t at) -> std::optional<InputSide> {
    const weights::TensorInfo* info = tensor_of(file, module, role);
    if (info == nullptr || info->shape.rank() < 2) return std::nullopt;
    return InputSide{info, info->shape[at]};
  };
  const bool inputs = axis == 1;
  for (const Role role :
       {inputs ? Role::down : Role::up, inputs ? Role::hada_w1_b : Role::hada_w1_a,
        inputs ? Role::tlora_q : Role::tlora_p, Role::diff, Role::set_weight}) {
    if (auto found = extent(role, axis)) return found;
  }
  if (auto found = extent(inputs ? Role::down_transposed : Role::up_transposed, 1 - axis))
    return found;
  const auto factor = [&](Role whole, Role part) {
    auto found = extent(whole, axis);
    return found ? found : extent(part, axis);
  };
  const auto first = factor(Role::lokr_w1, inputs ? Role::lokr_w1_b : Role::lokr_w1_a);
  const auto second = factor(Role::lokr_w2, inputs ? Role::lokr_w2_b : Role::lokr_w2_a);
  constexpr std::int64_t kMost = std::int64_t{1} << 30;
  if (!first || !second || first->width > kMost || second->width > kMost) return std::nullopt;
  return InputSide{second->tensor, first->width * second->width};
}

}  // namespace

std::string pattern_of(std::string_view name) {
  std::string pattern;
  pattern_of(name, pattern);
  return pattern;
}

void pattern_of(std::string_view name, std::string& pattern) {
  pattern.resize(name.size());  // never longer
  char* out = pattern.data();
  bool begins_word = true;
  for (std::size_t i = 0; i < name.size(); ++i) {
    const char c = name[i];
    if (is_separator(c)) {
      *out++ = '_';
      begins_word = true;
      continue;
    }
    if (std::exchange(begins_word, false) && is_digit(c)) {
      std::size_t end = i + 1;
      while (end < name.size() && is_digit(name[end])) ++end;
      if (end == name.size() || is_separator(name[end])) {
        *out++ = '#';
        i = end - 1;
        continue;
      }
    }
    *out++ = c;
  }
  pattern.resize(static_cast<std::size_t>(out - pattern.data()));
}

std::size_t CharacterRuns::place_of(const char* run) {
  std::uint32_t word = 0;
  static_assert(sizeof word == kLength);
  std::memcpy(&word, run, kLength);
  // The golden ratio spreads neighbours: multiplicative hashing.
  return (word * 0x9e3779b1u) >> (32 - kBits);
}

void CharacterRuns::add(std::string_view text) {
  for (std::size_t i = 0; i + kLength <= text.size(); ++i) seen_.set(place_of(text.data() + i));
}

bool CharacterRuns::may_contain(std::string_view part) const {
  for (std::size_t i = 0; i + kLength <= part.size(); ++i) {
    if (!seen_.test(place_of(part.data() + i))) return false;
  }
  return true;
}

namespace {

struct PatternHash {
  using is_transparent = void;
  std::size_t operator()(std::string_view text) const {
    return XXH3_64bits(text.data(), text.size());
  }
};
/// Asked with a buffer, so that only what is new is copied.
using Patterns = std::unordered_set<std::string, PatternHash, std::equal_to<>>;

}  // namespace

// Published files have some hundred patterns; one made up to have a million is looked at so far.
constexpr std::size_t kMostPatterns = 4096;

Traits::Traits(const AdapterFile& file) : file_(&file) {
  Patterns known;
  std::string pattern;
  for (const weights::TensorInfo& info : file.source().tensors()) {
    if (patterns_.size() == kMostPatterns) break;
    pattern_of(info.name, pattern);
    if (known.contains(std::string_view(pattern))) continue;
    known.insert(pattern);
    patterns_.push_back({pattern, &info});
    runs_.add(pattern);
  }
  known.clear();
  for (const FileModule& module : file.modules()) {
    if (modules_.size() == kMostPatterns) break;
    pattern_of(module.name, pattern);
    if (known.contains(std::string_view(pattern)) || !input_side(file, module)) continue;
    known.insert(pattern);
    modules_.push_back({pattern, &module});
  }
  has_matrices_ = std::ranges::any_of(file.modules(), [](const FileModule& module) {
    return std::ranges::any_of(module.tensors, is_matrix,
                               &std::pair<const Role, std::string>::first);
  });
}

const weights::TensorInfo* Traits::with(std::string_view part) const {
  if (!runs_.may_contain(part)) return nullptr;
  return where([part](std::string_view pattern) { return pattern.find(part) != pattern.npos; });
}

int Traits::number_after(std::string_view name, std::string_view part) {
  const auto same = [](char a, char b) { return a == b || (is_separator(a) && is_separator(b)); };
  const auto found = std::ranges::search(name, part, same);
  int number = -1;
  constexpr int kMost = 1'000'000;
  for (auto at = found.end(); at != name.end() && is_digit(*at) && number < kMost; ++at)
    number = std::max(number, 0) * 10 + (*at - '0');
  return found.empty() ? -1 : number;
}

std::optional<InputSide> input_side(const AdapterFile& file, const FileModule& module) {
  return side(file, module, 1);
}

std::optional<InputSide> output_side(const AdapterFile& file, const FileModule& module) {
  return side(file, module, 0);
}

}  // namespace velatura::lora

#include "pipelines/prompt/tags.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "base/error.h"

namespace velatura::pipelines::prompt {
namespace {

constexpr std::string_view kTrigger = "<trigger>";

bool is_word_byte(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

std::string lower(std::string_view text) {
  std::string result(text);
  std::transform(result.begin(), result.end(), result.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  return result;
}

std::string_view trim(std::string_view text) {
  constexpr std::string_view kSpace = " \t\r\n\v\f";
  const std::size_t begin = text.find_first_not_of(kSpace);
  if (begin == text.npos) return {};
  return text.substr(begin, text.find_last_not_of(kSpace) - begin + 1);
}

double strength_of(std::string_view text, std::string_view what, const AdapterTag& tag) {
  std::string_view digits = trim(text);
  if (digits.starts_with('+')) digits.remove_prefix(1);
  double value = 0;
  const auto [stop, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (digits.empty() || error != std::errc() || stop != digits.data() + digits.size() ||
      !std::isfinite(value)) {
    fail(ErrorKind::invalid_argument,
         "{}: the {} '{}' is not a finite number; write e.g. <lora:{}:0.8>", tag.text, what, text,
         tag.name);
  }
  return value;
}

int rank_of(std::string_view text, const AdapterTag& tag) {
  const std::string_view digits = trim(text);
  int value = 0;
  const auto [stop, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (digits.empty() || error != std::errc() || stop != digits.data() + digits.size() ||
      value < 1) {
    fail(ErrorKind::invalid_argument, "{}: dyn '{}' is not a number of ranks (1, 2, 3 …)", tag.text,
         text);
  }
  return value;
}

/// A block-weight list or the name of a preset, as the block-weight extension's older form has it:
/// 1,0,0.5 or OUTALL.
bool is_block_weights(std::string_view text) {
  const std::string_view item = trim(text);
  return item.find(',') != item.npos ||
         (!item.empty() && item.front() >= 'A' && item.front() <= 'Z');
}

/// What stood in a tag before defaults: position by position, and by name.
struct Arguments {
  std::vector<std::string_view> positional;
  std::map<std::string, std::string> named;
};

Arguments split(std::string_view text) {
  Arguments arguments;
  while (true) {
    const std::size_t colon = std::min(text.find(':'), text.size());
    const std::string_view item = text.substr(0, colon);
    const std::size_t equals = item.find('=');
    if (equals == item.npos) {
      arguments.positional.push_back(item);
    } else {
      arguments.named.insert_or_assign(lower(trim(item.substr(0, equals))),
                                       std::string(trim(item.substr(equals + 1))));
    }
    if (colon == text.size()) return arguments;
    text.remove_prefix(colon + 1);
  }
}

/// Removes `name` from the named items and returns its value.
std::optional<std::string> take(std::map<std::string, std::string>& named,
                                const std::string& name) {
  const auto found = named.find(name);
  if (found == named.end()) return std::nullopt;
  std::string value = std::move(found->second);
  named.erase(found);
  return value;
}

void read_positional(const std::vector<std::string_view>& items, AdapterTag& tag) {
  if (items.size() > 4) {
    fail(ErrorKind::invalid_argument, "{}: {} parts where <lora:name:te:unet:dyn> has four",
         tag.text, items.size());
  }
  if (items.size() > 1) {
    if (items[1].find('@') != items[1].npos) {
      tag.other.emplace("schedule", trim(items[1]));
    } else {
      tag.text_encoder = strength_of(items[1], "strength", tag);
    }
  }
  if (items.size() > 2) {
    if (is_block_weights(items[2])) {
      tag.other.emplace("lbw", trim(items[2]));
    } else {
      tag.denoiser = strength_of(items[2], "second strength", tag);
    }
  }
  if (items.size() > 3) tag.dynamic_rank = rank_of(items[3], tag);
}

AdapterTag read_adapter(std::string_view arguments_text, std::string_view whole) {
  AdapterTag tag;
  tag.text = whole;
  Arguments arguments = split(arguments_text);
  if (!arguments.positional.empty()) tag.name = trim(arguments.positional[0]);
  if (tag.name.empty())
    fail(ErrorKind::invalid_argument, "{}: the tag names no adapter; write <lora:name>", tag.text);
  read_positional(arguments.positional, tag);

  if (const auto value = take(arguments.named, "te"))
    tag.text_encoder = strength_of(*value, "te", tag);
  if (const auto value = take(arguments.named, "unet"))
    tag.denoiser = strength_of(*value, "unet", tag);
  if (!tag.denoiser) tag.denoiser = tag.text_encoder;
  if (const auto value = take(arguments.named, "dyn")) tag.dynamic_rank = rank_of(*value, tag);
  if (const auto value = take(arguments.named, "module")) {
    const std::string module = lower(*value);
    if (module == "unet" || module == "denoiser" || module == "transformer") {
      tag.text_encoder = 0.0;
    } else if (module == "te" || module == "text_encoder") {
      tag.denoiser = 0.0;
    } else {
      fail(ErrorKind::invalid_argument, "{}: module '{}' is neither unet nor te", tag.text, *value);
    }
  }
  tag.other.merge(arguments.named);
  return tag;
}

bool is_adapter(std::string_view kind) {
  return kind == "lora" || kind == "lyco";
}

[[noreturn]] void refuse(std::string_view kind, std::string_view whole) {
  if (kind == "hypernet") {
    fail(ErrorKind::unsupported, "{}: hypernetworks are not supported; remove the tag", whole);
  }
  fail(ErrorKind::unsupported, "{}: unknown tag '{}'; known are lora, lyco and <trigger>", whole,
       kind);
}

}  // namespace

TaggedPrompt read_tags(std::string_view prompt) {
  TaggedPrompt result;
  const std::size_t last_close = prompt.rfind('>');
  std::size_t kept = 0;  // everything before it is in the result or was a tag
  for (std::size_t open = prompt.find('<'); open != prompt.npos; open = prompt.find('<', open)) {
    std::size_t colon = open + 1;
    while (colon < prompt.size() && is_word_byte(prompt[colon])) ++colon;
    const std::string kind = lower(prompt.substr(open + 1, colon - open - 1));
    if (colon < prompt.size() && prompt[colon] == '>' && kind == "trigger")
      result.has_trigger = true;
    if (kind.empty() || colon == prompt.size() || prompt[colon] != ':') {
      ++open;
      continue;
    }
    const bool is_closed = last_close != prompt.npos && last_close > colon;
    if (!is_closed && !is_adapter(kind)) {
      ++open;
      continue;
    }
    if (!is_closed) {
      fail(ErrorKind::invalid_argument, "'{}…': the tag is not closed with '>'",
           prompt.substr(open, 40));
    }
    const std::size_t close = prompt.find('>', colon);
    const std::string_view whole = prompt.substr(open, close + 1 - open);
    if (!is_adapter(kind)) refuse(kind, whole);
    result.adapters.push_back(read_adapter(prompt.substr(colon + 1, close - colon - 1), whole));
    result.prompt += prompt.substr(kept, open - kept);
    kept = open = close + 1;
  }
  result.prompt += prompt.substr(kept);
  return result;
}

std::string insert_triggers(std::string_view prompt, std::span<const std::string> words) {
  std::string joined;
  for (const std::string& word : words) joined += (joined.empty() ? "" : ", ") + word;
  const std::string folded = lower(prompt);
  std::string result;
  std::size_t kept = 0;
  for (std::size_t at = folded.find(kTrigger); at != folded.npos;
       at = folded.find(kTrigger, kept)) {
    result += prompt.substr(kept, at - kept);
    result += joined;
    kept = at + kTrigger.size();
  }
  result += prompt.substr(kept);
  return result;
}

}  // namespace velatura::pipelines::prompt

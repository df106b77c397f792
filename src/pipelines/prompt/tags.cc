#include "pipelines/prompt/tags.h"

#include <algorithm>

#include "base/error.h"
#include "base/text.h"
#include "pipelines/prompt/adapter_items.h"

namespace velatura::pipelines::prompt {
namespace {

constexpr std::string_view kTrigger = "<trigger>";

bool is_word_byte(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

AdapterTag read_adapter(std::string_view arguments, std::string_view whole, LoraOrder order) {
  const std::vector<std::string_view> items = split_items(arguments);
  // A file may be called a=b; te=1 is no name, though.
  const std::string_view name = trimmed(items.front());
  if (name.empty() || (name.find('=') != name.npos && is_item(name)))
    fail(ErrorKind::invalid_argument, "{}: the tag names no adapter; write <lora:name>", whole);
  return {.lora = read_items(name, std::span(items).subspan(1),
                             {.order = order, .names_files = false}, whole),
          .text = std::string(whole)};
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

std::string strip_comments(std::string_view text) {
  std::string result;
  std::size_t kept = 0;
  for (std::size_t sign = text.find('#'); sign != text.npos; sign = text.find('#', kept)) {
    result += text.substr(kept, sign - kept);
    kept = std::min(text.find('\n', sign), text.size());
  }
  result += text.substr(kept);
  return result;
}

TaggedPrompt read_tags(std::string_view with_comments, LoraOrder order) {
  const std::string stripped = strip_comments(with_comments);
  const std::string_view prompt = stripped;
  TaggedPrompt result;
  const std::size_t last_close = prompt.rfind('>');
  std::size_t kept = 0;  // everything before it is in the result or was a tag
  for (std::size_t open = prompt.find('<'); open != prompt.npos; open = prompt.find('<', open)) {
    std::size_t colon = open + 1;
    while (colon < prompt.size() && is_word_byte(prompt[colon])) ++colon;
    const std::string kind = lowered(prompt.substr(open + 1, colon - open - 1));
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
    result.adapters.push_back(
        read_adapter(prompt.substr(colon + 1, close - colon - 1), whole, order));
    result.prompt += prompt.substr(kept, open - kept);
    kept = open = close + 1;
  }
  result.prompt += prompt.substr(kept);
  return result;
}

std::string insert_triggers(std::string_view prompt, std::span<const std::string> words) {
  std::string joined;
  for (const std::string& word : words) joined += (joined.empty() ? "" : ", ") + word;
  const std::string folded = lowered(prompt);
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

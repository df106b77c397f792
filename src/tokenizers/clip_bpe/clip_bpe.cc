#include "tokenizers/clip_bpe/clip_bpe.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <queue>
#include <tuple>
#include <unordered_map>

#include "base/error.h"
#include "base/mapped_file.h"
#include "embedded/clip_merges.h"
#include "tokenizers/clip_bpe/byte_alphabet.h"
#include "tokenizers/unicode.h"

namespace velatura::tokenizers {
namespace {

constexpr std::string_view kStart = "<|startoftext|>";
constexpr std::string_view kEnd = "<|endoftext|>";
constexpr std::string_view kWordEnd = "</w>";
// Far above any published vocabulary (CLIP 49 408); bounds what a hostile file can make us
// allocate.
constexpr std::size_t kMaxTokens = 1u << 22;

// CLIP's word pattern. White space is the plain space alone by then, so [^\s…] is [^ …].
constexpr std::string_view kPattern = R"('s|'t|'re|'ve|'m|'ll|'d|\p{L}+|\p{N}|[^ \p{L}\p{N}]+)";

struct CodeDeleter {
  void operator()(pcre2_code* code) const { pcre2_code_free(code); }
};
struct MatchDeleter {
  void operator()(pcre2_match_data* data) const { pcre2_match_data_free(data); }
};
using Code = std::unique_ptr<pcre2_code, CodeDeleter>;

Code compile_pattern() {
  int error = 0;
  PCRE2_SIZE where = 0;
  Code code(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(kPattern.data()), kPattern.size(),
                          PCRE2_UTF | PCRE2_UCP, &error, &where, nullptr));
  if (!code)
    fail(ErrorKind::unsupported, "PCRE2 was built without Unicode (error {} in the word pattern)",
         error);
  return code;
}

struct Merge {
  std::int32_t rank;
  std::int32_t result;
};

std::uint64_t pair_key(std::int32_t left, std::int32_t right) {
  return (std::uint64_t{static_cast<std::uint32_t>(left)} << 32) |
         static_cast<std::uint32_t>(right);
}

std::string collapse_spaces(std::string_view text) {
  std::string collapsed;
  collapsed.reserve(text.size());
  bool in_space = false;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t begin = at;
    const bool space = is_space(next_character(text, at));
    if (!space) {
      collapsed += text.substr(begin, at - begin);
    } else if (!in_space) {
      collapsed += ' ';
    }
    in_space = space;
  }
  return collapsed;
}

}  // namespace

/// Inside, tokens are numbered as CLIP derives them (bytes, bytes ending a word, merges, start,
/// end); `ids` gives the numbers of the model, which are the same but where a vocab.json says
/// otherwise.
struct ClipBpe::State {
  Code pattern = compile_pattern();
  std::array<std::int32_t, 256> byte_tokens{};
  std::unordered_map<std::uint64_t, Merge> merges;
  std::vector<std::string> spellings;  // in the byte alphabet, as files write them
  std::vector<std::int32_t> ids;
  std::unordered_map<std::int32_t, std::int32_t> tokens_of_ids;
  std::size_t vocabulary_size = 0;

  std::int32_t start_token() const { return static_cast<std::int32_t>(spellings.size()) - 2; }
  std::int32_t end_token() const { return static_cast<std::int32_t>(spellings.size()) - 1; }
  std::int32_t id(std::int32_t token) const { return ids[static_cast<std::size_t>(token)]; }

  void read_merges(std::string_view text, std::string_view origin);
  void read_vocabulary(std::string_view json, std::string_view origin);
  void encode_plain(std::string_view text, std::vector<std::int32_t>& out) const;
  void encode_word(std::string_view word, std::vector<std::int32_t>& out) const;
};

void ClipBpe::State::read_merges(std::string_view text, std::string_view origin) {
  std::unordered_map<std::string, std::int32_t> known;
  const auto add = [&](std::string spelling) {
    const auto token = static_cast<std::int32_t>(spellings.size());
    const bool fresh = known.emplace(spelling, token).second;
    spellings.push_back(std::move(spelling));
    return fresh;
  };
  for (const std::string_view suffix : {std::string_view(), kWordEnd}) {
    for (int i = 0; i < 256; ++i) add(alphabet_character(alphabet_byte(i)) + std::string(suffix));
  }
  for (int i = 0; i < 256; ++i) byte_tokens[alphabet_byte(i)] = i;

  std::size_t line_number = 0;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    ++line_number;
    if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
    if (line.empty() || (line_number == 1 && line.starts_with("#version"))) continue;
    const std::size_t space = line.find(' ');
    if (space == std::string_view::npos || line.find(' ', space + 1) != std::string_view::npos) {
      fail(ErrorKind::bad_file, "{}: line {} of the merges is not two parts with a space between",
           origin, line_number);
    }
    const auto left = known.find(std::string(line.substr(0, space)));
    const auto right = known.find(std::string(line.substr(space + 1)));
    if (left == known.end() || right == known.end()) {
      fail(ErrorKind::bad_file, "{}: line {} merges a part that no line before it makes", origin,
           line_number);
    }
    if (spellings.size() >= kMaxTokens)
      fail(ErrorKind::bad_file, "{}: more than {} merges", origin, kMaxTokens);
    const auto rank = static_cast<std::int32_t>(merges.size());
    const auto result = static_cast<std::int32_t>(spellings.size());
    if (!merges.emplace(pair_key(left->second, right->second), Merge{rank, result}).second ||
        !add(left->first + right->first)) {
      fail(ErrorKind::bad_file, "{}: line {} makes a token that was made before", origin,
           line_number);
    }
  }
  add(std::string(kStart));
  add(std::string(kEnd));
  ids.resize(spellings.size());
  for (std::size_t token = 0; token < ids.size(); ++token)
    ids[token] = static_cast<std::int32_t>(token);
  vocabulary_size = spellings.size();
}

void ClipBpe::State::read_vocabulary(std::string_view json, std::string_view origin) {
  const auto parsed = nlohmann::json::parse(json, nullptr, false);
  if (!parsed.is_object())
    fail(ErrorKind::bad_file, "{}: the vocabulary is not a JSON object", origin);
  const auto find = [&](const std::string& spelling) -> std::int32_t {
    const auto found = parsed.find(spelling);
    if (found == parsed.end()) return -1;
    if (!found->is_number_unsigned() || found->get<std::uint64_t>() >= kMaxTokens) {
      fail(ErrorKind::bad_file, "{}: the number of token '{}' is not below {}", origin, spelling,
           kMaxTokens);
    }
    return found->get<std::int32_t>();
  };
  const std::int32_t unknown = find(std::string(kEnd));  // CLIP's unknown token is its end
  if (unknown < 0 || find(std::string(kStart)) < 0) {
    fail(ErrorKind::bad_file, "{}: the vocabulary lacks {} or {}", origin, kStart, kEnd);
  }
  vocabulary_size = 0;
  for (std::size_t token = 0; token < spellings.size(); ++token) {
    const std::int32_t number = find(spellings[token]);
    ids[token] = number < 0 ? unknown : number;
    vocabulary_size = std::max(vocabulary_size, static_cast<std::size_t>(ids[token]) + 1);
  }
}

/// Splits normalised text into words and encodes each.
void ClipBpe::State::encode_plain(std::string_view text, std::vector<std::int32_t>& out) const {
  const std::unique_ptr<pcre2_match_data, MatchDeleter> match(
      pcre2_match_data_create_from_pattern(pattern.get(), nullptr));
  if (!match) fail(ErrorKind::out_of_memory, "no memory to tokenize a text");
  const auto* subject = reinterpret_cast<PCRE2_SPTR>(text.data());
  // The text is valid UTF-8; checking it again for each word would make the time grow with the
  // square of the length.
  for (std::size_t at = 0; at < text.size();) {
    const int found = pcre2_match(pattern.get(), subject, text.size(), at, PCRE2_NO_UTF_CHECK,
                                  match.get(), nullptr);
    if (found == PCRE2_ERROR_NOMATCH) break;
    if (found < 0) fail(ErrorKind::internal, "PCRE2 error {} while tokenizing", found);
    const PCRE2_SIZE* range = pcre2_get_ovector_pointer(match.get());
    encode_word(text.substr(range[0], range[1] - range[0]), out);
    at = range[1];
  }
}

/// Merges the lowest rank first, the leftmost of equals, until nothing merges. The heap holds
/// candidate pairs; one is stale when a side was merged since, which its token then shows.
void ClipBpe::State::encode_word(std::string_view word, std::vector<std::int32_t>& out) const {
  struct Symbol {
    std::int32_t token;
    std::int32_t before, after;  // positions; -1 beyond the ends
  };
  const auto length = static_cast<std::int32_t>(word.size());
  std::vector<Symbol> symbols(word.size());
  for (std::int32_t i = 0; i < length; ++i) {
    const std::int32_t token =
        byte_tokens[static_cast<unsigned char>(word[static_cast<std::size_t>(i)])];
    const bool last = i + 1 == length;
    symbols[static_cast<std::size_t>(i)] = {last ? token + 256 : token, i - 1, last ? -1 : i + 1};
  }
  const auto at = [&](std::int32_t i) -> Symbol& { return symbols[static_cast<std::size_t>(i)]; };

  using Candidate =
      std::tuple<std::int32_t, std::int32_t, std::int32_t, std::int32_t, std::int32_t>;
  std::priority_queue<Candidate, std::vector<Candidate>, std::greater<>>
      candidates;  // rank, position, left, right, result
  const auto consider = [&](std::int32_t left) {
    if (left < 0 || at(left).after < 0) return;
    const std::int32_t right = at(left).after;
    const auto merge = merges.find(pair_key(at(left).token, at(right).token));
    if (merge == merges.end()) return;
    candidates.emplace(merge->second.rank, left, at(left).token, at(right).token,
                       merge->second.result);
  };
  for (std::int32_t i = 0; i + 1 < length; ++i) consider(i);

  while (!candidates.empty()) {
    const auto [rank, left, left_token, right_token, result] = candidates.top();
    candidates.pop();
    const std::int32_t right = at(left).after;
    if (at(left).token != left_token || right < 0 || at(right).token != right_token) continue;
    at(left).token = result;
    at(left).after = at(right).after;
    if (at(left).after >= 0) at(at(left).after).before = left;
    at(right).token = -1;
    consider(at(left).before);
    consider(left);
  }
  for (std::int32_t i = 0; i >= 0 && length > 0; i = at(i).after) out.push_back(id(at(i).token));
}

ClipBpe::ClipBpe(std::string_view merges, std::string_view vocabulary, std::string_view origin) {
  auto state = std::make_shared<State>();
  state->read_merges(merges, origin);
  if (!vocabulary.empty()) state->read_vocabulary(vocabulary, origin);
  for (std::size_t token = 0; token < state->ids.size(); ++token) {
    state->tokens_of_ids.insert_or_assign(state->ids[token], static_cast<std::int32_t>(token));
  }
  state_ = std::move(state);
}

ClipBpe ClipBpe::embedded() {
  return ClipBpe(velatura::embedded::clip_merges(), "", "the embedded CLIP vocabulary");
}

ClipBpe ClipBpe::from_folder(const std::filesystem::path& folder) {
  const auto text_of = [](const MappedFile& file) {
    return std::string_view(reinterpret_cast<const char*>(file.bytes().data()),
                            file.bytes().size());
  };
  const auto merges = MappedFile::open(folder / "merges.txt");
  const std::filesystem::path vocabulary_path = folder / "vocab.json";
  if (!std::filesystem::exists(vocabulary_path))
    return ClipBpe(text_of(*merges), "", folder.string());
  const auto vocabulary = MappedFile::open(vocabulary_path);
  if (vocabulary->bytes().empty())
    fail(ErrorKind::bad_file, "{}: the file is empty", vocabulary_path.string());
  return ClipBpe(text_of(*merges), text_of(*vocabulary), folder.string());
}

std::vector<std::int32_t> ClipBpe::encode(std::string_view text) const {
  const std::string normal = to_lower(collapse_spaces(compose(sanitise_utf8(text))));
  const std::string_view whole = normal;
  std::vector<std::int32_t> ids;
  std::size_t begin =
      0;  // of the words not yet encoded; special tokens are cut out before words are looked for
  for (std::size_t at = whole.find("<|"); at != std::string_view::npos; at = whole.find("<|", at)) {
    const bool is_start = whole.substr(at).starts_with(kStart);
    if (!is_start && !whole.substr(at).starts_with(kEnd)) {
      ++at;
      continue;
    }
    state_->encode_plain(whole.substr(begin, at - begin), ids);
    ids.push_back(is_start ? bos() : eos());
    at += is_start ? kStart.size() : kEnd.size();
    begin = at;
  }
  state_->encode_plain(whole.substr(begin), ids);
  return ids;
}

std::int32_t ClipBpe::bos() const {
  return state_->id(state_->start_token());
}
std::int32_t ClipBpe::eos() const {
  return state_->id(state_->end_token());
}
std::size_t ClipBpe::vocabulary_size() const {
  return state_->vocabulary_size;
}

std::string ClipBpe::decode(std::span<const std::int32_t> ids) const {
  std::string text;
  for (const std::int32_t id : ids) {
    const auto found = state_->tokens_of_ids.find(id);
    if (found == state_->tokens_of_ids.end()) continue;
    std::string_view spelling = state_->spellings[static_cast<std::size_t>(found->second)];
    const bool ends_word = spelling.size() > kWordEnd.size() && spelling.ends_with(kWordEnd);
    if (ends_word) spelling.remove_suffix(kWordEnd.size());
    text += alphabet_to_bytes(spelling).value_or("");
    if (ends_word) text += ' ';
  }
  return text;
}

}  // namespace velatura::tokenizers

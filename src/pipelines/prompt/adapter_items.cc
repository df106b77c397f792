#include "pipelines/prompt/adapter_items.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <set>

#include "base/error.h"
#include "base/text.h"

namespace velatura::pipelines::prompt {

namespace {

constexpr std::string_view kAuto = "auto";

std::optional<double> number_in(std::string_view text) {
  std::string_view digits = trimmed(text);
  if (digits.starts_with('+')) digits.remove_prefix(1);
  double value = 0;
  const auto [stop, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  const bool is_number = !digits.empty() && error == std::errc() &&
                         stop == digits.data() + digits.size() && std::isfinite(value);
  return is_number ? std::optional(value) : std::nullopt;
}

/// A number, "auto", or what was meant as a number ("nan", "1e999"): better refused as one than
/// taken for a name.
bool is_number_like(std::string_view text) {
  const std::string number = lowered(trimmed(text));
  double ignored = 0;
  const auto [stop, error] = std::from_chars(number.data(), number.data() + number.size(), ignored);
  return number == kAuto || number_in(number) ||
         (error != std::errc::invalid_argument && stop == number.data() + number.size());
}

std::optional<int> count_in(std::string_view text) {
  const std::string_view digits = trimmed(text);
  int value = 0;
  const auto [stop, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  const bool is_count = !digits.empty() && error == std::errc() &&
                        stop == digits.data() + digits.size() && value >= 0;
  return is_count ? std::optional(value) : std::nullopt;
}

/// What stands at a number's place: a number, points, or "auto", the file's recommended weight.
struct Strength {
  std::optional<double> number;
  LoraCurve curve;
  bool is_auto() const { return !number && curve.points.empty(); }
  bool is_curve() const { return !curve.points.empty(); }
};

class Reader {
 public:
  Reader(std::string_view name, const ItemRules& rules, std::string_view whole)
      : rules_(rules), whole_(whole) {
    lora_.name = name;
  }

  LoraRequest read(std::span<const std::string_view> items) {
    std::vector<std::string_view> positional;
    for (const std::string_view item : items) {
      const std::size_t equals = item.find('=');
      if (equals == item.npos) {
        positional.push_back(trimmed(item));
      } else {
        read_named(lowered(trimmed(item.substr(0, equals))), trimmed(item.substr(equals + 1)));
      }
    }
    read_positional(positional);
    settle_strengths();
    check_steps();
    return std::move(lora_);
  }

 private:
  [[noreturn]] void refuse(std::string_view why) const {
    fail(ErrorKind::invalid_argument, "{}: {}", whole_, why);
  }

  double number(std::string_view text, std::string_view what) const {
    const std::optional<double> value = number_in(text);
    if (!value) {
      refuse(fmt::format("the {} '{}' is not a finite number; write e.g. <lora:{}:0.8>", what, text,
                         lora_.name));
    }
    return *value;
  }

  int count(std::string_view text, std::string_view what, int least) const {
    const std::optional<int> value = count_in(text);
    if (!value || *value < least)
      refuse(fmt::format("{} '{}' is not a whole number of at least {}", what, text, least));
    return *value;
  }

  Strength strength(std::string_view text, std::string_view what) const {
    if (lowered(trimmed(text)) == kAuto) return {};
    if (text.find('@') == text.npos) return {.number = number(text, what), .curve = {}};
    return {.number = {}, .curve = curve(text)};
  }

  LoraCurve curve(std::string_view text) const {
    LoraCurve curve;
    std::string_view rest = text;
    while (true) {
      const std::size_t comma = std::min(rest.find(','), rest.size());
      curve.points.push_back(point(rest.substr(0, comma), curve));
      if (comma == rest.size()) break;
      rest.remove_prefix(comma + 1);
    }
    std::ranges::sort(curve.points, {}, &LoraCurve::Point::at);
    const auto twice = std::ranges::adjacent_find(curve.points, {}, &LoraCurve::Point::at);
    if (twice != curve.points.end())
      refuse(fmt::format("'{}' has two points at {}; each place takes one", text, twice->at));
    return curve;
  }

  /// "0.5@0.2", or "0.5@s7" at noise level 7.
  LoraCurve::Point point(std::string_view text, LoraCurve& curve) const {
    const std::size_t sign = text.find('@');
    if (sign == text.npos)
      refuse(
          fmt::format("the point '{}' is not strength@position, as in 0@0,1@0.5", trimmed(text)));
    std::string_view at = trimmed(text.substr(sign + 1));
    const bool by_sigma = at.starts_with('s') || at.starts_with('S');
    if (by_sigma) at.remove_prefix(1);
    if (curve.points.empty()) curve.by_sigma = by_sigma;
    if (by_sigma != curve.by_sigma)
      refuse("some points have a noise level (@s7) and some a position (@0.5); choose one");
    const LoraCurve::Point result{.at = number(at, "place of the point"),
                                  .strength = number(text.substr(0, sign), "strength")};
    if (result.at < 0 || (!by_sigma && result.at > 1)) {
      refuse(
          fmt::format("the point '{}' lies outside the run: positions go from 0, the first step, "
                      "to 1, the last; noise levels (@s7) from 0 on",
                      trimmed(text)));
    }
    return result;
  }

  // Without a name: number, number, ranks, and behind the first number block weights.
  void read_positional(const std::vector<std::string_view>& items) {
    std::size_t place = 0;
    for (std::size_t i = 0; i < items.size(); ++i) {
      const std::string_view item = items[i];
      const bool is_number = item.empty() || item.find('@') != item.npos || is_number_like(item);
      if (i > 0 && !is_number) {
        set_blocks(item);
      } else if (place < 2) {
        positional_[place] = strength(item, place == 0 ? "strength" : "second strength");
        ++place;
      } else if (place == 2) {
        if (!named_.contains("dyn")) lora_.ranks = count(item, "dyn", 1);
        ++place;
      } else {
        refuse(fmt::format("{} parts where <lora:name:te:unet:dyn> has four", items.size() + 1));
      }
    }
  }

  void set_blocks(std::string_view value) {
    if (!lora_.blocks.empty()) refuse(fmt::format("block weights stand twice: '{}'", value));
    if (value.empty()) refuse("lbw= is empty; a preset, a list or patterns are expected");
    lora_.blocks = value;
  }

  void read_steps(std::string_view value) {
    const std::size_t dash = value.find('-');
    if (dash == value.npos) refuse(fmt::format("step '{}' is not first-last, as in 3-8", value));
    const std::string_view first = trimmed(value.substr(0, dash)),
                           last = trimmed(value.substr(dash + 1));
    if (!first.empty()) lora_.first_step = count(first, "step", 0);
    if (!last.empty()) lora_.last_step = count(last, "step", 0);
  }

  void read_module(std::string_view value) {
    const std::string module = lowered(value);
    if (module == "unet" || module == "denoiser" || module == "transformer") {
      module_ = Module::denoiser;
    } else if (module == "te" || module == "text_encoder") {
      module_ = Module::text;
    } else {
      refuse(fmt::format("module '{}' is neither unet nor te", value));
    }
  }

  void read_mask(std::string_view value) {
    if (!rules_.names_files)
      refuse("a tag names no files; give the mask with --lora-mask NAME=FILE");
    if (value.empty()) refuse("mask= names no file");
    lora_.mask = value;
  }

  // Checked as a strength is; kept as written.
  void read_second_pass(std::string_view value) {
    strength(value, "hr");
    lora_.second_pass = value;
  }

  void read_feather(std::string_view value) {
    if (!rules_.names_files)
      refuse("a tag names no mask; give both with --lora-mask NAME=FILE:PIXELS");
    lora_.feather = number(value, "feather");
    if (lora_.feather < 0) refuse("feather= is a number of pixels, 0 or more");
  }

 public:
  using Setter = void (*)(Reader&, std::string_view);
  struct Row {
    std::string_view name;
    Setter set;
  };
  static std::span<const Row> rows();

 private:
  void read_named(const std::string& name, std::string_view value) {
    if (!named_.insert(name).second) refuse(fmt::format("{}= stands twice", name));
    const auto row = std::ranges::find(rows(), name, &Row::name);
    if (row != rows().end()) return row->set(*this, value);
    std::vector<std::string> known;
    for (const Row& other : rows()) known.emplace_back(other.name);
    refuse(fmt::format("'{}=' has no meaning here; nearest: {}", name,
                       fmt::join(nearest_names(name, known, 3), ", ")));
  }

  // The first number stands for both where the other says nothing, and so does te= (A1111).
  void settle_strengths() {
    const bool text_first = rules_.order == LoraOrder::text_first;
    const std::optional<Strength>& first = positional_[0];
    std::optional<Strength> text = text_ ? text_ : positional_[text_first ? 0 : 1];
    std::optional<Strength> denoiser = denoiser_ ? denoiser_ : positional_[text_first ? 1 : 0];
    // Points in place are the denoiser's even where te= says the text encoder's number.
    if (!denoiser && first && first->is_curve()) denoiser = first;
    const bool is_for_both = !text_ && !denoiser_ && !positional_[1];
    if (!denoiser) denoiser = text;
    if (!text && denoiser_) text = first ? first : Strength{};
    if (text && text->is_curve()) {
      if (!is_for_both || module_ == Module::text)
        refuse("the text encoder works once for the whole run and takes one number, not points");
      text.reset();
    }
    if (module_ == Module::denoiser) text = Strength{.number = 0.0, .curve = {}};
    if (module_ == Module::text) {
      if (!text) text = denoiser ? denoiser : Strength{};
      denoiser = Strength{.number = 0.0, .curve = {}};
    }
    if (denoiser) {
      lora_.weight = denoiser->number;
      lora_.curve = denoiser->curve;
    }
    if (!text) return;
    lora_.text_weight = text->number;
    lora_.text_as_recommended = text->is_auto() && !(denoiser && denoiser->is_auto());
  }

  void check_steps() {
    lora_.first_step = std::max(lora_.first_step, 1);  // the extension's 0 is the beginning, too
    if (lora_.last_step && *lora_.last_step < lora_.first_step) {
      refuse(fmt::format("it would act from step {} to step {}: never", lora_.first_step,
                         *lora_.last_step));
    }
    if (lora_.feather > 0 && rules_.names_files && lora_.mask.empty())
      refuse("feather= softens the edges of mask=, which is not there");
  }

  enum class Module { both, denoiser, text };
  const ItemRules& rules_;
  std::string_view whole_;
  LoraRequest lora_;
  std::array<std::optional<Strength>, 2> positional_;
  std::optional<Strength> text_, denoiser_;  ///< named
  Module module_ = Module::both;
  std::set<std::string> named_;
};

std::span<const Reader::Row> Reader::rows() {
  static constexpr auto kRows = std::to_array<Row>({
      {"te", [](Reader& r, std::string_view v) { r.text_ = r.strength(v, "te"); }},
      {"unet", [](Reader& r, std::string_view v) { r.denoiser_ = r.strength(v, "unet"); }},
      {"te1",
       [](Reader& r, std::string_view v) { r.lora_.encoder_weights[0] = r.number(v, "te1"); }},
      {"te2",
       [](Reader& r, std::string_view v) { r.lora_.encoder_weights[1] = r.number(v, "te2"); }},
      {"dyn", [](Reader& r, std::string_view v) { r.lora_.ranks = r.count(v, "dyn", 1); }},
      {"module", [](Reader& r, std::string_view v) { r.read_module(v); }},
      {"lbw", [](Reader& r, std::string_view v) { r.set_blocks(v); }},
      {"lbwe", [](Reader& r, std::string_view v) { r.lora_.elements = v; }},
      {"x", [](Reader& r, std::string_view v) { r.lora_.x = r.number(v, "x"); }},
      {"start", [](Reader& r, std::string_view v) { r.lora_.first_step = r.count(v, "start", 0); }},
      {"stop", [](Reader& r, std::string_view v) { r.lora_.last_step = r.count(v, "stop", 0); }},
      {"step", [](Reader& r, std::string_view v) { r.read_steps(v); }},
      {"hr", [](Reader& r, std::string_view v) { r.read_second_pass(v); }},
      {"mask", [](Reader& r, std::string_view v) { r.read_mask(v); }},
      {"feather", [](Reader& r, std::string_view v) { r.read_feather(v); }},
  });
  return kRows;
}

/// Items that are written by name, where they differ from a request that says nothing.
std::vector<std::string> named_items(const LoraRequest& lora, const ItemRules& rules) {
  std::vector<std::string> items;
  for (std::size_t i = 0; i < lora.encoder_weights.size(); ++i) {
    if (lora.encoder_weights[i])
      items.push_back(fmt::format("te{}={}", i + 1, *lora.encoder_weights[i]));
  }
  if (lora.ranks > 0) items.push_back(fmt::format("dyn={}", lora.ranks));
  if (!lora.blocks.empty()) items.push_back("lbw=" + lora.blocks);
  if (!lora.elements.empty()) items.push_back("lbwe=" + lora.elements);
  if (lora.x) items.push_back(fmt::format("x={}", *lora.x));
  if (lora.first_step > 1) items.push_back(fmt::format("start={}", lora.first_step));
  if (lora.last_step) items.push_back(fmt::format("stop={}", *lora.last_step));
  if (!lora.second_pass.empty()) items.push_back("hr=" + lora.second_pass);
  if (rules.names_files && !lora.mask.empty()) {
    items.push_back("mask=" + lora.mask.string());
    if (lora.feather > 0) items.push_back(fmt::format("feather={}", lora.feather));
  }
  return items;
}

}  // namespace

std::vector<std::string_view> split_items(std::string_view text) {
  std::vector<std::string_view> items;
  while (true) {
    const std::size_t colon = std::min(text.find(':'), text.size());
    items.push_back(text.substr(0, colon));
    if (colon == text.size()) return items;
    text.remove_prefix(colon + 1);
  }
}

bool is_item(std::string_view item) {
  const std::size_t equals = item.find('=');
  if (equals != item.npos) {
    return std::ranges::find(Reader::rows(), lowered(trimmed(item.substr(0, equals))),
                             &Reader::Row::name) != Reader::rows().end();
  }
  return is_number_like(item.substr(0, item.find('@')));
}

LoraRequest read_items(std::string_view name, std::span<const std::string_view> items,
                       const ItemRules& rules, std::string_view whole) {
  return Reader(name, rules, whole).read(items);
}

std::string to_text(const LoraCurve& curve) {
  std::string text;
  for (const LoraCurve::Point& point : curve.points) {
    text += fmt::format("{}{}@{}{}", text.empty() ? "" : ",", point.strength,
                        curve.by_sigma ? "s" : "", point.at);
  }
  return text;
}

std::string write_items(const LoraRequest& lora, const ItemRules& rules) {
  std::string denoiser = lora.weight ? fmt::format("{}", *lora.weight) : std::string(kAuto);
  if (!lora.curve.points.empty()) denoiser = to_text(lora.curve);
  std::string text = lora.text_weight ? fmt::format("{}", *lora.text_weight) : "";
  if (lora.text_as_recommended) text = kAuto;
  std::string result = lora.name;
  const bool is_bare = denoiser == kAuto && text.empty();
  if (!is_bare && text.empty()) {
    result += ":" + denoiser;
  } else if (!is_bare && rules.order == LoraOrder::text_first) {
    result += text == denoiser ? ":" + text : ":" + text + ":" + denoiser;
  } else if (!is_bare) {
    result += ":" + denoiser + ":" + text;
  }
  for (const std::string& item : named_items(lora, rules)) result += ":" + item;
  return result;
}

}  // namespace velatura::pipelines::prompt

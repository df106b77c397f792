#include "lora/tools/compare_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "lora/library/clean_text.h"

namespace velatura::lora::tools {

namespace {

using Json = nlohmann::ordered_json;

constexpr std::size_t kLongestName = 200;
/// Layers shown where they pull against each other; all with `verbose`.
constexpr std::size_t kShownLayers = 10;
/// Nearer to a right angle than this is chance rather than a conflict.
constexpr double kNoticed = 0.05;

struct Pair {
  int first, second;
};

std::vector<Pair> pairs_of(int files) {
  std::vector<Pair> pairs;
  for (int i = 0; i < files; ++i) {
    for (int j = i + 1; j < files; ++j) pairs.push_back({i, j});
  }
  return pairs;
}

/// A, B … Z, then F27 …
std::string label(int file) {
  constexpr int kLetters = 26;
  return file < kLetters ? std::string(1, static_cast<char>('A' + file))
                         : fmt::format("F{}", file + 1);
}

std::string label(Pair pair) {
  return label(pair.first) + label(pair.second);
}

std::string shown(const std::string& name) {
  return library::clean_line(name, kLongestName);
}

std::string cosine_text(const std::optional<double>& cosine) {
  return cosine ? fmt::format("{:+.3f}", *cosine) : "-";
}

int files_on(const ComparedLayer& layer) {
  return static_cast<int>(std::ranges::count(layer.adapts, true));
}

/// The least cosine of a layer's pairs; nullopt where no two files act.
std::optional<double> least_cosine(const Gram& gram) {
  std::optional<double> least;
  for (const Pair pair : pairs_of(gram.files())) {
    const auto cosine = gram.cosine(pair.first, pair.second);
    if (cosine && (!least || *cosine < *least)) least = cosine;
  }
  return least;
}

/// What is lost by cancelling, as an energy: the layers' order.
double lost(const Gram& gram) {
  double sum = 0;
  for (const Pair pair : pairs_of(gram.files())) sum -= 2 * gram.at(pair.first, pair.second);
  return sum;
}

std::vector<const ComparedLayer*> opposed_layers(const Comparison& comparison) {
  std::vector<const ComparedLayer*> opposed;
  for (const ComparedLayer& layer : comparison.layers) {
    if (least_cosine(layer.gram).value_or(0) <= -kNoticed) opposed.push_back(&layer);
  }
  std::ranges::stable_sort(opposed, [](const ComparedLayer* a, const ComparedLayer* b) {
    return lost(a->gram) > lost(b->gram);
  });
  return opposed;
}

class Table {
 public:
  explicit Table(int files) : pairs_(pairs_of(files)) {
    line_ = fmt::format("{:>7}", "layers");
    for (int i = 0; i < files; ++i) line_ += fmt::format("{:>8}", label(i));
    for (const Pair pair : pairs_) line_ += fmt::format("{:>8}", "cos " + label(pair));
    line_ += fmt::format("{:>10}", "together");
  }
  const std::string& head() const { return line_; }
  std::string row(const Gram& gram, int layers) const {
    std::string line = fmt::format("{:>7}", layers);
    for (int i = 0; i < gram.files(); ++i) line += fmt::format("{:>6.1f} %", 100 * gram.share(i));
    for (const Pair pair : pairs_)
      line += fmt::format("{:>8}", cosine_text(gram.cosine(pair.first, pair.second)));
    return line + fmt::format("{:>8.1f} %", 100 * gram.combined());
  }

 private:
  std::vector<Pair> pairs_;
  std::string line_;
};

std::vector<std::string> remarks_of(const Comparison& comparison) {
  std::vector<std::string> remarks;
  for (std::size_t i = 0; i < comparison.files.size(); ++i) {
    const ComparedFile& file = comparison.files[i];
    if (file.unknown == 0) continue;
    remarks.push_back(fmt::format(
        "{} of the {} layers of {} are left out: what their kind does depends on the model's "
        "weights; give --model",
        file.unknown, file.layers, label(static_cast<int>(i))));
  }
  const auto dense = std::ranges::count_if(
      comparison.layers, [](const ComparedLayer& layer) { return layer.is_dense; });
  if (dense > 0) {
    remarks.push_back(fmt::format(
        "{} layers have a kind without factors and were compared as whole matrices", dense));
  }
  return remarks;
}

std::string files_text(const Comparison& comparison) {
  std::string text;
  for (std::size_t i = 0; i < comparison.files.size(); ++i) {
    const ComparedFile& file = comparison.files[i];
    const int index = static_cast<int>(i);
    text += fmt::format("{}  {}: {} layers, norm {:.4g}\n", label(index), shown(file.name),
                        file.layers, comparison.total.norm(index));
  }
  return text;
}

std::string opposed_text(const Comparison& comparison, bool verbose) {
  const std::vector<const ComparedLayer*> opposed = opposed_layers(comparison);
  const auto shared = std::ranges::count_if(
      comparison.layers, [](const ComparedLayer& layer) { return files_on(layer) > 1; });
  if (shared == 0) return "\nthey share no layer\n";
  if (opposed.empty())
    return fmt::format("\non none of the {} shared layers they pull against each other\n", shared);
  std::string text = fmt::format("\npulling against each other on {} of {} shared layers:\n",
                                 opposed.size(), shared);
  for (std::size_t i = 0; i < opposed.size(); ++i) {
    if (!verbose && i == kShownLayers) {
      text += fmt::format("  and {} more (--verbose)\n", opposed.size() - i);
      break;
    }
    const Gram& gram = opposed[i]->gram;
    text += fmt::format("  {}  cosine {}, together {:.1f} %\n", opposed[i]->name,
                        cosine_text(least_cosine(gram)), 100 * gram.combined());
  }
  return text;
}

Json number(const std::optional<double>& value) {
  return value ? Json(*value) : Json();
}

/// norms, shares and cosines of one Gram matrix. Files are named by their place.
void add_gram(const Gram& gram, Json& json) {
  json["norms"] = Json::array();
  json["shares"] = Json::array();
  for (int i = 0; i < gram.files(); ++i) {
    json["norms"].push_back(gram.norm(i));
    json["shares"].push_back(gram.share(i));
  }
  json["cosines"] = Json::array();
  for (const Pair pair : pairs_of(gram.files())) {
    json["cosines"].push_back({{"files", {pair.first, pair.second}},
                               {"cosine", number(gram.cosine(pair.first, pair.second))}});
  }
  json["together"] = gram.combined();
}

}  // namespace

std::string to_text(const Comparison& comparison, bool verbose) {
  std::string text = files_text(comparison) + fmt::format("on {}\n\n", shown(comparison.model));
  const Table table(comparison.total.files());
  std::size_t width = 5;
  for (const ComparedBlock& block : comparison.blocks) width = std::max(width, block.name.size());
  text += fmt::format("{:<{}}{}\n", "block", width, table.head());
  for (const ComparedBlock& block : comparison.blocks)
    text += fmt::format("{:<{}}{}\n", block.name, width, table.row(block.gram, block.layers));
  text += fmt::format("{:<{}}{}\n", "all", width,
                      table.row(comparison.total, static_cast<int>(comparison.layers.size())));
  text +=
      "share of the energy; cosine of the changes; together: the energy of their sum to that of "
      "each alone\n";
  text += opposed_text(comparison, verbose);
  if (verbose) {
    text += "\nevery layer:\n";
    for (const ComparedLayer& layer : comparison.layers)
      text += fmt::format("{}  {}\n", table.row(layer.gram, 1), layer.name);
  }
  for (const std::string& remark : remarks_of(comparison)) text += "note: " + remark + "\n";
  text.pop_back();
  return text;
}

std::string to_json(const Comparison& comparison) {
  Json json;
  json["model"] = comparison.model;
  json["files"] = Json::array();
  for (const ComparedFile& file : comparison.files) {
    json["files"].push_back(
        {{"file", file.name}, {"layers", file.layers}, {"left_out", file.unknown}});
  }
  add_gram(comparison.total, json);
  json["blocks"] = Json::array();
  for (const ComparedBlock& block : comparison.blocks) {
    Json row{{"block", block.name}, {"layers", block.layers}};
    add_gram(block.gram, row);
    json["blocks"].push_back(std::move(row));
  }
  json["modules"] = Json::array();
  for (const ComparedLayer& layer : comparison.layers) {
    Json row{{"target", layer.name}, {"block", layer.block}, {"factored", !layer.is_dense}};
    add_gram(layer.gram, row);
    json["modules"].push_back(std::move(row));
  }
  json["opposed"] = Json::array();
  for (const ComparedLayer* layer : opposed_layers(comparison))
    json["opposed"].push_back(layer->name);
  json["remarks"] = remarks_of(comparison);
  return json.dump(2, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace velatura::lora::tools

// velatura demo: a contact sheet of the demonstration model. One prompt a row; a column without
// LoRA, one for each, one for two together, then a sweep of strengths.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>

#include "apps/cli/commands/commands.h"
#include "apps/cli/commands/engine_flags.h"
#include "apps/cli/terminal/progress_line.h"
#include "velatura/engine.h"
#include "velatura/error.h"

namespace velatura::cli {

namespace {

struct DemoFlags {
  EngineOptions engine;
  std::filesystem::path out = "velatura-demo.png";
  int steps = 20;
  std::uint64_t seed = 3;
  int side = 128;
  bool json = false;
};

struct Column {
  std::string title;
  std::vector<LoraRequest> loras;
  std::string words;  ///< the LoRAs' trigger words, added to the prompt
};

LoraRequest lora(const char* name, double weight) {
  return {.name = name, .weight = weight, .text_weight = weight};
}

std::vector<Column> columns() {
  std::vector<Column> all = {
      {"no LoRA", {}, ""},
      {"ink", {lora("ink", 1)}, "ink drawing"},
      {"clay", {lora("clay", 1)}, "3d render"},
      {"blob", {lora("blob", 1)}, "blob style"},
      {"ink 0.5 + blob 0.5", {lora("ink", 0.5), lora("blob", 0.5)}, "blob style"}};
  for (const double weight : {-0.5, 0.25, 0.5, 0.75, 1.25})
    all.push_back({fmt::format("ink {}", weight), {lora("ink", weight)}, "ink drawing"});
  return all;
}

constexpr const char* kPrompts[] = {"cat face", "red apple",         "rocket",
                                    "owl",      "house with garden", "crown"};

/// Each pixel the mean of the block it covers: the sheet shows pictures at a fraction of their
/// size.
void paste(Image& sheet, const Image& picture, int left, int top, int side) {
  for (int y = 0; y < side; ++y) {
    for (int x = 0; x < side; ++x) {
      for (int channel = 0; channel < 3; ++channel) {
        const int y0 = y * picture.height / side,
                  y1 = std::max(y0 + 1, (y + 1) * picture.height / side);
        const int x0 = x * picture.width / side,
                  x1 = std::max(x0 + 1, (x + 1) * picture.width / side);
        int sum = 0;
        for (int v = y0; v < y1; ++v) {
          for (int u = x0; u < x1; ++u)
            sum += picture.pixels[static_cast<std::size_t>(
                (v * picture.width + u) * picture.channels + channel)];
        }
        sheet.pixels[static_cast<std::size_t>(((top + y) * sheet.width + left + x) * 3 + channel)] =
            static_cast<std::uint8_t>(sum / ((y1 - y0) * (x1 - x0)));
      }
    }
  }
}

void run_demo(const DemoFlags& flags, const std::stop_token& stop) {
  constexpr int kGap = 6;
  const std::vector<Column> sheet_columns = columns();
  const int across = static_cast<int>(sheet_columns.size()),
            down = static_cast<int>(std::size(kPrompts));
  Picture sheet;
  sheet.image = {.width = across * (flags.side + kGap) + kGap,
                 .height = down * (flags.side + kGap) + kGap,
                 .channels = 3,
                 .pixels = {}};
  constexpr std::uint8_t kGround = 232;
  sheet.image.pixels.assign(static_cast<std::size_t>(sheet.image.width) *
                                static_cast<std::size_t>(sheet.image.height) * 3,
                            kGround);
  Engine engine(flags.engine);
  terminal::ProgressLine line;
  int done = 0;
  for (int row = 0; row < down; ++row) {
    for (int column = 0; column < across; ++column) {
      const Column& what = sheet_columns[static_cast<std::size_t>(column)];
      GenerateRequest request;
      request.prompt = std::string(kPrompts[row]) + (what.words.empty() ? "" : ", " + what.words);
      request.loras = what.loras;
      request.steps = flags.steps;
      request.seed = flags.seed;
      const GenerateResult result = engine.generate(request, {}, stop);
      paste(sheet.image, result.pictures.front().image, kGap + column * (flags.side + kGap),
            kGap + row * (flags.side + kGap), flags.side);
      line.update({.step = ++done, .steps = across * down, .seconds_per_step = result.seconds});
    }
  }
  line.finish();
  save_png(sheet, flags.out);
  if (flags.json) {
    nlohmann::ordered_json json = {{"file", flags.out.string()},
                                   {"width", sheet.image.width},
                                   {"height", sheet.image.height},
                                   {"columns", nlohmann::ordered_json::array()},
                                   {"rows", kPrompts}};
    for (const Column& column : sheet_columns) json["columns"].push_back(column.title);
    fmt::print("{}\n", json.dump(2));
    return;
  }
  fmt::print("{}  {}x{}\ncolumns:", flags.out.string(), sheet.image.width, sheet.image.height);
  for (const Column& column : sheet_columns) fmt::print(" {} |", column.title);
  fmt::print("\nrows:");
  for (const char* prompt : kPrompts) fmt::print(" {} |", prompt);
  fmt::print("\n");
}

}  // namespace

void add_demo(CLI::App& app, std::stop_token stop) {
  CLI::App* command = app.add_subcommand("demo",
                                         "draw a contact sheet with the demonstration model: no "
                                         "LoRA, each, two together, a sweep of strengths");
  auto flags = std::make_shared<DemoFlags>();
  command
      ->add_option("--out", flags->out, "FILE  (default velatura-demo.png, replaced in one step)")
      ->type_name("");
  command->add_option("--steps", flags->steps, "N  steps of each picture (default 20)")
      ->type_name("")
      ->check(CLI::Range(1, 1000));
  command->add_option("--seed", flags->seed, "N  of every picture (default 3)")->type_name("");
  command->add_option("--side", flags->side, "N  pixels of a picture on the sheet (default 128)")
      ->type_name("")
      ->check(CLI::Range(16, 256));
  command->add_flag("--json", flags->json, "print one JSON document to standard output");
  add_engine_flags(*command, flags->engine);
  command->callback([flags, stop = std::move(stop)] { run_demo(*flags, stop); });
}

}  // namespace velatura::cli

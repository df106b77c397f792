// velatura lora list: the adapter files in the model folders.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>

#include "apps/cli/commands/lora.h"
#include "apps/cli/terminal/columns.h"
#include "apps/cli/terminal/screen.h"
#include "base/text.h"
#include "velatura/library.h"

namespace velatura::cli {

namespace {

struct ListFlags {
  LibraryOptions options;
  LibraryQuery query;
  std::string rank, sort = "name";
  bool hashes = false;
  bool json = false;
};

std::string rank_text(const LibraryEntry& entry) {
  if (entry.common_rank == 0) return {};
  if (entry.min_rank == entry.max_rank) return fmt::format("{}", entry.common_rank);
  return fmt::format("{} ({}-{})", entry.common_rank, entry.min_rank, entry.max_rank);
}

std::string algorithm_text(const LibraryEntry& entry) {
  if (entry.algorithms.empty()) return {};
  return entry.algorithms.size() == 1 ? entry.algorithms[0] : entry.algorithms[0] + " +";
}

/// Its problem, or the weight and the words to use it with.
std::string use_text(const LibraryEntry& entry) {
  if (!entry.problem.empty()) return "! " + entry.problem;
  std::string text = entry.recommended_weight ? fmt::format("{:g}", *entry.recommended_weight) : "";
  for (const SourcedText& word : entry.trigger_words)
    text += (text.empty() ? "" : ", ") + word.text;
  return text;
}

std::string table_of(const LibraryEntries& entries, bool hashes) {
  std::vector<terminal::Column> columns = {{.title = "name", .least = 12},
                                           {.title = "family", .least = 6},
                                           {.title = "algorithm"},
                                           {.title = "rank", .right = true},
                                           {.title = "size", .right = true, .least = 7}};
  if (hashes) columns.push_back({.title = "AutoV3", .least = 12});
  columns.push_back({.title = "weight, trigger words", .least = 8});
  std::vector<std::vector<std::string>> rows;
  for (const auto& entry : entries) {
    std::vector<std::string> row = {entry->relative_path, entry->family, algorithm_text(*entry),
                                    rank_text(*entry), size_text(entry->bytes)};
    if (hashes) row.push_back(entry->hashes.auto_v3.substr(0, 12));
    row.push_back(use_text(*entry));
    rows.push_back(std::move(row));
  }
  const int cells = terminal::is_terminal(stdout) ? terminal::screen_size(stdout).columns : 0;
  return terminal::format_table(columns, rows, cells);
}

void run_list(ListFlags& flags, const std::stop_token& stop) {
  flags.query.order = parse_library_order(flags.sort);
  if (!flags.rank.empty()) parse_rank_range(flags.rank, flags.query);
  const bool live = terminal::is_terminal(stderr);
  flags.options.on_progress = [live](std::size_t done, std::size_t total) {
    if (live) fmt::print(stderr, "\rreading headers: {} of {} …\x1b[K", done, total);
  };
  Library library(flags.options, stop);
  const LibraryScan scan = library.last_scan();
  if (live && scan.read > 0) fmt::print(stderr, "\r\x1b[K");
  for (const std::string& note : scan.notes) fmt::print(stderr, "{}\n", note);
  LibraryEntries entries = library.list(flags.query);
  if (flags.hashes) {
    library.compute_hashes(entries, stop);
    entries = library.list(flags.query);
  }
  if (flags.json) {
    fmt::print("{}\n", to_json(entries));
    return;
  }
  if (!entries.empty()) fmt::print("{}", table_of(entries, flags.hashes));
  fmt::print(stderr, "{} of {} adapters, {:.2f} s ({} read)\n", entries.size(), scan.files,
             scan.seconds, scan.read);
}

}  // namespace

void add_lora_list(CLI::App& group, std::stop_token stop) {
  CLI::App* command = group.add_subcommand(
      "list", "the adapter files in the model folders, other programs' folders too");
  auto flags = std::make_shared<ListFlags>();
  const auto add = [&](const char* name, auto& target, const char* help) {
    return command->add_option(name, target, help)->type_name("");
  };
  add("--models", flags->options.model_dirs, "DIR  a folder with models (repeatable)")
      ->allow_extra_args(false);
  add("--family", flags->query.family, "NAME  sd15, sdxl, flux, zimage, or another's name");
  add("--rank", flags->rank, "N|A-B|A-|-B  the most common rank of the modules");
  add("--algorithm", flags->query.algorithm, "NAME  a part of it: lokr, dora");
  add("--tag", flags->query.tag, "TAG  a trigger word, tag or frequent caption tag, whole");
  add("--text", flags->query.text, "WORDS  each in the name, path, title, notes, tags …");
  command->add_flag("--problems", flags->query.problems_only, "only files that cannot be used");
  add("--sort", flags->sort, "name|family|rank|algorithm|size|date  (default name)");
  command->add_flag("--reverse", flags->query.reverse, "the last first");
  add("--limit", flags->query.limit, "N  at most so many")->check(CLI::PositiveNumber);
  command->add_flag("--hashes", flags->hashes,
                    "compute the hashes of those listed, where not remembered");
  command->add_flag("--json", flags->json, "print one JSON document to standard output");
  command->callback([flags, stop = std::move(stop)] { run_list(*flags, stop); });
}

}  // namespace velatura::cli

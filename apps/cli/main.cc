// The command line: chooses a command, turns an Error into an exit code, and Ctrl-C into a stop
// request.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <span>
#include <system_error>

#include "apps/cli/commands/commands.h"
#include "apps/cli/interrupt.h"
#include "apps/cli/lost_file.h"
#include "velatura/error.h"

namespace velatura::cli {

namespace {

/// Stable, documented in docs/reference/command-line.md.
int exit_code(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::invalid_argument:
      return 2;
    case ErrorKind::not_found:
      return 3;
    case ErrorKind::bad_file:
      return 4;
    case ErrorKind::unsupported:
      return 5;
    case ErrorKind::mismatch:
      return 6;
    case ErrorKind::out_of_memory:
      return 7;
    case ErrorKind::io:
      return 8;
    case ErrorKind::cancelled:
      return 130;
    case ErrorKind::internal:
      return 70;
  }
  return 70;
}

/// A word that is no command, before its flags can ask for the help of what stands before it.
void refuse_unknown_command(const CLI::App& app, std::span<char* const> words) {
  const CLI::App* group = &app;
  for (const char* word : words) {
    if (*word == '-' || group->get_require_subcommand_min() == 0) return;
    const auto commands = group->get_subcommands([](const CLI::App*) { return true; });
    const auto found = std::ranges::find(
        commands, word, [](const CLI::App* command) { return command->get_name(); });
    if (found != commands.end()) {
      group = *found;
      continue;
    }
    std::vector<std::string> names;
    for (const CLI::App* command : commands) names.push_back(command->get_name());
    throw Error(ErrorKind::invalid_argument,
                fmt::format("\"{}\" is no command of {}; there are {}", word,
                            group == &app ? "velatura" : "velatura " + group->get_name(),
                            fmt::join(names, ", ")));
  }
}

void complain_of_output(const char* reason) {
  fmt::print(stderr, "velatura: cannot write to standard output{}{}\n", *reason ? ": " : "",
             reason);
}

/// What a command printed has to be where it was printed to.
int finish_output(int code) {
  const bool was_lost = std::ferror(stdout) != 0;
  const bool is_lost = std::fflush(stdout) != 0;
  if (!was_lost && !is_lost) return code;
  complain_of_output(is_lost ? std::strerror(errno) : "");
  return exit_code(ErrorKind::io);
}

int run(int argc, char** argv) {
  CLI::App app{"Velatura makes pictures from text, with every LoRA alive inside its layers.",
               "velatura"};
  app.set_version_flag("--version", VELATURA_VERSION);
  app.require_subcommand(1);
  app.set_help_all_flag("--help-all", "the help of every command");
  explain_lost_files();
  Interrupt interrupt;  // before any thread is made: threads inherit the blocked signal
  add_commands(app, interrupt.token());
  try {
    refuse_unknown_command(app, std::span(argv, static_cast<std::size_t>(argc)).subspan(1));
    app.parse(argc, argv);  // runs the command chosen
  } catch (const CLI::Success& asked) {
    return finish_output(app.exit(asked));
  } catch (const CLI::RuntimeError& verdict) {  // a command whose exit code is its answer
    return finish_output(verdict.get_exit_code());
  } catch (const CLI::ParseError& error) {
    app.exit(error);
    return exit_code(ErrorKind::invalid_argument);
  } catch (const Error& error) {
    fmt::print(stderr, "velatura: {}\n", error.what());
    return exit_code(error.kind());
  } catch (const std::bad_alloc&) {
    fmt::print(stderr, "velatura: out of memory\n");
    return exit_code(ErrorKind::out_of_memory);
  } catch (const std::system_error& error) {
    if (std::ferror(stdout) != 0) {  // as fmt::print throws it
      complain_of_output(error.code().message().c_str());
      return exit_code(ErrorKind::io);
    }
    fmt::print(stderr, "velatura: internal error: {}\n", error.what());
    return exit_code(ErrorKind::internal);
  } catch (const std::exception& error) {
    fmt::print(stderr, "velatura: internal error: {}\n", error.what());
    return exit_code(ErrorKind::internal);
  }
  return finish_output(0);
}

}  // namespace

}  // namespace velatura::cli

int main(int argc, char** argv) {
  return velatura::cli::run(argc, argv);
}

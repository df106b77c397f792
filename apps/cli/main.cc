// The command line: chooses a command, turns an Error into an exit code, and Ctrl-C into a stop
// request.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>

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
    app.parse(argc, argv);  // runs the command chosen
  } catch (const CLI::Success& asked) {
    return app.exit(asked);
  } catch (const CLI::RuntimeError& verdict) {  // a command whose exit code is its answer
    return verdict.get_exit_code();
  } catch (const CLI::ParseError& error) {
    app.exit(error);
    return exit_code(ErrorKind::invalid_argument);
  } catch (const Error& error) {
    fmt::print(stderr, "velatura: {}\n", error.what());
    return exit_code(error.kind());
  } catch (const std::bad_alloc&) {
    fmt::print(stderr, "velatura: out of memory\n");
    return exit_code(ErrorKind::out_of_memory);
  } catch (const std::exception& error) {
    fmt::print(stderr, "velatura: internal error: {}\n", error.what());
    return exit_code(ErrorKind::internal);
  }
  return 0;
}

}  // namespace

}  // namespace velatura::cli

int main(int argc, char** argv) {
  return velatura::cli::run(argc, argv);
}

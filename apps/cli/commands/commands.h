// One function a command, each in the file of its name; add_commands() is their table.
#pragma once

#include <stop_token>

namespace CLI {
class App;
}

namespace velatura::cli {

void add_commands(CLI::App& app, std::stop_token stop);

void add_generate(CLI::App& app, std::stop_token stop);
void add_demo(CLI::App& app, std::stop_token stop);
void add_lora(CLI::App& app, std::stop_token stop);
void add_inspect(CLI::App& app, std::stop_token stop);
void add_bench(CLI::App& app, std::stop_token stop);
void add_doctor(CLI::App& app, std::stop_token stop);

}  // namespace velatura::cli

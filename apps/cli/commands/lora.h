// velatura lora: the group of commands about adapter files. One function a command, each in the
// file lora_<name>.cc; the table in lora.cc lists them in the order that `velatura lora --help`
// shows.
#pragma once

#include <stop_token>

namespace CLI {
class App;
}

namespace velatura {
struct LoraModel;
}

namespace velatura::cli {

/// --model and --models of a command that looks at files with a model; `help` says what the model
/// is for. `model` outlives the parsing.
void add_lora_model_flags(CLI::App& command, LoraModel& model, const char* help);

// One declaration a command: void add_lora_<name>(CLI::App& group, std::stop_token stop);
void add_lora_check(CLI::App& group, std::stop_token stop);
void add_lora_list(CLI::App& group, std::stop_token stop);
void add_lora_info(CLI::App& group, std::stop_token stop);
void add_lora_compare(CLI::App& group, std::stop_token stop);
void add_lora_convert(CLI::App& group, std::stop_token stop);

}  // namespace velatura::cli

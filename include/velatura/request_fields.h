// The fields of a GenerateRequest as rows of one table: the command line, JSON documents and the
// manual derive from it.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "velatura/request.h"

namespace velatura {

struct RequestField {
  std::string_view name;        ///< "guidance-rescale": the flag without dashes, the key in JSON
  std::string_view value_name;  ///< "N", "PATH", "live|fused"; empty for a switch
  std::string_view help;
  bool repeatable = false;  ///< each value adds one to a list
  /// Parses `value` into the request. Throws invalid_argument saying what is allowed.
  void (*set)(GenerateRequest& request, const std::string& value) = nullptr;
  /// The value as text that set() reads back, one per element where repeatable; empty where it is
  /// the default.
  std::vector<std::string> (*get)(const GenerateRequest& request) = nullptr;
  /// Empties the list of a repeatable field; null for others.
  void (*clear)(GenerateRequest& request) = nullptr;
};

std::span<const RequestField> request_fields();

/// The request as a JSON object of its non-default fields, and back. Unknown keys and wrong types
/// are errors.
std::string to_json(const GenerateRequest& request);
GenerateRequest request_from_json(std::string_view json);

/// "name-or-path[:weight[:text weight]][:key=value…]": what a tag <lora:…> may hold, the denoiser's
/// number first; also mask=FILE and feather=N. A ':' belongs to the path when nothing of the
/// grammar follows it. Throws invalid_argument.
LoraRequest parse_lora(const std::string& text);
/// The shortest text that parse_lora() reads back as `lora`.
std::string to_text(const LoraRequest& lora);

}  // namespace velatura

// What may stand behind an adapter's name, in a tag <lora:name:…> and in --lora name:…: strengths,
// points, block weights, steps (A1111's extra_networks.py; the extension
// sd-webui-lora-block-weight; lora-formats §1.20, §1.21). Not here: finding tags in prompts
// (tags.h), what the values do (lora).
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "velatura/request.h"

namespace velatura::pipelines::prompt {

/// A list at ':'; never empty.
std::vector<std::string_view> split_items(std::string_view text);

/// Whether `item` is a number, points, or a known name and '='.
bool is_item(std::string_view item);

struct ItemRules {
  LoraOrder order = LoraOrder::text_first;
  bool names_files = false;  ///< mask= may stand here
};

/// `items` are those behind `name`, in any number. Named ones win over positional ones. `whole` is
/// what was written, for messages. Throws invalid_argument: for a name that is not known with the
/// three nearest.
LoraRequest read_items(std::string_view name, std::span<const std::string_view> items,
                       const ItemRules& rules, std::string_view whole);

/// "name:…" in the given order, the shortest that reads back the same. `with_files`: masks too.
std::string write_items(const LoraRequest& lora, const ItemRules& rules);

/// "0.5", or "0@0,1@0.5": a strength as read_items takes it at a number's place.
std::string to_text(const LoraCurve& curve);

}  // namespace velatura::pipelines::prompt

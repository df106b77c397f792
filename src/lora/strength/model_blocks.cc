// The blocks of a model and the lists that a family takes.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <set>
#include <unordered_map>

#include "lora/strength/block_weights.h"

namespace velatura::lora {

namespace {

using weights::Part;

/// A first part of native names that is a block, or numbered blocks of one kind.
struct BlockRow {
  std::string_view native;  ///< empty: every other name
  std::string_view block;   ///< empty: none, no list covers it
  bool numbered = false;
};

constexpr auto kUNetRows = std::to_array<BlockRow>({{"input_blocks", "IN", true},
                                                    {"middle_block", "M00"},
                                                    {"output_blocks", "OUT", true},
                                                    {"out", ""},
                                                    {"time_embed", "IN00"},
                                                    {"label_emb", "IN00"},
                                                    {"", ""}});
constexpr auto kFluxRows = std::to_array<BlockRow>({{"double_blocks", "D", true},
                                                    {"single_blocks", "S", true},
                                                    {"final_layer", "OUT"},
                                                    {"", "IN"}});
constexpr auto kZImageRows = std::to_array<BlockRow>({{"noise_refiner", "NR", true},
                                                      {"context_refiner", "CR", true},
                                                      {"layers", "L", true},
                                                      {"final_layer", "OUT"},
                                                      {"", "IN"}});

/// Which rows a denoiser has, in what order its blocks stand, and what its text encoders are
/// called.
struct FamilyBlocks {
  Part denoiser;
  std::span<const BlockRow> rows;
  std::array<std::string_view, 7> order;  ///< kinds of blocks; empty ones are unused
};

constexpr auto kFamilies = std::to_array<FamilyBlocks>({
    {Part::unet, kUNetRows, {"BASE", "IN", "M", "OUT"}},
    {Part::flux, kFluxRows, {"CLIP", "T5", "IN", "D", "S", "OUT"}},
    {Part::z_image, kZImageRows, {"TE", "IN", "NR", "CR", "L", "OUT"}},
});

std::string_view text_block(Part denoiser, Part encoder) {
  if (denoiser == Part::flux) return encoder == Part::t5 ? "T5" : "CLIP";
  return denoiser == Part::z_image ? "TE" : "BASE";
}

std::string numbered(std::string_view kind, int number) {
  return fmt::format("{}{:02}", kind, number);
}

/// "input_blocks.4.1.proj_in" → "IN04".
std::string block_of(std::string_view native, std::span<const BlockRow> rows) {
  const std::size_t dot = native.find('.');
  const std::string_view first = native.substr(0, dot);
  const auto row = std::ranges::find_if(
      rows, [&](const BlockRow& r) { return r.native.empty() || r.native == first; });
  if (!row->numbered || dot == native.npos) return std::string(row->block);
  int number = 0;
  const std::string_view rest = native.substr(dot + 1);
  std::from_chars(rest.data(), rest.data() + rest.size(), number);
  return numbered(row->block, number);
}

/// "output_blocks.5.2.conv.weight" → without what a parameter is called.
std::string module_name(const std::string& parameter) {
  for (const std::string_view end : {".weight", ".bias"}) {
    if (parameter.ends_with(end)) return parameter.substr(0, parameter.size() - end.size());
  }
  return parameter;
}

std::size_t digits_at(std::string_view block) {
  return std::min(block.find_first_of("0123456789"), block.size());
}

std::vector<std::string> numbers(std::string_view kind, std::initializer_list<int> which) {
  std::vector<std::string> blocks;
  for (const int number : which) blocks.push_back(numbered(kind, number));
  return blocks;
}

std::vector<std::string> counted(std::string_view kind, int count) {
  std::vector<std::string> blocks;
  for (int number = 0; number < count; ++number) blocks.push_back(numbered(kind, number));
  return blocks;
}

std::vector<std::string> joined(std::initializer_list<std::vector<std::string>> parts) {
  std::vector<std::string> whole;
  for (const auto& part : parts) whole.insert(whole.end(), part.begin(), part.end());
  return whole;
}

/// Lists of the published sizes: people have them in their files.
std::vector<std::vector<std::string>> published_lists(Part denoiser, bool is_sdxl) {
  const std::vector<std::string> base = {"BASE"}, middle = {"M00"};
  if (denoiser == Part::flux) {
    return {joined({{"CLIP", "T5", "IN"}, counted("D", 19), counted("S", 38), {"OUT"}})};
  }
  if (denoiser == Part::z_image) {
    return {joined({{"TE", "IN"}, counted("NR", 2), counted("CR", 2), counted("L", 30), {"OUT"}})};
  }
  if (is_sdxl) {
    return {joined({base, numbers("IN", {4, 5, 7, 8}), middle, counted("OUT", 6)}),
            joined({base, counted("IN", 9), middle, counted("OUT", 9)})};
  }
  return {joined({base, numbers("IN", {1, 2, 4, 5, 7, 8}), middle,
                  numbers("OUT", {3, 4, 5, 6, 7, 8, 9, 10, 11})}),
          joined({base, counted("IN", 12), middle, counted("OUT", 12)})};
}

bool has_attention(const ModelBlocks::Module& module) {
  return module.path.find("attentions.") != module.path.npos;
}

}  // namespace

ModelBlocks::ModelBlocks(std::span<const Component> components) {
  const auto denoiser = std::ranges::find_if(
      components, [](const Component& c) { return !weights::is_text_encoder(c.part); });
  const Part part = denoiser == components.end() ? Part::unet : denoiser->part;
  is_unet_ = part == Part::unet;
  const FamilyBlocks& family = *std::ranges::find(kFamilies, part, &FamilyBlocks::denoiser);

  const auto by_number = [](const std::string& a, const std::string& b) {
    return std::pair(a.size(), std::string_view(a)) < std::pair(b.size(), std::string_view(b));
  };
  std::set<std::string, decltype(by_number)> present(by_number);
  std::set<std::string> attentive;  // of a UNet
  bool is_sdxl = false;
  for (const Component& component : components) {
    std::unordered_map<std::string, std::string> native;
    for (const weights::NameRow& row : component.native)
      native.try_emplace(module_name(row.canonical), module_name(row.file));
    std::vector<Module>& modules = modules_.emplace_back();
    for (const ModuleShape& shape : component.modules) {
      Module module{.component = component.name, .path = shape.path, .native = {}, .block = {}};
      if (const auto found = native.find(shape.path); found != native.end())
        module.native = found->second;
      module.block =
          weights::is_text_encoder(component.part)
              ? std::string(text_block(part, component.part))
              : block_of(module.native.empty() ? shape.path : module.native, family.rows);
      is_sdxl |= shape.path.starts_with("add_embedding.");
      if (!module.block.empty()) present.insert(module.block);
      if (has_attention(module)) attentive.insert(module.block);
      modules.push_back(std::move(module));
    }
  }

  std::vector<std::string> with_attention;
  for (const std::string_view kind : family.order) {
    if (kind.empty()) continue;
    // Text encoders and the ends have their place in a list whether or not they are there.
    const bool has_own = std::ranges::any_of(present, [&](const std::string& block) {
      return block.substr(0, digits_at(block)) == kind && block.size() > kind.size();
    });
    if (!has_own) {
      names_.emplace_back(kind);
      if (kind == family.order.front()) with_attention.emplace_back(kind);
      continue;
    }
    for (const std::string& block : present) {
      if (block.substr(0, digits_at(block)) != kind) continue;
      names_.push_back(block);
      if (attentive.contains(block) || kind == "M") with_attention.push_back(block);
    }
  }
  if (is_unet_) lists_.push_back(std::move(with_attention));
  lists_.push_back(names_);
  for (auto& list : published_lists(part, is_sdxl)) {
    const bool known =
        std::ranges::any_of(lists_, [&](const auto& other) { return other.size() == list.size(); });
    if (!known) lists_.push_back(std::move(list));
  }
}

}  // namespace velatura::lora

#include "engine/picture_texts.h"

#include <algorithm>

#include "base/utf8.h"

namespace velatura::engine {

namespace {

/// Names of files may be any bytes (archives in Japanese encodings make such), a picture's text may
/// not: U+FFFD stands for those that are none. Such an adapter is found again by its hash.
std::string as_utf8(std::string_view text) {
  constexpr std::uint32_t kReplacement = 0xFFFD;
  std::string result;
  while (!text.empty()) {
    const std::size_t length = utf8_character_length(text);
    if (length > 0) {
      result += text.substr(0, length);
    } else {
      append_utf8(result, kReplacement);
    }
    text.remove_prefix(std::max<std::size_t>(length, 1));
  }
  return result;
}

/// The request with every open end closed: what files beside the adapters say, what letters of
/// block weights were drawn, may be otherwise the next time.
GenerateRequest settle(GenerateRequest request, const RequestedAdapters& adapters) {
  if (!request.raw_prompt) {
    request.prompt = adapters.sets.size() == 1 ? adapters.sets.front().prompt : adapters.prompt;
  }
  request.loras.clear();
  for (std::size_t i = 0; i < adapters.shared; ++i)
    request.loras.push_back(adapters.all[i].settled);
  for (std::size_t picture = 0; picture < request.picture_loras.size(); ++picture) {
    request.picture_loras[picture].clear();
    for (const std::size_t i : adapters.sets[adapters.set_of_picture[picture]].adapters) {
      if (i >= adapters.shared) request.picture_loras[picture].push_back(adapters.all[i].settled);
    }
  }
  request.lora_masks.clear();
  return request;
}

}  // namespace

PictureTexts::PictureTexts(const GenerateRequest& request, std::string negative,
                           const RequestedAdapters& adapters, pipelines::GenerationFacts facts,
                           ReplayFacts replay)
    : settled_(settle(request, adapters)),
      adapters_(adapters),
      facts_(std::move(facts)),
      replay_(std::move(replay)) {
  settled_.negative = std::move(negative);
}

std::vector<std::pair<std::string, std::string>> PictureTexts::of(int batch, int index,
                                                                  const Image& image,
                                                                  bool changed_live) {
  GenerateRequest request = settled_;
  const std::uint64_t first = *settled_.seed + static_cast<std::uint64_t>(batch) *
                                                   static_cast<std::uint64_t>(request.batch);
  request.seed = first;
  request.count = 1;
  if (request.batch > 1) request.pick = index;
  const PictureSet& set = adapters_.sets[adapters_.set_of_picture[static_cast<std::size_t>(index)]];
  facts_.prompt = set.prompt;
  facts_.loras.clear();
  for (const std::size_t i : set.adapters)
    facts_.loras.push_back(
        {.lora = adapters_.all[i].settled, .hash = adapters_.all[i].outcome.hash});
  facts_.changed_live = replay_.changed_live = changed_live;
  facts_.seed = first + static_cast<std::uint64_t>(index);
  facts_.width = image.width;
  facts_.height = image.height;
  return {
      {"parameters", as_utf8(image::write_infotext(pipelines::write_generation(request, facts_)))},
      {std::string(kReplayKey), write_replay(request, replay_)}};
}

}  // namespace velatura::engine

#include "engine/bench/lora.h"

#include <algorithm>
#include <array>
#include <optional>

#include "engine/bench/ceiling.h"
#include "engine/bench/counting_table.h"
#include "engine/bench/workbench.h"
#include "lora/apply/adapter_set.h"
#include "models/families.h"
#include "models/unet/names.h"
#include "models/unet/unet.h"

namespace velatura::engine::bench {

namespace fs = std::filesystem;
using models::unet::UNet;
using models::unet::UNetConfig;

namespace {

// Odd, so that the median is a run; a step takes seconds.
constexpr int kRuns = 5;
/// Of steps of four pictures, which take four times as long.
constexpr int kBatchRuns = 3;
constexpr int kLoraRank = 16;
constexpr std::size_t kAdapters = 8;
constexpr std::int64_t kPictures = 4;
/// Of a rank-16 or so file on all of SDXL's transformer blocks in f16, as trainers write them.
constexpr std::int64_t kSdxlBytes = 144'000'000;

constexpr auto kParts = std::to_array<std::string_view>(
    {"lora_1_overhead", "lora_8_overhead", "lokr_overhead", "locon_overhead", "strength_change",
     "switch_set", "pictures_overhead", "first_use"});

using Bound = std::shared_ptr<const lora::BoundAdapter>;

class LoraBench {
 public:
  LoraBench(const BenchRequest& request, const Device& device,
            const std::function<void(const BenchPart&)>& done)
      : request_(request),
        device_(device),
        done_(done),
        unet_(synthetic_model<UNet>("sd15.unet.diffusers", UNetConfig{})),
        components_({lora::component_of("unet", weights::Part::unet, unet_->tree(),
                                        models::unet::ldm_names(UNetConfig{}, ""))}),
        names_(components_) {}

  void run() {
    std::vector<lora::AdapterUse> uses;
    for (std::size_t i = 0; i < kAdapters; ++i) {
      uses.push_back({.adapter = adapter([&, i](const fs::path& path) {
                        write_attention_lora(path, components_.front(), kLoraRank,
                                             static_cast<unsigned>(i + 1));
                      }),
                      .denoiser = 0.5f,
                      .text = 0.5f});
    }
    if (wants("lora_1_overhead")) measure_overhead("lora_1_overhead", {uses.front()});
    if (wants("lora_8_overhead")) measure_overhead("lora_8_overhead", uses);
    if (wants("lokr_overhead")) {
      measure_overhead("lokr_overhead", {{.adapter = adapter([&](const fs::path& path) {
                                            write_lokr(path, components_.front());
                                          }),
                                          .denoiser = 0.5f}});
    }
    if (wants("locon_overhead")) {
      measure_overhead("locon_overhead", {{.adapter = adapter([&](const fs::path& path) {
                                             write_locon(path, components_.front(), kLoraRank);
                                           }),
                                           .denoiser = 0.5f}});
    }
    if (wants("strength_change")) measure_strength(uses);
    if (wants("switch_set")) measure_switch(uses);
    if (wants("pictures_overhead")) measure_pictures(uses);
    if (wants("first_use")) measure_first_use();
  }

 private:
  bool wants(std::string_view part) const {
    return request_.parts.empty() ||
           std::ranges::find(request_.parts, part) != request_.parts.end();
  }

  Bound adapter(const std::function<void(const fs::path&)>& write) {
    const fs::path path = folder_.path() / fmt::format("{}.safetensors", ++files_);
    write(path);
    return lora::bind(lora::AdapterFile::open(path), components_, names_);
  }

  lora::AdapterSet set_of(std::vector<lora::AdapterUse> uses,
                          std::shared_ptr<lora::StackCache> cache = nullptr) const {
    return {components_, std::move(uses), lora::Mode::live,
            lora::SetOptions{.cache = std::move(cache), .weight_type = device_.compute}};
  }

  /// One step of the denoiser on `pictures` pictures under guidance.
  void step(ops::Context& context, std::int64_t pictures, const lora::AdapterSet* set,
            std::span<const nn::PicturePatches> own = {}) {
    if (samples_ != pictures) {
      const std::int64_t side = request_.size / 8;
      sample_ = noise({2 * pictures, 4, side, side});
      text_ = noise({2 * pictures, 77, 768});
      samples_ = pictures;
    }
    nn::Run run{
        .ops = context, .patches = set == nullptr ? nullptr : set->patches(0), .pictures = own};
    (*unet_)->forward(run, sample_, std::array{500.0f}, text_);
  }

  /// With and without in turns, so that a machine that slows down slows both.
  void measure_overhead(const char* name, std::vector<lora::AdapterUse> uses) {
    const lora::AdapterSet set = set_of(std::move(uses));
    CountingTable plain(*device_.table), adapted(*device_.table);
    Workspace workspace;
    ops::Context counted_plain(plain, workspace, device_.compute);
    ops::Context counted_adapted(adapted, workspace, device_.compute);
    step(counted_plain, 1, nullptr);
    step(counted_adapted, 1, &set);
    ops::Context context(*device_.table, workspace, device_.compute);
    const auto [with, without] =
        in_turns([&] { step(context, 1, &set); }, [&] { step(context, 1, nullptr); });
    done_({.name = name,
           .seconds = with,
           .flops = adapted.flops(),
           .ratio = with / without,
           .flop_ratio = adapted.flops() / plain.flops()});
  }

  static std::pair<double, double> in_turns(const std::function<void()>& with,
                                            const std::function<void()>& without,
                                            int runs = kRuns) {
    std::vector<double> with_seconds, without_seconds;
    for (int run = 0; run < runs; ++run) {
      without_seconds.push_back(seconds_of(without));
      with_seconds.push_back(seconds_of(with));
    }
    return {median(with_seconds), median(without_seconds)};
  }

  void measure_strength(const std::vector<lora::AdapterUse>& uses) {
    lora::AdapterSet set = set_of(uses);
    float strength = 0.5f;
    done_({.name = "strength_change", .seconds = median_seconds(101, [&] {
                                        set.set_strength(3, strength = 1.2f - strength, 0.5f);
                                      })});
  }

  /// Between two sets that have run.
  void measure_switch(const std::vector<lora::AdapterUse>& uses) {
    const auto cache = std::make_shared<lora::StackCache>();
    const auto half = [&](bool first) {
      const auto middle = uses.begin() + static_cast<std::ptrdiff_t>(uses.size() / 2);
      return set_of(first ? std::vector(uses.begin(), middle) : std::vector(middle, uses.end()),
                    cache);
    };
    Workspace workspace;
    ops::Context context(*device_.table, workspace, device_.compute);
    for (const bool first : {true, false}) {
      const lora::AdapterSet set = half(first);
      step(context, 1, &set);
    }
    std::optional<lora::AdapterSet> current;
    bool first = false;
    done_({.name = "switch_set", .seconds = median_seconds(11, [&] {
                                   first = !first;
                                   current.emplace(half(first));
                                 })});
  }

  /// A batch whose pictures have an adapter each, against one adapter for all.
  void measure_pictures(const std::vector<lora::AdapterUse>& uses) {
    std::vector<lora::AdapterSet> own;
    for (std::int64_t picture = 0; picture < kPictures; ++picture)
      own.push_back(set_of({uses[static_cast<std::size_t>(picture)]}));
    std::vector<nn::PicturePatches> ranges;
    for (std::int64_t row = 0; row < 2 * kPictures; ++row) {
      ranges.push_back({.begin = row,
                        .end = row + 1,
                        .patches = own[static_cast<std::size_t>(row % kPictures)].patches(0)});
    }
    const lora::AdapterSet one = set_of({uses.front()});
    Workspace workspace;
    ops::Context context(*device_.table, workspace, device_.compute);
    const auto with = [&] { step(context, kPictures, nullptr, ranges); };
    const auto without = [&] { step(context, kPictures, &one); };
    with();
    without();
    const auto [own_seconds, one_seconds] = in_turns(with, without, kBatchRuns);
    done_(
        {.name = "pictures_overhead", .seconds = own_seconds, .ratio = own_seconds / one_seconds});
  }

  /// From the path to bound modules and the content's hash, the file in the page cache.
  void measure_first_use() {
    std::vector<lora::Component> components;
    for (models::PartShape& part : models::full_size("sdxl").parts) {
      components.push_back(
          lora::component_of(part.component, part.part, part.parameters, std::move(part.native)));
    }
    const lora::NameIndex names(components);
    const fs::path path = folder_.path() / "sdxl.safetensors";
    write_transformer_lora(path, components.front(), kSdxlBytes);
    BenchPart part{.name = "first_use", .bytes = static_cast<double>(fs::file_size(path))};
    part.seconds = median_seconds(11, [&] {
      const auto file = lora::AdapterFile::open(path);
      const auto bound = lora::bind(file, components, names);
      if (bound->file->content_hash().empty()) throw std::logic_error("no hash");
    });
    done_(part);
  }

  const BenchRequest& request_;
  const Device& device_;
  const std::function<void(const BenchPart&)>& done_;
  const TemporaryFolder folder_;
  int files_ = 0;
  std::unique_ptr<nn::Model<UNet>> unet_;
  std::vector<lora::Component> components_;
  lora::NameIndex names_;
  Tensor sample_, text_;
  std::int64_t samples_ = 0;  ///< pictures in them
};

}  // namespace

std::span<const std::string_view> lora_parts() {
  return kParts;
}

void measure_lora(const BenchRequest& request, const Device& device,
                  const std::function<void(const BenchPart&)>& done) {
  LoraBench(request, device, done).run();
}

}  // namespace velatura::engine::bench

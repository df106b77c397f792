// The first LoRA trainer for diffusion models (cloneofsimo/lora, 2022): no names at all, but the
// order in which PyTorch met the layers of diffusers' UNet of that year: down blocks, up blocks,
// then the middle, which was assigned last; in each its attentions before its residual layers; in a
// transformer block attn1, ff, attn2 (lora-formats §1.18). Which kinds of layers are in the list
// was an option; its length tells.
#include <array>
#include <set>

#include "lora/dialects/dialect.h"

namespace velatura::lora {

namespace {

enum class Kind { attention, gate, residual };

struct Item {
  std::string path;
  Kind kind;
};

class Walk {
 public:
  explicit Walk(std::span<const std::string> canonical)
      : known_(canonical.begin(), canonical.end()) {}

  std::vector<Item> unet() {
    for (const char* path : {"down_blocks.", "up_blocks."}) {
      for (int i = 0; has_under(path + std::to_string(i) + "."); ++i)
        block(path + std::to_string(i));
    }
    block("mid_block");
    return std::move(items_);
  }

 private:
  bool has_under(const std::string& prefix) const {
    const auto at = known_.lower_bound(prefix);
    return at != known_.end() && at->starts_with(prefix);
  }
  void add(const std::string& path, Kind kind) {
    if (known_.contains(path)) items_.push_back({path, kind});
  }
  void block(const std::string& path) {
    for (int i = 0; has_under(path + ".attentions." + std::to_string(i) + "."); ++i) {
      const std::string inner = path + ".attentions." + std::to_string(i) + ".transformer_blocks.";
      for (int k = 0; has_under(inner + std::to_string(k) + "."); ++k)
        transformer(inner + std::to_string(k) + ".");
    }
    for (int i = 0; has_under(path + ".resnets." + std::to_string(i) + "."); ++i) {
      for (const char* name : {".conv1", ".time_emb_proj", ".conv2", ".conv_shortcut"})
        add(path + ".resnets." + std::to_string(i) + name, Kind::residual);
    }
  }
  void transformer(const std::string& path) {
    for (const char* name : {"attn1.to_q", "attn1.to_k", "attn1.to_v", "attn1.to_out.0"})
      add(path + name, Kind::attention);
    add(path + "ff.net.0.proj", Kind::gate);
    for (const char* name : {"attn2.to_q", "attn2.to_k", "attn2.to_v", "attn2.to_out.0"})
      add(path + name, Kind::attention);
  }

  std::set<std::string> known_;
  std::vector<Item> items_;
};

void add_list(const std::string& list, std::span<const std::string> paths, const AddPlace& add) {
  for (std::size_t i = 0; i < paths.size(); ++i)
    add(list + ":" + std::to_string(i) + " of " + std::to_string(paths.size()), paths[i]);
}

void add_unet_lists(std::span<const std::string> canonical, const AddPlace& add) {
  const std::vector<Item> items = Walk(canonical).unet();
  std::set<std::size_t> lengths;
  for (const bool gates : {true, false}) {
    for (const bool residuals : {false, true}) {
      std::vector<std::string> paths;
      for (const Item& item : items) {
        if ((item.kind == Kind::gate && !gates) || (item.kind == Kind::residual && !residuals))
          continue;
        paths.push_back(item.path);
      }
      if (lengths.insert(paths.size()).second) add_list("unet", paths, add);
    }
  }
}

}  // namespace

void add_cloneofsimo_aliases(const ModuleNames&, const Aliases&) {}

void add_cloneofsimo_places(weights::Part part, std::span<const std::string> canonical,
                            const AddPlace& add) {
  if (part == weights::Part::unet) return add_unet_lists(canonical, add);
  if (part != weights::Part::clip_l) return;
  const std::set<std::string> known(canonical.begin(), canonical.end());
  std::vector<std::string> paths;
  for (int i = 0;; ++i) {
    const std::string layer = "text_model.encoder.layers." + std::to_string(i) + ".self_attn.";
    if (!known.contains(layer + "k_proj")) break;
    for (const char* name : {"k_proj", "v_proj", "q_proj", "out_proj"})
      paths.push_back(layer + name);
  }
  add_list("text_encoder", paths, add);
}

}  // namespace velatura::lora

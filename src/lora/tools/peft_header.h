// The header "lora_adapter_metadata" of diffusers' form (lora-formats §4.6): ranks, alphas and
// kinds of a file's modules, for a form that has no tensors for them. Reading it is peft_scaling's.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace velatura::lora::tools {

/// Not safe to share between threads.
class PeftHeader {
 public:
  static constexpr const char* kKey = "lora_adapter_metadata";

  struct Module {
    std::string component;  ///< PEFT's name: "unet", "text_encoder_2"
    std::string path;       ///< canonical, within the component
    std::int64_t rank = 0;
    std::optional<double> alpha;  ///< none: the rank
    bool has_magnitude = false, has_bias = false;
  };
  void state(const Module& module);

  /// The header's text; empty where no module has an alpha, and a loader needs none.
  std::string text() const;

  /// What diffusers' loader would do wrong without a header, one sentence a component.
  std::vector<std::string> remarks() const;

 private:
  struct Component {
    std::map<std::string, std::pair<std::int64_t, double>> modules;  ///< path → (rank, alpha)
    bool has_magnitude = false, has_bias = false;
  };
  std::map<std::string, Component> components_;
  bool has_alpha_ = false;
};

}  // namespace velatura::lora::tools

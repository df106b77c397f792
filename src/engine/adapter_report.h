// What is told of an adapter: a line, warnings, and the fate of every tensor as JSON.
#pragma once

#include <map>
#include <span>
#include <string>
#include <vector>

#include "diffusion/prediction.h"
#include "lora/apply/adapter_set.h"
#include "velatura/engine.h"

namespace velatura::engine {

/// "LoRA ink (weight 0.5): …; trigger words: …", then the first tensor that was not plainly bound.
std::string summary_line(const LoraOutcome& outcome, const LoraRequest& settled,
                         const lora::BindReport& report);

/// Where the file's metadata ask for what this run does not do (lora-formats §5.6): clip skip,
/// prediction type, zero terminal SNR; and hr=, which has no second pass to act in.
std::vector<std::string> metadata_warnings(const std::map<std::string, std::string>& metadata,
                                           const GenerateRequest& request,
                                           diffusion::Prediction prediction,
                                           const LoraRequest& settled);

/// The report, and under "applied" how `accounts` say that the layers it acts on were served.
std::string report_json(const lora::BoundAdapter& adapter,
                        std::span<const lora::Component> components,
                        std::span<const lora::ComponentAccount> accounts);

/// "unet: 128 layers thin; te: 12 layers thin".
std::string accounts_line(std::span<const lora::ComponentAccount> accounts);

}  // namespace velatura::engine

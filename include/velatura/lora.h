// Adapters as programs that link the library see them. Adapters of a job are named in its request
// (request.h) and accounted for in its result (engine.h).
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace velatura {

/// Moves the strengths of adapters while pictures are made with them. Give it to a job as
/// Observer::loras. Thread-safe: any thread may call it at any time, also from a callback.
class LoraControl {
 public:
  LoraControl();
  ~LoraControl();
  LoraControl(const LoraControl&) = delete;
  LoraControl& operator=(const LoraControl&) = delete;

  /// From the next step on, and for all later pictures of jobs that have this control: `weight` on
  /// the denoiser, `text_weight` on the text encoders (absent: as it was; a new one encodes the
  /// text anew). `name` is LoraOutcome::name, the file's name without extension; all uses of that
  /// adapter take the strength. Where a curve or steps were asked for, the strength multiplies
  /// them. A name that the job does not know is reported as a note and changes nothing. Throws
  /// invalid_argument for a number that is not finite.
  void set(const std::string& name, double weight, std::optional<double> text_weight = {});

  struct State;
  State& state() { return *state_; }  ///< for the engine

 private:
  std::unique_ptr<State> state_;
};

/// What an adapter file says of itself; the header alone is read.
struct LoraInfo {
  std::string name;  ///< file stem
  std::filesystem::path path;
  std::string title;                       ///< modelspec.title, ss_output_name or the stem
  std::vector<std::string> trigger_words;  ///< in file order; shown, never inserted unasked
  std::optional<double> recommended_weight;
  int modules = 0;
};

LoraInfo lora_info(const std::filesystem::path& path);

}  // namespace velatura

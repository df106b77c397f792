#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/text.h"
#include "diffusion/noise_schedule.h"

namespace velatura::diffusion {

namespace {

using nlohmann::json;

// Typed reads of one configuration; null counts as absent, as diffusers writes it.
class Reader {
 public:
  Reader(const json& object, std::string_view where) : object_(object), where_(where) {}

  void read(const char* key, int& value, int least, int most) const {
    const json* found = find(key);
    if (found == nullptr) return;
    if (!found->is_number_integer()) wrong(key, "a whole number");
    const auto number = found->get<std::int64_t>();
    if (number < least || number > most) wrong(key, fmt::format("{} to {}", least, most));
    value = static_cast<int>(number);
  }
  void read(const char* key, double& value) const {
    const json* found = find(key);
    if (found == nullptr) return;
    if (!found->is_number() || !std::isfinite(found->get<double>())) wrong(key, "a finite number");
    value = found->get<double>();
  }
  void read(const char* key, bool& value) const {
    const json* found = find(key);
    if (found == nullptr) return;
    if (!found->is_boolean()) wrong(key, "true or false");
    value = found->get<bool>();
  }
  void read(const char* key, std::string& value) const {
    const json* found = find(key);
    if (found == nullptr) return;
    if (!found->is_string()) wrong(key, "a string");
    value = found->get<std::string>();
  }
  void read(const char* key, std::vector<double>& values) const {
    const json* found = find(key);
    if (found == nullptr) return;
    if (!found->is_array()) wrong(key, "an array of numbers");
    for (const json& element : *found) {
      if (!element.is_number()) wrong(key, "an array of numbers");
      values.push_back(element.get<double>());
    }
  }
  [[noreturn]] void wrong(const char* key, std::string_view expected) const {
    fail(ErrorKind::bad_file, "{}: '{}' is {}, expected {}", where_, key,
         object_.at(key).dump().substr(0, 80), expected);
  }

 private:
  const json* find(const char* key) const {
    const auto found = object_.find(key);
    return found == object_.end() || found->is_null() ? nullptr : &*found;
  }

  const json& object_;
  std::string_view where_;
};

}  // namespace

NoiseScheduleConfig parse_noise_schedule_config(std::string_view text, std::string_view where) {
  const json object =
      json::parse(json_without_infinities(text), nullptr, /*allow_exceptions=*/false);
  if (!object.is_object()) fail(ErrorKind::bad_file, "{}: not a JSON object", where);
  NoiseScheduleConfig config;
  const Reader reader(object, where);
  reader.read("num_train_timesteps", config.num_train_timesteps, 2, 1'000'000);
  reader.read("beta_start", config.beta_start);
  reader.read("beta_end", config.beta_end);
  reader.read("beta_schedule", config.beta_schedule);
  reader.read("trained_betas", config.trained_betas);
  reader.read("steps_offset", config.steps_offset, 0, 1'000'000);
  reader.read("set_alpha_to_one", config.set_alpha_to_one);
  reader.read("rescale_betas_zero_snr", config.rescale_betas_zero_snr);
  reader.read("original_inference_steps", config.original_inference_steps, 1, 1'000'000);
  reader.read("timestep_scaling", config.timestep_scaling);
  std::string prediction;
  reader.read("prediction_type", prediction);
  if (!prediction.empty()) {
    const std::optional<Prediction> known = prediction_from_name(prediction);
    if (!known) reader.wrong("prediction_type", "epsilon, v_prediction or sample");
    config.prediction = *known;
  }
  return config;
}

}  // namespace velatura::diffusion

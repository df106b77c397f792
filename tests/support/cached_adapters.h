// What the tests of the cache of adapters share: small files for the toy model, and threads.
#pragma once

#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/toy_adapters.h"
#include "weights/formats/writer.h"

namespace velatura::testing {

/// A LoRA on the toy model's query, other numbers for each seed. Replaces a file as programs do: by
/// renaming a whole one onto it.
inline std::filesystem::path write_toy_lora(const std::filesystem::path& path, std::uint64_t seed,
                                            std::int64_t rank = 2) {
  const std::string module = "unet." + ToyModel::kQuery;
  const weights::NamedTensor tensors[] = {
      {module + ".lora_down.weight", uniform_tensor({rank, ToyModel::kIn}, DType::f32, seed)},
      {module + ".lora_up.weight", uniform_tensor({ToyModel::kOut, rank}, DType::f32, seed + 1)}};
  const std::filesystem::path fresh = path.string() + ".fresh";
  weights::write_safetensors(fresh, tensors, {});
  std::filesystem::rename(fresh, path);
  return path;
}

/// `work`, given the thread's number, in `threads` at once; back when all are done.
template <typename Work>
void from_all_threads(int threads, Work work) {
  std::vector<std::jthread> running;
  for (int thread = 0; thread < threads; ++thread)
    running.emplace_back([&work, thread] { work(thread); });
}

}  // namespace velatura::testing

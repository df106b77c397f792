// Strengths posted by several threads while another runs with the sets they are for.
#include <atomic>
#include <thread>

#include "tests/support/mixed_sets.h"

namespace velatura::lora {
namespace {

class StrengthControlTest : public testing::MixedSetTest {};

TEST_F(StrengthControlTest, ManyMayPostWhileARunGoesOn) {
  const auto control = std::make_shared<StrengthControl>();
  const auto cache = std::make_shared<StackCache>();
  const auto tables = testing::test_backends();
  std::atomic<bool> done = false;
  std::vector<std::jthread> posters;
  for (int poster = 0; poster < 3; ++poster) {
    posters.emplace_back([&, poster] {
      const char* names[] = {"ash", "birch", "cedar"};
      for (int i = 0; !done; ++i) {
        control->post(names[(poster + i) % 3], {.denoiser = static_cast<float>(i % 5) * 0.25f});
        std::this_thread::yield();
      }
    });
  }
  constexpr int kSteps = 12;
  const auto run_steps = [&] {
    AdapterSet set = make(all_uses(), {.cache = cache, .control = control});
    for (int step = 0; step < kSteps; ++step) {
      set.advance({.step = step, .steps = kSteps});
      run(*tables.front(), set);
    }
  };
  {
    const std::jthread other(run_steps);
    run_steps();
  }
  done = true;
  posters.clear();
  control->post("ash", {.denoiser = 0.5f, .text = 0});
  control->post("birch", {.denoiser = 0, .text = 0});
  control->post("cedar", {.denoiser = -1, .text = 0});
  AdapterSet set = make(all_uses(), {.cache = cache, .control = control});
  set.advance({});
  expect_same(set, make({use(0, 0.5f), use(2, -1)}), "the last word of each adapter holds");
}

}  // namespace
}  // namespace velatura::lora

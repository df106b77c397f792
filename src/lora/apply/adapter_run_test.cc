// Sets while a run goes on: schedules, posted changes, and pictures of one batch with sets of their
// own.
#include <cmath>

#include "tests/support/mixed_sets.h"

namespace velatura::lora {
namespace {

using testing::bit_identical;

class AdapterRunTest : public testing::MixedSetTest {
 protected:
  static Use scheduled(Use use, Schedule schedule) {
    use.schedule = std::move(schedule);
    return use;
  }
  static Use scaled(Use use, float factor) {
    use.denoiser *= factor;
    return use;
  }
};

TEST_F(AdapterRunTest, ASchedulesFactorMultipliesTheStrength) {
  const Schedule fading{.points = {{0, 1}, {1, 0}}};
  AdapterSet set = make({scheduled(use(0, 0.8f, 0.7f), fading), use(1, 0.5f)});
  constexpr int kSteps = 5;
  for (int step = 0; step < kSteps; ++step) {
    set.advance({.step = step, .steps = kSteps});
    const float factor = static_cast<float>(fading.factor({.step = step, .steps = kSteps}));
    std::vector<Use> now = {use(1, 0.5f), use(0, 0.8f * factor, 0.7f)};
    expect_same(set, make(now), "at step " + std::to_string(step));
  }
  EXPECT_FALSE(set.advance({.step = kSteps - 1, .steps = kSteps})) << "nothing changed";
  EXPECT_TRUE(set.advance({.step = 0, .steps = kSteps}));
}

TEST_F(AdapterRunTest, OutsideItsStepsAnAdapterIsAbsent) {
  AdapterSet set = make({scheduled(use(2, 1, 1), {.first_step = 1, .end_step = 2})});
  EXPECT_EQ(set.patches(0), nullptr);
  EXPECT_TRUE(set.advance({.step = 1, .steps = 4}));
  expect_same(set, make({use(2, 1, 1)}));
  EXPECT_TRUE(set.advance({.step = 2, .steps = 4}));
  EXPECT_EQ(set.patches(0), nullptr);
}

TEST_F(AdapterRunTest, TheAccountOfARunKeepsWhatIsOver) {
  AdapterSet set =
      make({scheduled(use(0, 1), {.end_step = 1}), scheduled(use(1, 1), {.first_step = 1}),
            scheduled(use(2, 1), {.first_step = 5})});
  const auto tables = testing::test_backends();
  EXPECT_TRUE(set.account_of_run().at(0).layers.empty()) << "laid, but no model ran with it";
  run(*tables.front(), set);
  set.advance({.step = 1, .steps = 6});
  run(*tables.front(), set);
  set.advance({.step = 2, .steps = 6});
  EXPECT_FALSE(set.advance({.step = 3, .steps = 6}));
  const ComponentAccount now = set.account().at(0), whole = set.account_of_run().at(0);
  EXPECT_EQ(now.count(Form::thin), 1u) << now.summary();
  EXPECT_EQ(whole.count(Form::thin), 3u) << whole.summary();
  EXPECT_EQ(whole.count(Form::kronecker), 1u);
  EXPECT_EQ(whole.count(Form::tucker), 1u);
  EXPECT_EQ(whole.layers.size(), 5u);
  const auto query = std::ranges::find(whole.layers, M::kQuery, &LayerAccount::path);
  ASSERT_NE(query, whole.layers.end());
  EXPECT_EQ(query->forms, (std::vector{Form::thin, Form::kronecker})) << "one after the other";
  EXPECT_EQ(query->adapters, 1u);
  EXPECT_GT(whole.error, 0);
}

TEST_F(AdapterRunTest, FusedSetsKeepWhatIsScheduledLive) {
  const Schedule late{.first_step = 2};
  AdapterSet set = fused({scheduled(use(0, 0.8f), late), use(1, 0.5f)});
  const AdapterSet without = fused({use(1, 0.5f)});
  expect_same(set, without);
  set.advance({.step = 2, .steps = 4});
  const AdapterSet live = make({use(0, 0.8f), use(1, 0.5f)});
  for (const auto& table : testing::test_backends())
    expect_close(run(*table, set), run(*table, live));
  EXPECT_GT(set.account().at(0).count(Form::thin), 0u);
  set.advance({.step = 0, .steps = 4});
  expect_same(set, without);
}

TEST_F(AdapterRunTest, PostedStrengthsTakeEffectAtTheNextStep) {
  const auto control = std::make_shared<StrengthControl>();
  AdapterSet set = make(all_uses(), {.control = control}),
             other = make({use(1, 1)}, {.control = control});
  control->post("birch", {.denoiser = 0.25f});
  expect_same(set, make(all_uses()), "not before advance()");
  EXPECT_TRUE(set.advance({.step = 1, .steps = 4}));
  expect_same(set, make({use(0, 0.8f), use(1, 0.25f), use(2, 0.5f)}));
  EXPECT_FALSE(set.advance({.step = 2, .steps = 4}));
  EXPECT_TRUE(other.advance({.step = 2, .steps = 4})) << "every set sees every change";
  expect_same(other, make({use(1, 0.25f)}));
  control->post(adapters_[0]->file->content_hash(), {.denoiser = 0, .text = 0.5f});
  control->post("nobody", {.denoiser = 9});
  EXPECT_TRUE(set.advance({.step = 3, .steps = 4}));
  expect_same(set, make({use(0, 0, 0.5f), use(1, 0.25f), use(2, 0.5f)}));
  EXPECT_THROW(control->post("birch", {.text = NAN}), Error);
}

TEST_F(AdapterRunTest, EachTextEncoderMayHaveAStrength) {
  AdapterUse one = use(0, 0.5f, 0.25f);
  EXPECT_EQ(one.strength(weights::Part::unet), 0.5f);
  EXPECT_EQ(one.strength(weights::Part::flux), 0.5f);
  EXPECT_EQ(one.strength(weights::Part::clip_l), 0.25f);
  EXPECT_EQ(one.strength(weights::Part::clip_g), 0.25f);
  one.te2 = 2;
  one.t5 = 3;
  EXPECT_EQ(one.strength(weights::Part::clip_l), 0.25f);
  EXPECT_EQ(one.strength(weights::Part::clip_g), 2);
  EXPECT_EQ(one.strength(weights::Part::t5), 3);
  const std::vector<AdapterUse> both = in_fixed_order({one, use(0, 1, 1)});
  ASSERT_EQ(both.size(), 1u);
  EXPECT_EQ(both[0].strength(weights::Part::clip_g), 3) << "2, and 1 for all text encoders";
  EXPECT_EQ(both[0].strength(weights::Part::t5), 4);
  one.te2 = INFINITY;
  EXPECT_THROW(check(one), Error);
}

TEST_F(AdapterRunTest, PicturesOfABatchHaveSetsOfTheirOwn) {
  const AdapterSet none = make({}), first = make({use(0, 0.8f)}), second = make(all_uses());
  const std::vector<const AdapterSet*> sets = {&none, &first, &second};
  for (const auto& table : testing::test_backends()) {
    testing::TestRun together(*table);
    std::vector<nn::PicturePatches> ranges;
    for (std::int64_t i = 0; i < kPictures; ++i)
      ranges.push_back({i, i + 1, sets[static_cast<std::size_t>(i)]->patches(0)});
    together.run.pictures = ranges;
    const Outputs all = model_.forward(together.run, picture_, words_);
    for (std::int64_t i = 0; i < kPictures; ++i) {
      testing::TestRun alone(*table);
      alone.run.patches = sets[static_cast<std::size_t>(i)]->patches(0);
      const Outputs own =
          model_.forward(alone.run, picture_.slice(i, i + 1), words_.slice(i, i + 1));
      for (std::size_t at = 0; at < own.size(); ++at) {
        const Tensor part = all[at].y.slice(i, i + 1);
        if (table->name() == "reference") {
          EXPECT_TRUE(bit_identical(part, own[at].y)) << own[at].path << " of picture " << i;
        } else {
          EXPECT_TRUE(testing::within(part, own[at].y, {1e-5, 1e-5})) << own[at].path;
        }
      }
    }
  }
}

}  // namespace
}  // namespace velatura::lora

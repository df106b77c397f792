#include "lora/strength/schedule.h"

#include <gtest/gtest.h>

namespace velatura::lora {
namespace {

TEST(Moment, PositionSpansTheRun) {
  EXPECT_EQ((Moment{.step = 0, .steps = 5}).position(), 0);
  EXPECT_EQ((Moment{.step = 1, .steps = 5}).position(), 0.25);
  EXPECT_EQ((Moment{.step = 4, .steps = 5}).position(), 1);
  EXPECT_EQ((Moment{.step = 0, .steps = 1}).position(), 0);
}

TEST(Schedule, IsOneWhereNothingIsSet) {
  const Schedule schedule;
  EXPECT_TRUE(schedule.is_constant());
  EXPECT_EQ(schedule.factor({.step = 3, .steps = 9}), 1);
}

TEST(Schedule, ActsInARangeOfSteps) {
  const Schedule schedule{.first_step = 2, .end_step = 4};
  EXPECT_FALSE(schedule.is_constant());
  const double expected[] = {0, 0, 1, 1, 0, 0};
  for (int step = 0; step < 6; ++step)
    EXPECT_EQ(schedule.factor({.step = step, .steps = 6}), expected[step]) << step;
  EXPECT_EQ((Schedule{.first_step = 1}).factor({.step = 99, .steps = 100}), 1);
}

TEST(Schedule, IsLinearBetweenPointsAndConstantOutside) {
  const Schedule schedule{.points = {{0.25, 2}, {0.75, -1}}};
  EXPECT_EQ(schedule.factor({.step = 0, .steps = 5}), 2);
  EXPECT_EQ(schedule.factor({.step = 1, .steps = 5}), 2);
  EXPECT_EQ(schedule.factor({.step = 2, .steps = 5}), 0.5);
  EXPECT_EQ(schedule.factor({.step = 3, .steps = 5}), -1);
  EXPECT_EQ(schedule.factor({.step = 4, .steps = 5}), -1);
}

TEST(Schedule, JumpsWhereTwoPointsShareAPlace) {
  const Schedule schedule{.points = {{0, 1}, {0.5, 1}, {0.5, 0}, {1, 0}}};
  EXPECT_EQ(schedule.factor({.step = 1, .steps = 5}), 1);
  EXPECT_EQ(schedule.factor({.step = 2, .steps = 5}), 0) << "from there on";
}

TEST(Schedule, FollowsTheNoiseLevelWhereItIsGivenInSigma) {
  const Schedule schedule{.axis = Schedule::Axis::sigma, .points = {{1, 0}, {5, 1}}};
  EXPECT_EQ(schedule.factor({.step = 0, .steps = 9, .sigma = 14}), 1);
  EXPECT_EQ(schedule.factor({.step = 4, .steps = 9, .sigma = 3}), 0.5);
  EXPECT_EQ(schedule.factor({.step = 8, .steps = 9, .sigma = 0.1}), 0);
}

}  // namespace
}  // namespace velatura::lora

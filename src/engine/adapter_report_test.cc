#include "engine/adapter_report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace velatura::engine {
namespace {

using diffusion::Prediction;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::vector<std::string> warnings(const std::map<std::string, std::string>& metadata,
                                  Prediction prediction = Prediction::epsilon, int clip_skip = 1,
                                  const std::string& second_pass = {}) {
  GenerateRequest request;
  request.clip_skip = clip_skip;
  LoraRequest settled;
  settled.name = "ink";
  settled.second_pass = second_pass;
  return metadata_warnings(metadata, request, prediction, settled);
}

TEST(MetadataWarnings, WhatTheFileAsksForAndTheRunDoesNotDo) {
  EXPECT_THAT(warnings({}), IsEmpty());
  EXPECT_THAT(warnings({{"ss_clip_skip", "2"}}), ElementsAre(HasSubstr("clip skip 2")));
  EXPECT_THAT(warnings({{"ss_clip_skip", "2"}}, Prediction::epsilon, 2), IsEmpty());
  for (const char* value : {"None", "", "2x", "0"})
    EXPECT_THAT(warnings({{"ss_clip_skip", value}}), IsEmpty()) << value;
  EXPECT_THAT(warnings({{"modelspec.prediction_type", "v"}}),
              ElementsAre(HasSubstr("v-prediction")));
  EXPECT_THAT(warnings({{"ss_v_parameterization", "True"}}),
              ElementsAre(HasSubstr("v-prediction")));
  EXPECT_THAT(warnings({{"modelspec.prediction_type", "v"}}, Prediction::v), IsEmpty());
  EXPECT_THAT(warnings({{"modelspec.prediction_type", "epsilon"}}, Prediction::v),
              ElementsAre(HasSubstr("predicts noise")));
  EXPECT_THAT(warnings({{"ss_zero_terminal_snr", "True"}}),
              ElementsAre(HasSubstr("zero terminal SNR")));
  EXPECT_THAT(warnings({{"ss_zero_terminal_snr", "False"}}), IsEmpty());
  EXPECT_THAT(warnings({}, Prediction::epsilon, 1, "0.5"), ElementsAre(HasSubstr("hr=0.5")));
}

}  // namespace
}  // namespace velatura::engine

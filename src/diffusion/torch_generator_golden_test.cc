// Every value of golden/rng, bit for bit. Names are out.<draw>.<seed>.<shape>.
#include <gtest/gtest.h>

#include <cstring>
#include <sstream>

#include "diffusion/torch_generator.h"
#include "tests/support/goldens.h"

namespace velatura::diffusion {
namespace {

using testing::GoldenCase;

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  std::stringstream stream(text);
  for (std::string part; std::getline(stream, part, separator);) parts.push_back(part);
  return parts;
}

std::int64_t first_difference(std::span<const float> actual, std::span<const float> expected) {
  for (std::size_t i = 0; i < expected.size(); ++i) {
    if (std::memcmp(&actual[i], &expected[i], sizeof(float)) != 0)
      return static_cast<std::int64_t>(i);
  }
  return -1;
}

void check_floats(const std::string& draw, std::uint64_t seed, const Tensor& expected) {
  std::vector<float> actual(static_cast<std::size_t>(expected.count()));
  TorchGenerator generator(seed);
  if (draw == "rand") {
    generator.rand(actual);
  } else if (draw == "randn_twice") {  // the outermost axis is the number of draws
    const auto draws = static_cast<std::size_t>(expected.size(0));
    const std::size_t each = actual.size() / draws;
    for (std::size_t i = 0; i < draws; ++i)
      generator.randn(std::span(actual).subspan(i * each, each));
  } else {
    generator.randn(actual);
  }
  const std::int64_t at = first_difference(actual, expected.floats());
  EXPECT_EQ(at, -1) << "first differing element " << at << ": "
                    << actual[static_cast<std::size_t>(std::max<std::int64_t>(at, 0))];
}

void check_case(const std::filesystem::path& path) {
  const GoldenCase golden = GoldenCase::open(path);
  int checked = 0;
  for (const std::string& name : golden.names("out.")) {
    SCOPED_TRACE(name);
    const std::vector<std::string> parts = split(name, '.');
    ASSERT_GE(parts.size(), 3u);
    const std::string& draw = parts[1];
    const std::uint64_t seed = std::stoull(parts[2]);
    const Tensor expected = golden.get(name);
    ++checked;
    if (draw == "randint") {
      std::vector<std::int64_t> actual(static_cast<std::size_t>(expected.count()));
      TorchGenerator(seed).randint(0, 1000, actual);
      for (std::size_t i = 0; i < actual.size(); ++i)
        EXPECT_EQ(actual[i], expected.data<std::int64_t>()[i]) << i;
    } else if (draw == "rand" || draw.starts_with("randn")) {
      check_floats(draw, seed, expected);
    } else {
      ADD_FAILURE() << "unknown draw";
    }
  }
  EXPECT_GT(checked, 0);
}

TEST(TorchGeneratorGolden, EveryDrawBitForBit) {
  testing::for_each_golden("rng", [](const std::filesystem::path& folder) {
    int cases = 0;
    for (const auto& entry : std::filesystem::directory_iterator(folder)) {
      if (entry.path().extension() != ".safetensors") continue;
      SCOPED_TRACE(entry.path().filename().string());
      check_case(entry.path());
      ++cases;
    }
    EXPECT_GT(cases, 0) << "no case in " << folder;
  });
}

}  // namespace
}  // namespace velatura::diffusion

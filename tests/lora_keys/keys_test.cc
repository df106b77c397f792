// The .keys files of this folder: how trainers spell the modules of the four families, and what
// that means.
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "lora/bind/bind.h"
#include "tests/lora_keys/full_size.h"
#include "tests/support/memory_source.h"
#include "tests/support/tensors.h"

namespace velatura::lora {
namespace {

namespace fs = std::filesystem;

/// `key [shape] [= value] -> target factor`, or `-> refused: words of the reason`, `-> ignored:`,
/// `-> note:`, `-> bound:`. Several targets of a fused module are joined by commas.
struct Row {
  std::string key, expected, rest;
  Tensor tensor;
};

Shape parse_shape(const std::string& text) {
  std::vector<std::int64_t> extents;
  std::istringstream inner(text.substr(1, text.size() - 2));
  for (std::string extent; std::getline(inner, extent, ',');) extents.push_back(std::stoll(extent));
  return Shape(extents);
}

Row parse_row(const std::string& line) {
  std::istringstream words(line);
  Row row;
  std::string shape, word;
  words >> row.key >> shape >> word;
  row.tensor = testing::uniform_tensor(parse_shape(shape), DType::f16, 1);
  if (word == "=") {
    float value = 0;
    words >> value >> word;
    row.tensor = Tensor::from(std::vector<float>{value}, parse_shape(shape));
  }
  EXPECT_EQ(word, "->") << line;
  words >> row.expected >> std::ws;
  std::getline(words, row.rest);
  return row;
}

/// The scale of the pair bound to `target`; NaN where there is none.
float scale_of(const BoundAdapter& adapter, const testing::FullSize& model,
               const std::string& target) {
  for (const BoundModule& module : adapter.modules) {
    const Component& component =
        model.components()[static_cast<std::size_t>(module.target.component)];
    const ModuleShape& shape = component.modules[static_cast<std::size_t>(module.target.layer)];
    if (component.name + "." + shape.weight_name() == target && module.delta->thin() != nullptr)
      return module.delta->thin()->scale;
  }
  return NAN;
}

void check_row(const Row& row, const TensorFate& fate, const BoundAdapter& adapter,
               const testing::FullSize& model) {
  EXPECT_EQ(fate.name, row.key);
  if (row.expected.ends_with(':')) {
    EXPECT_EQ(std::string(to_string(fate.fate)) + ":", row.expected) << row.key;
    EXPECT_THAT(fate.reason, ::testing::HasSubstr(row.rest)) << row.key;
    return;
  }
  EXPECT_EQ(fate.fate, Fate::bound) << row.key << ": " << fate.reason;
  EXPECT_EQ(fmt::format("{}", fmt::join(fate.targets, ",")), row.expected) << row.key;
  ASSERT_FALSE(fate.targets.empty()) << row.key;
  for (const std::string& target : fate.targets)
    EXPECT_FLOAT_EQ(scale_of(adapter, model, target), std::stof(row.rest)) << row.key;
}

void check_file(const fs::path& path) {
  SCOPED_TRACE(path.filename().string());
  std::ifstream file(path);
  auto source = std::make_shared<testing::MemorySource>();
  std::vector<Row> rows;
  std::string family = "sd15";
  for (std::string line; std::getline(file, line);) {
    if (line.empty() || line.starts_with('#')) continue;
    if (line.starts_with("family ")) {
      family = line.substr(7);
      continue;
    }
    if (line.starts_with("metadata ")) {
      const std::size_t equals = line.find(" = ");
      source->set_metadata(line.substr(9, equals - 9), line.substr(equals + 3));
      continue;
    }
    rows.push_back(parse_row(line));
    source->add(rows.back().key, rows.back().tensor);
  }
  ASSERT_FALSE(rows.empty());
  const testing::FullSize& model = testing::full_size(family);
  const auto adapter =
      lora::bind(AdapterFile::from_source(source, path), model.components(), model.names());
  ASSERT_EQ(adapter->report.tensors.size(), rows.size());
  for (std::size_t i = 0; i < rows.size(); ++i)
    check_row(rows[i], adapter->report.tensors[i], *adapter, model);
}

TEST(LoraKeys, EveryFile) {
  int files = 0;
  for (const auto& entry :
       fs::directory_iterator(fs::path(testing::source_dir()) / "tests/lora_keys")) {
    if (entry.path().extension() != ".keys") continue;
    ++files;
    check_file(entry.path());
  }
  EXPECT_GT(files, 0);
}

}  // namespace
}  // namespace velatura::lora

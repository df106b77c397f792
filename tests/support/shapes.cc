#include "tests/support/shapes.h"

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <fstream>
#include <sstream>

#include "base/error.h"

namespace velatura::testing {

namespace fs = std::filesystem;

namespace {

std::int64_t integer(std::string_view text, std::string_view line) {
  std::int64_t value = 0;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc() || stop != end) {
    fail(ErrorKind::invalid_argument, "shape list: '{}' is no integer in the line '{}'", text,
         line);
  }
  return value;
}

ShapeCase parse_line(const std::string& line) {
  ShapeCase shape{.text = line};
  std::istringstream words(line);
  for (std::string word; words >> word;) {
    const std::size_t equals = word.find('=');
    if (equals == std::string::npos) {
      shape.tags.insert(word);
      continue;
    }
    const std::string name = word.substr(0, equals);
    const std::string value = word.substr(equals + 1);
    if (name.empty() || value.empty() || !shape.fields.emplace(name, value).second) {
      fail(ErrorKind::invalid_argument, "shape list: '{}' is empty or given twice in the line '{}'",
           word, line);
    }
  }
  return shape;
}

fs::path shapes_folder() {
  if (const char* source = std::getenv("VELATURA_SOURCE_DIR"))
    return fs::path(source) / "bench/shapes";
  for (fs::path folder = fs::current_path();; folder = folder.parent_path()) {
    if (fs::is_directory(folder / "bench/shapes")) return folder / "bench/shapes";
    if (folder == folder.parent_path()) break;
  }
  fail(ErrorKind::not_found,
       "bench/shapes was not found; set VELATURA_SOURCE_DIR to the source tree");
}

}  // namespace

std::int64_t ShapeCase::get(std::string_view field) const {
  const auto found = fields.find(field);
  if (found == fields.end()) {
    fail(ErrorKind::invalid_argument, "shape list: the line '{}' lacks '{}='", text, field);
  }
  return integer(found->second, text);
}

std::int64_t ShapeCase::get(std::string_view field, std::int64_t otherwise) const {
  return has(field) ? get(field) : otherwise;
}

std::vector<std::int64_t> ShapeCase::list(std::string_view field) const {
  std::vector<std::int64_t> values;
  std::istringstream parts(word(field, ""));
  for (std::string part; std::getline(parts, part, ',');) values.push_back(integer(part, text));
  return values;
}

std::string ShapeCase::word(std::string_view field, std::string_view otherwise) const {
  const auto found = fields.find(field);
  return found == fields.end() ? std::string(otherwise) : found->second;
}

std::vector<ShapeCase> parse_shapes(std::string_view text) {
  std::vector<ShapeCase> cases;
  std::istringstream lines{std::string(text)};
  for (std::string line; std::getline(lines, line);) {
    line.resize(std::min(line.find('#'), line.size()));
    line.erase(line.find_last_not_of(" \t\r") + 1);
    if (!line.empty()) cases.push_back(parse_line(line));
  }
  return cases;
}

std::vector<ShapeCase> read_shapes(std::string_view op) {
  const fs::path path = shapes_folder() / (std::string(op) + ".txt");
  std::ifstream file(path);
  if (!file) fail(ErrorKind::not_found, "the shape list {} cannot be read", path.string());
  const std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  return parse_shapes(text);
}

std::vector<ShapeCase> test_shapes(std::string_view op) {
  std::vector<ShapeCase> cases = read_shapes(op);
  const char* wanted = std::getenv("VELATURA_SHAPES");
  const bool all = wanted != nullptr && std::string_view(wanted) == "large";
  if (!all) std::erase_if(cases, [](const ShapeCase& shape) { return shape.is("large"); });
  return cases;
}

}  // namespace velatura::testing

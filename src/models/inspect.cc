#include "models/inspect.h"

#include "models/ldm_checkpoint.h"

namespace velatura::models {

Description describe(const weights::Source& source) {
  Description result{
      .path = source.description(), .identity = identify(source), .tensors = source.tensors()};
  result.metadata = source.metadata();
  for (const weights::TensorInfo& info : result.tensors) {
    result.tensor_bytes += static_cast<std::uint64_t>(info.shape.count()) * size_of(info.dtype);
    ++result.types[std::string(to_string(info.dtype))];
    if (is_known_unused(info.name)) result.known_unused.push_back(info.name);
  }
  return result;
}

Description describe(const std::filesystem::path& path) {
  Description result = describe(*weights::open_source(path));
  std::error_code ignored;
  const std::uintmax_t bytes = std::filesystem::file_size(path, ignored);
  if (!ignored && !path.filename().string().ends_with(".index.json")) result.file_bytes = bytes;
  return result;
}

}  // namespace velatura::models

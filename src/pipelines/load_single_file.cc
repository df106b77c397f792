#include "pipelines/load_single_file.h"

#include "base/error.h"

namespace velatura::pipelines {

SingleFileParts open_single_file(const std::filesystem::path& path, const std::filesystem::path&) {
  fail(ErrorKind::unsupported, "{}", path.string());
}

SingleFileCodec open_single_codec(std::shared_ptr<const weights::Source> source, const std::filesystem::path&) {
  fail(ErrorKind::unsupported, "{}", source->description());
}

}  // namespace velatura::pipelines

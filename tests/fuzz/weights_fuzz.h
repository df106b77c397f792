// What all weight formats have in common for a fuzzer: any bytes end in a source whose tensors
// load, or in an Error.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <span>
#include <vector>

#include "base/error.h"
#include "weights/blob.h"
#include "weights/source.h"

namespace velatura::fuzz {

template <typename Open>
int weights(const std::uint8_t* data, std::size_t size, Open open) {
  const auto bytes = std::as_bytes(std::span(data, size));
  try {
    const std::shared_ptr<const weights::Source> source =
        open(weights::Blob::of({bytes.begin(), bytes.end()}, "fuzz"));
    constexpr std::size_t kMostLoads = 64;
    for (std::size_t i = 0; i < source->tensors().size() && i < kMostLoads; ++i) {
      const Tensor tensor = source->load(source->tensors()[i].name);
      // Every byte is touched, so that the address sanitizer sees a view that leaves its file.
      volatile unsigned sum = 0;
      for (std::size_t at = 0; at < tensor.byte_size(); ++at)
        sum = sum + std::to_integer<unsigned>(tensor.bytes()[at]);
    }
  } catch (const Error& error) {
    if (error.kind() == ErrorKind::internal) std::abort();  // our own mistake, not the file's
  }
  return 0;
}

}  // namespace velatura::fuzz

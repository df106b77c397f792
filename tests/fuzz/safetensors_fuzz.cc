#include "tests/fuzz/weights_fuzz.h"
#include "weights/formats/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  return velatura::fuzz::weights(data, size, velatura::weights::open_safetensors);
}

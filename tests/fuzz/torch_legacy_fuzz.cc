#include "tests/fuzz/weights_fuzz.h"
#include "weights/formats/torch_pickle.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  return velatura::fuzz::weights(data, size, velatura::weights::open_torch_legacy);
}

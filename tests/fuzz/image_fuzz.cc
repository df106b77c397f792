// Pictures from strangers: any bytes end in a picture or an Error, within memory.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>

#include "base/error.h"
#include "image/codec.h"
#include "image/infotext.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using velatura::image::decode;
  try {
    const velatura::image::Picture picture =
        decode(std::as_bytes(std::span(data, size)), "fuzz",
               {.max_side = 4096, .max_pixels = std::int64_t{1} << 20});
    for (const velatura::image::TextChunk& text : picture.texts) {
      velatura::image::write_infotext(velatura::image::parse_infotext(text.value));
    }
    // What was read can be written: texts come out of the reader as UTF-8.
    velatura::image::encode_png(picture.image);
  } catch (const velatura::Error& error) {
    if (error.kind() == velatura::ErrorKind::internal)
      std::abort();  // our own mistake, not the file's
  }
  return 0;
}

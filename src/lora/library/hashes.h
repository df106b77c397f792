// How an adapter's hashes are filled in. Computing is base's (file_hash.h).
#pragma once

#include <string>

#include "lora/library/index.h"
#include "velatura/library.h"

namespace velatura::lora::library {

/// Takes 64 digits of `kind` over, cut to what programs show of it. The hash of nothing is left
/// out: it identifies nothing.
void set_hash(FileHashValues& hashes, HashKind kind, const std::string& hex);

}  // namespace velatura::lora::library

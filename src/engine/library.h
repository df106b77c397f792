// Where the adapter library's folders and its index lie. The library itself: lora/library.
#pragma once

#include <filesystem>
#include <string_view>

#include "velatura/library.h"

namespace velatura::engine {

/// $VELATURA_HOME/index/adapters.sqlite where that is set, else velatura/adapters.sqlite under
/// $XDG_CACHE_HOME or $HOME/.cache; empty where neither is set.
std::filesystem::path default_index();

/// The file that a request or a prompt's tag means: what the library finds under the name, else an
/// existing path. For the engine alone: who serves paths from a network asks Library::contains().
/// Throws as Library::find.
std::filesystem::path resolve_lora(const Library& library, std::string_view name);

}  // namespace velatura::engine

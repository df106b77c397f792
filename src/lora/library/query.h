// Filtering and sorting entries.
#pragma once

#include "velatura/library.h"

namespace velatura::lora::library {

bool matches(const LibraryEntry& entry, const LibraryQuery& query);
/// The entries that match, in the query's order; equal ones stay as they were.
LibraryEntries select(const LibraryEntries& entries, const LibraryQuery& query);

}  // namespace velatura::lora::library

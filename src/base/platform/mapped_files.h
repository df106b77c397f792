// Which mapped file an address belongs to, for whoever handles the fault that a file raises when
// another program cuts it short while it is read. Not here: mapping (base/mapped_file.h), what is
// done about the fault (the program's own main).
#pragma once

namespace velatura::platform {

/// The path of the MappedFile that `address` lies in; null where none does, or where more than a
/// thousand are open. Safe inside a signal handler. The text lives as long as the mapping.
const char* mapped_file_at(const void* address) noexcept;

}  // namespace velatura::platform

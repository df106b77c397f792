// A file that another program cuts short while it is read: the system raises SIGBUS, which would
// end the program without a word. Files are mapped, so any read of a weight may be the one.
#pragma once

namespace velatura::cli {

/// From now on such a read ends the program with a message that names the file, and exit code 8.
void explain_lost_files();

}  // namespace velatura::cli

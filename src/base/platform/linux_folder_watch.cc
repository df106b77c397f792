#include <poll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <map>
#include <set>

#include "base/platform/folder_watch.h"

namespace velatura::platform {

struct FolderWatch::State {
  std::size_t most = 0;
  int descriptor = -1;
  int wake = -1;  ///< readable once a stop was asked for
  std::map<int, std::filesystem::path> folders;
  std::set<std::filesystem::path> known;  ///< the values of `folders`

  void forget(std::map<int, std::filesystem::path>::iterator folder) {
    known.erase(folder->second);
    folders.erase(folder);
  }

  void read(std::set<std::filesystem::path>& changed, bool& lost) {
    alignas(inotify_event) std::array<char, 64 * 1024> buffer;
    for (;;) {
      const ssize_t length = ::read(descriptor, buffer.data(), buffer.size());
      if (length <= 0) return;
      for (std::size_t at = 0; at + sizeof(inotify_event) <= static_cast<std::size_t>(length);) {
        inotify_event event;
        std::memcpy(&event, buffer.data() + at, sizeof event);
        at += sizeof event + event.len;
        if ((event.mask & IN_Q_OVERFLOW) != 0) lost = true;
        const auto folder = folders.find(event.wd);
        if (folder == folders.end()) continue;
        changed.insert(folder->second);
        // A folder that was moved away keeps its watch, under a path that may soon be another's.
        if ((event.mask & IN_MOVE_SELF) != 0) ::inotify_rm_watch(descriptor, event.wd);
        if ((event.mask & (IN_MOVE_SELF | IN_IGNORED)) != 0) forget(folder);
      }
    }
  }
};

FolderWatch::FolderWatch(std::size_t most) : state_(std::make_unique<State>()) {
  state_->most = most;
  state_->descriptor = ::inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
  state_->wake = ::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
}

FolderWatch::~FolderWatch() {
  if (state_->descriptor >= 0) ::close(state_->descriptor);
  if (state_->wake >= 0) ::close(state_->wake);
}

bool FolderWatch::add(const std::filesystem::path& folder) {
  if (state_->descriptor < 0) return false;
  if (state_->known.contains(folder)) return true;
  if (state_->folders.size() >= state_->most) return false;
  // Not IN_MODIFY: a download would wake us thousands of times; its end does once.
  const int watch =
      ::inotify_add_watch(state_->descriptor, folder.c_str(),
                          IN_CREATE | IN_CLOSE_WRITE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO |
                              IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR);
  if (watch < 0) return false;
  // One folder under two paths has one watch: the later path is told of.
  if (const auto twin = state_->folders.find(watch); twin != state_->folders.end())
    state_->forget(twin);
  state_->folders.emplace(watch, folder);
  state_->known.insert(folder);
  return true;
}

FolderWatch::Changes FolderWatch::wait(std::chrono::milliseconds patience,
                                       const std::stop_token& stop) {
  const std::stop_callback wake(stop, [this] {
    const std::uint64_t one = 1;
    [[maybe_unused]] const ssize_t written = ::write(state_->wake, &one, sizeof one);
  });
  // A negative descriptor is passed over by poll().
  std::array<pollfd, 2> waiting = {{{.fd = state_->descriptor, .events = POLLIN, .revents = 0},
                                    {.fd = state_->wake, .events = POLLIN, .revents = 0}}};
  ::poll(waiting.data(), waiting.size(), static_cast<int>(patience.count()));
  std::set<std::filesystem::path> changed;
  Changes changes;
  if (state_->descriptor >= 0) state_->read(changed, changes.lost);
  changes.folders.assign(changed.begin(), changed.end());
  return changes;
}

}  // namespace velatura::platform
